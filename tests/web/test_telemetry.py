"""Nothing is told to another machine, whatever the environment says to OpenTelemetry, which comes with FastAPI."""

from __future__ import annotations

import os
from typing import Any

import httpx
import pytest

from image_similarity.web import server
from tests.web.conftest import Serve

ADDRESSES = ("/case", "/pictures", f"/pictures/{'0' * 64}", "/pictures?limit=none")


class Recorder:
    """A provider of tracers, meters or loggers that somebody installed: it counts who asks for one."""

    def __init__(self) -> None:
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        self.asked += 1
        raise AssertionError(name)


def test_what_the_environment_says_of_telemetry_is_gone_before_fastapi_could_read_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "FASTAPI_OTEL_AUTO_CONFIGURE", "OTEL_SDK_DISABLED"):
        monkeypatch.setenv(name, "true")
    monkeypatch.setenv("HOTEL_NAME", "stays")
    server.require()
    assert {name for name in os.environ if "OTEL_" in name} == {"HOTEL_NAME", "OTEL_SDK_DISABLED"}


def test_a_provider_that_is_installed_hears_of_no_request(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = pytest.importorskip("opentelemetry.trace")
    pytest.importorskip("fastapi.telemetry")
    recorder = Recorder()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", recorder)
    served = serve()
    with served.client() as client:
        assert [client.get(each).status_code for each in ADDRESSES] == [200, 200, 404, 422]
    assert httpx.get(f"{served.url}/sign-in").status_code == 200
    assert recorder.asked == 0
