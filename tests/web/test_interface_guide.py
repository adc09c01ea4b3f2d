"""docs/interface.md is true: its program runs, and what it says of errors and lists holds."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import httpx
import pytest

from tests.web.conftest import Served

GUIDE = (Path(__file__).parents[2] / "docs" / "interface.md").read_text("utf-8")


def test_the_program_of_the_guide_indexes_searches_decides_and_reports(
    served: Served,
    client: httpx.Client,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    program = "\n".join(re.findall(r"```python\n(.*?)```", GUIDE, flags=re.DOTALL))
    program, replaced = re.subn(r'(?m)^LINK = "[^"]+"', f"LINK = {served.link!r}", program)
    assert replaced == 1
    shutil.copy(served.made.folder / "picture-03.jpg", tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    exec(compile(program, "docs/interface.md", "exec"), {})  # noqa: S102 - that it runs is the test
    told = capsys.readouterr().out
    assert "30 pictures, 1 files that could not be read" in told
    assert "evidence:picture-03.jpg" in told
    decided = client.get("/decisions").json()["items"]
    assert {
        (each["kind"], each["value"], each["actor"].partition(" (")[0]) for each in decided
    } == {
        ("verdict", "relevant", "A. Smith"),
        ("tag", "sofa", "A. Smith"),
    }


def test_every_refusal_has_the_shape_that_the_guide_shows(
    served: Served, client: httpx.Client
) -> None:
    answers = [
        client.get(f"/pictures/{'0' * 64}"),
        client.get("/nothing"),
        client.get("/pictures/nothing"),
        client.post("/searches", json={"queries": []}),
        client.post("/decisions", content=b"{"),
        client.get("/runs", params={"cursor": "nothing"}),
        httpx.get(f"{served.url}/api/v1/case", timeout=60),
        httpx.get(f"{served.url}/api/v1/case", headers={"Host": "elsewhere"}, timeout=60),
    ]
    assert [each.status_code for each in answers] == [404, 404, 422, 422, 422, 422, 401, 421]
    for answer in answers:
        assert set(answer.json()["error"]) == {"code", "message", "hint"}
    assert answers[0].json()["error"]["code"] == "unknown_image"
    assert answers[5].json()["error"]["code"] == "bad_cursor"
