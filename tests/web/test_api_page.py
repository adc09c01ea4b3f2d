"""The page of the interface, and the document that it is made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import BrowserContext

from image_similarity.web.api_page import kind, sample
from image_similarity.web.description import TAGS, operations
from tests.web.conftest import Served, Window


@pytest.fixture
def served(shared_served: Served) -> Served:
    """One server for all tests here: they look, and change nothing."""
    return shared_served


@pytest.fixture
def context(shared_context: BrowserContext) -> BrowserContext:
    """One browser for all tests here."""
    return shared_context


@pytest.fixture(scope="module")
def document(shared_served: Served) -> dict[str, Any]:
    with shared_served.client() as client:
        return client.get("/openapi.json").raise_for_status().json()


def parameters(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for _, operation in operations(document):
        for each in operation.get("parameters", ()):
            yield operation["operationId"], each


def test_every_operation_says_what_it_does_under_a_name_of_its_own(
    document: dict[str, Any],
) -> None:
    ids = Counter(operation["operationId"] for _, operation in operations(document))
    assert set(ids.values()) == {1}, ids.most_common(3)
    for _, operation in operations(document):
        assert " " in operation["summary"], operation["operationId"]
        assert "Args:" not in operation.get("description", "")


def test_every_parameter_says_what_it_means(document: dict[str, Any]) -> None:
    silent = [
        (name, each["name"]) for name, each in parameters(document) if not each.get("description")
    ]
    assert silent == []


def test_every_operation_stands_under_one_subject_that_is_described(
    document: dict[str, Any],
) -> None:
    known = [tag["name"] for tag in TAGS]
    assert all(tag["description"] for tag in document["tags"])
    for _, operation in operations(document):
        assert len(operation["tags"]) == 1
        assert operation["tags"][0] in known


def test_every_refusal_has_the_one_shape_and_says_when(document: dict[str, Any]) -> None:
    for _, operation in operations(document):
        assert "401" in operation["responses"]
        for status, answer in operation["responses"].items():
            if int(status) >= 400:
                schema = answer["content"]["application/json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/ProblemShape"}
                assert answer["description"].endswith(".")
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_the_key_is_told_of_and_asked_for_everywhere(document: dict[str, Any]) -> None:
    scheme = document["components"]["securitySchemes"]["key"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    assert all(operation["security"] for _, operation in operations(document))


def test_the_document_is_for_who_has_the_key(served: Served) -> None:
    assert httpx.get(f"{served.url}/api/v1/openapi.json", timeout=60).status_code == 401


def test_the_page_shows_every_operation_and_every_schema(
    window: Window, document: dict[str, Any]
) -> None:
    page = window.go("/api")
    for _, operation in operations(document):
        assert page.locator(f"article[aria-labelledby='{operation['operationId']}']").count() == 1
    for name in document["components"]["schemas"]:
        assert page.locator(f"[id='schema-{name}']").count() == 1
    page.get_by_role("link", name="ProblemShape").first.is_visible()
    links = page.eval_on_selector_all("main a[href^='#']", "found => found.map(each => each.hash)")
    assert [each for each in links if page.locator(f"[id='{each[1:]}']").count() != 1] == []


def test_what_a_value_may_be_is_told_in_words() -> None:
    told = kind(
        {
            "anyOf": [
                {"type": "array", "items": {"$ref": "#/components/schemas/Scene"}},
                {"type": "null"},
            ]
        }
    )
    assert "".join(each.text for each in told) == "list of Scene or null"
    assert [each.schema for each in told if each.schema] == ["Scene"]
    (number, bounds) = kind({"type": "integer", "minimum": 1, "default": 50})
    assert number.text + bounds.text == "integer (at least 1, else 50)"


def test_an_example_holds_what_must_be_given_and_nothing_else() -> None:
    schema = {"type": "object", "required": ["a"], "properties": {"a": {"enum": ["x"]}, "b": {}}}
    assert sample({}, schema) == {"a": "x"}
