"""A manifest comes back as it was written, and nothing that is no manifest is taken for one."""

from __future__ import annotations

import contextlib
import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image_similarity.errors import ImageSimilarityError, ManifestRefused, UsageError
from image_similarity.records import manifest as manifests
from image_similarity.records.manifest import Manifest
from image_similarity.records.manifest_reading import parse, read
from image_similarity.records.replay import replay
from image_similarity.store.catalog import Catalog
from tests.records.searches import ask, case


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return case(tmp_path_factory.mktemp("manifest") / "case.db", 20)


@pytest.fixture(scope="module")
def made(database: Path) -> Manifest:
    return ask([database], "picture-001", "picture-002", k=4, max_distance=1.5)


def test_a_manifest_comes_back_as_it_was_written(made: Manifest, tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    manifests.write(path, made)
    assert read(path) == made


def test_it_says_what_is_needed_to_repeat_the_search(made: Manifest) -> None:
    said = json.loads(manifests.text(made))
    assert said["kind"] == "image_similarity manifest" and said["format"] == 1
    assert {"python", "numpy", "sqlite", "platform"} <= said["libraries"].keys()
    (database,) = said["databases"]
    assert database["moment"]["run_id"] == 1 and not database["moment"]["run_open"]
    assert len(database["rows_sha256"]) == 64
    query = said["queries"][0]
    assert len(query["vector"]) == 24 and len(query["sha256"]) == 64
    assert [result["rank"] for result in query["results"]] == [1, 2, 3, 4]


def test_it_is_readable_by_its_owner_only(made: Manifest, tmp_path: Path) -> None:
    manifests.write(tmp_path / "m.json", made)
    assert (tmp_path / "m.json").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["m.json"]


def test_only_an_earlier_manifest_is_replaced_and_only_when_asked(
    made: Manifest, tmp_path: Path
) -> None:
    path, letter = tmp_path / "m.json", tmp_path / "letter.json"
    manifests.refuse_existing(path, overwrite=False)
    manifests.write(path, made)
    letter.write_text("{}")
    with pytest.raises(UsageError, match="exists already"):
        manifests.refuse_existing(path, overwrite=False)
    manifests.refuse_existing(path, overwrite=True)
    with pytest.raises(UsageError, match="not written by this program"):
        manifests.refuse_existing(letter, overwrite=True)


def test_an_answer_put_together_of_several_has_no_manifest(made: Manifest, tmp_path: Path) -> None:
    from dataclasses import replace

    from image_similarity.case import Case, manifest_writer

    with Case.open(case(tmp_path / "case.db", 5), read_only=True) as opened:
        answer = opened.search(sha256=made.queries[0].sha256)
        with pytest.raises(UsageError, match="several"):
            manifest_writer([opened]).add(replace(answer, basis=None))


# -- hostile files ----------------------------------------------------------------------------------------------------


def refused(data: bytes) -> bool:
    """Whether bytes are refused in the one way that they may be."""
    try:
        parse(data)
    except ValueError:
        return True
    return False


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "Expecting value"),
        (b"[]", "its kind"),
        (b"\xff\xfe\x00", "decode"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"kind": "image_similarity manifest", "format": 2}', "format 1"),
        (b'{"kind": "image_similarity manifest", "format": true}', "format 1"),
        (b'{"kind": "image_similarity manifest", "format": 1}', "dim"),
        (b'{"kind": "x", "kind": "image_similarity manifest"}', "twice"),
    ],
)
def test_what_is_no_manifest_is_refused_and_says_why(data: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse(data)


def changes() -> list[tuple[str, tuple[Any, ...], Any, str]]:
    query, result = ("queries", 0), ("queries", 0, "results", 0)
    return [
        ("k huge", ("k",), 2**64, "k"),
        ("k none", ("k",), 0, "k"),
        ("k a truth", ("k",), True, "k"),
        ("fewer asked than answered", ("k",), 1, "results"),
        ("dim", ("dim",), 10**9, "dim"),
        ("fingerprint", ("fingerprint",), "../../etc", "fingerprint"),
        ("distance NaN", (*result, "distance"), float("nan"), "NaN"),
        ("distance infinite", (*result, "distance"), float("inf"), "Infinity"),
        ("distance below 0", (*result, "distance"), -0.5, "distance"),
        ("distance a text", (*result, "distance"), "0.5", "distance"),
        ("a database that is not there", (*result, "database"), 1, "database"),
        ("a database before the first", (*query, "databases"), [-1], "databases"),
        ("vector too short", (*query, "vector"), "AAAA", "bytes"),
        ("vector no base64", (*query, "vector"), "not base64!", "base64"),
        ("vector a number", (*query, "vector"), 5, "base64"),
        ("an exclusion that is not there", (*query, "excluded"), [0], "excluded"),
        ("more exclusions than databases", (*query, "excluded"), [None, None], "exclusion"),
        ("a database twice", (*query, "databases"), [0, 0], "once"),
        ("cut off", (*query, "cut_off"), -1, "cut_off"),
        ("a path with a NUL", ("databases", 0, "path"), "/a\\u0000b", "text form"),
        ("a path that is no text form", (*query, "own_path"), "/a\\b", "text form"),
        ("a root that is no text form", ("databases", 0, "roots"), {"disk": "\ud800"}, "text form"),
        ("mode", (*query, "mode"), "everything", "mode"),
        ("search", (*query, "search"), "guessed", "search"),
        ("scenes", (*query, "scenes"), "bedroom", "scenes"),
        ("an unknown entry", ("exclude",), [], "no such entry"),
        ("no query, of which a replay would say same", ("queries",), [], "no query"),
        ("places", ("places",), None, "object"),
        ("flag", ("places", "include_gone"), 1, "include_gone"),
        ("row ids", ("databases", 0, "moment", "files"), -1, "files"),
        ("max_distance", ("max_distance",), [1], "max_distance"),
    ]


@pytest.mark.parametrize(("name", "where", "value", "why"), changes(), ids=lambda value: str(value))
def test_an_entry_of_another_type_or_range_is_refused(
    made: Manifest, name: str, where: tuple[Any, ...], value: object, why: str
) -> None:
    values: Any = json.loads(manifests.text(made))
    inner = values
    for key in where[:-1]:
        inner = inner[key]
    inner[where[-1]] = value
    with pytest.raises(ValueError, match=why):
        parse(json.dumps(values).encode())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


def changed(values: Any, data: st.DataObject) -> bytes:
    """The values with one entry, anywhere, taken out or replaced."""
    inner = values = copy.deepcopy(values)
    while True:
        key = data.draw(
            st.sampled_from(sorted(inner) if isinstance(inner, dict) else range(len(inner)))
        )
        if isinstance(inner[key], dict | list) and inner[key] and data.draw(st.booleans()):
            inner = inner[key]
            continue
        if data.draw(st.booleans()):
            inner[key] = data.draw(json_values)
        else:
            del inner[key]
        return json.dumps(values).encode()


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_change_of_an_entry_is_read_soundly_or_refused(
    made: Manifest, data: st.DataObject
) -> None:
    found = changed(json.loads(manifests.text(made)), data)
    if not refused(found):
        read_again = parse(found)
        assert parse(manifests.text(read_again).encode()) == read_again


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_what_is_read_can_be_replayed_or_is_refused_in_one_line(
    database: Path, made: Manifest, data: st.DataObject
) -> None:
    values = json.loads(manifests.text(made))
    values["queries"][0]["own_path"] = "/evidence/disk/picture-001.png"
    found = changed(values, data)
    if refused(found):
        return
    with contextlib.suppress(ImageSimilarityError):
        catalog = Catalog.open(database, read_only=True)
        assert isinstance(replay([catalog], parse(found)).same, bool)
        catalog.close()


@settings(max_examples=300, deadline=None)
@given(at=st.integers(0, 10**6), byte=st.integers(0, 255), cut=st.booleans())
def test_a_changed_byte_or_a_cut_file_is_read_soundly_or_refused(
    made: Manifest, at: int, byte: int, cut: bool
) -> None:
    whole = bytearray(manifests.text(made).encode())
    at %= len(whole) - 1
    if cut:
        assert refused(bytes(whole[:at]))
        return
    whole[at] = byte
    if not refused(bytes(whole)):
        found = parse(bytes(whole))
        assert parse(manifests.text(found).encode()) == found


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data: bytes) -> None:
    assert refused(data)


def test_a_refused_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ManifestRefused, match="there is no manifest"):
        read(tmp_path / "none.json")
    (tmp_path / "m.json").write_bytes(b"{")
    with pytest.raises(ManifestRefused, match=r"m\.json is no sound manifest"):
        read(tmp_path / "m.json")
