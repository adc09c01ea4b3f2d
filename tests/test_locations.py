"""Where a database is: told apart from what a user wrote, and never shown with a password."""

from __future__ import annotations

from pathlib import Path

import pytest

from image_similarity.errors import InvalidSetting
from image_similarity.values import ServerUrl, is_uri, location

WITH_PASSWORD = (
    "postgresql+psycopg://anna:s3cret@db.unit:5433/case?sslmode=verify-full&password=s3cret"
)


@pytest.mark.parametrize(
    "given", ["case.db", "/evidence/case.db", "./postgresql:/x", "C:\\case.db"]
)
def test_a_path_is_a_file(given: str) -> None:
    assert location(given) == Path(given)
    assert location(Path(given)) == Path(given)


@pytest.mark.parametrize("scheme", ["postgresql+psycopg", "postgresql", "postgres"])
def test_each_way_to_write_a_server_names_the_same_database(scheme: str) -> None:
    found = location(f"{scheme}://anna@db.unit:5433/case%2017")
    assert found == ServerUrl("postgresql+psycopg://anna@db.unit:5433/case%2017")
    assert isinstance(found, ServerUrl)
    assert (str(found), found.name) == (found.url, "case 17")
    assert location(found) is found


@pytest.mark.parametrize(
    "given",
    [
        "mysql://anna:s3cret@db/case",
        "https://s3cret.unit/case.db",
        "sqlite:///s3cret.db",
        "postgresql+asyncpg://anna:s3cret@db/case",
        "postgresql://anna:s3cret@db.unit",
        "postgresql://anna:s3cret@[db/case",
        "postgresql://anna:very@s3cret@db.unit/case",
        "://",
    ],
)
def test_another_url_is_refused_without_repeating_what_may_be_secret(given: str) -> None:
    with pytest.raises(InvalidSetting) as refused:
        location(given)
    assert "postgresql+psycopg://" in refused.value.hint
    assert "s3cret" not in f"{refused.value} {refused.value.hint}"


def test_a_password_is_kept_for_the_connection_alone() -> None:
    found = location(WITH_PASSWORD)
    assert isinstance(found, ServerUrl)
    assert "s3cret" in found.url
    assert "s3cret" not in f"{found} {found!r} {found.name} {found.absolute()} {found.resolve()}"
    assert str(found) == "postgresql+psycopg://anna@db.unit:5433/case?sslmode=verify-full"


@pytest.mark.parametrize(
    "given",
    [
        # SQLAlchemy takes all up to the @ for the password.
        "postgresql://anna:s3/cret@db.unit/case?application_name=a",
        "postgresql://anna:s3?password=cret@db.unit/case?application_name=a",
        "postgresql://anna:s3@db.unit/case?pass%77ord=cret&application_name=a",
        "postgresql://anna@db.unit/case?sslpassword=s3cret&application_name=a",
    ],
)
def test_no_way_to_write_a_password_shows_it(given: str) -> None:
    found = location(given)
    assert str(found) == "postgresql+psycopg://anna@db.unit/case?application_name=a"
    assert "cret" not in f"{found.name} {found!r}"


def test_what_lies_beside_a_file_lies_in_the_current_folder_of_a_server() -> None:
    found = location("postgresql://anna@db.unit/..%2Fcase")
    assert found.with_name(f"{found.name}-reports") == Path(".._case-reports")


def test_a_socket_needs_no_host() -> None:
    assert str(location("postgresql://anna@/case?host=/run/pg")) == (
        "postgresql+psycopg://anna@/case?host=/run/pg"
    )
    assert str(location("postgresql:///case")) == "postgresql+psycopg:///case"


@pytest.mark.parametrize(
    ("rest", "carries"),
    [
        ("anna:s3cret@db.unit/case", True),
        ("anna@db.unit/case?%50assword=s3cret&connect_timeout=3", True),
        ("anna@db.unit/case?sslmode=require", False),
        ("anna:@db.unit/case?password=", False),
        ("db.unit/case", False),
    ],
)
def test_whether_a_url_carries_a_secret_is_known(rest: str, carries: bool) -> None:
    assert ServerUrl(f"postgresql+psycopg://{rest}").has_password is carries


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://bucket/rooms", True),
        ("abfs+x://a", True),
        ("/evidence/s3://x", False),
        ("C://x", False),
        ("s3:/b", False),
    ],
)
def test_a_uri_is_told_from_a_path(text: str, expected: bool) -> None:
    assert is_uri(text) is expected
