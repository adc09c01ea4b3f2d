"""The interface keeps what its document says, whatever it is sent: schemathesis asks every operation."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import schemathesis
from schemathesis.checks import CHECKS
from schemathesis.config import SchemathesisConfig

from image_similarity.web.app import make_app
from image_similarity.web.options import ServeOptions
from image_similarity.web.sessions import Sessions
from tests.cli.conftest import Made
from tests.web.conftest import Served, running

# Of each operation; beside them come the edges of every value, which are not drawn.
EXAMPLES = 5
CONFIG: dict[str, Any] = {
    "seed": 7,
    "generation": {
        "max-examples": EXAMPLES,
        "deterministic": True,
        "database": "none",
        # Queries may hold what nobody asked for; the interface passes over it.
        "allow-extra-parameters": False,
    },
}
# Refusals of what is well formed, which a document cannot tell from what is meant.
MEANINGLESS = {
    "invalid_setting": "a text must be one line that can be read, and a tag is shorter than a note",
    "part_of_several": "a part of the query picture is asked for, and there are several",
    "bad_cursor": "a cursor is a text that only the page before gives",
}


def document() -> dict[str, Any]:
    """The document, for which no case need be open."""
    desk: Any = SimpleNamespace(options=ServeOptions(Path("case.db")))
    return make_app(desk, Sessions()).openapi()


schema = schemathesis.openapi.from_dict(document(), config=SchemathesisConfig.from_dict(CONFIG))


@pytest.fixture(scope="module")
def asked(
    gallery: Made, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Served, list[str]]]:
    """A served copy of the gallery, for all operations, and what it holds."""
    base = tmp_path_factory.mktemp("asked")
    database = Path(shutil.copy(gallery.database, base / "case.db"))
    options = ServeOptions(database, port=0, cache=base / "cache", reports=base / "reports")
    with running(options, Made(gallery.folder, database, gallery.model)) as served:
        yield served, served.hashes()


def stored(value: Any, known: list[str]) -> Any:
    """A value with three of four SHA-256s replaced by those of pictures that the case holds."""
    if isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value):
        number = int(value, 16)
        return value if number % 4 == 0 else known[number % len(known)]
    if isinstance(value, list):
        return [stored(each, known) for each in value]
    if isinstance(value, dict):
        return {name: stored(each, known) for name, each in value.items()}
    return value


@schema.parametrize()
def test_an_operation_answers_as_its_document_says(
    case: Any, asked: tuple[Served, list[str]]
) -> None:
    served, known = asked
    case.path_parameters = stored(case.path_parameters, known)
    case.query = stored(case.query, known)
    case.body = stored(case.body, known)
    headers = {"Authorization": f"Bearer {served.sessions.key}"}
    answer = case.call(base_url=served.url, headers=headers, timeout=60)
    refused = answer.status_code in (400, 422) and answer.json()["error"]["code"] in MEANINGLESS
    case.validate_response(
        answer,
        headers=headers,
        excluded_checks=[CHECKS.get_one("positive_data_acceptance")] if refused else [],
        transport_kwargs={"base_url": served.url, "headers": headers, "timeout": 60},
    )
