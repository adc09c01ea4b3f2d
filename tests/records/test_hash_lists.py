"""Lists of known files: what is read of each form, what is refused, and that none is stored in part."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_similarity.case import Case
from image_similarity.errors import HashListRefused, InvalidSetting, UsageError
from image_similarity.events import Event, Progress, Started
from image_similarity.records import hash_files, hash_lists
from image_similarity.records.hash_files import Row, opened
from image_similarity.store import catalog as stored
from image_similarity.store import engine
from image_similarity.values import HashList, HashListReport, KnownHash
from tests.search.synthetic import Row as Content
from tests.search.synthetic import at_angle, write_case

MD5, SHA1, SHA256 = "0123456789abcdef" * 2, "89abcdef" * 5, "fedcba9876543210" * 4
OTHER = "00ff" * 8
EMPTY = {name: hashlib.new(name, b"").hexdigest() for name in ("md5", "sha1", "sha256")}
NO_HASH = "it has no MD5, SHA-1 or SHA-256"


def rows(data: str | bytes, form: Any = None) -> tuple[str, list[Row]]:
    """The form that a file was taken for, and its rows."""
    data = data.encode() if isinstance(data, str) else data
    source = opened(Path("list"), io.BytesIO(data), form)
    found = list(source.rows())
    assert source.sha256() == hashlib.sha256(data).hexdigest()
    return source.form, found


def digests(found: list[Row]) -> list[str]:
    return [row.digest.hex() for row in found if row.digest is not None]


def problems(found: list[Row]) -> list[tuple[str, str]]:
    return [(row.where, row.problem) for row in found if row.digest is None]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_plain_list_has_a_hash_a_line_in_any_case(ending: str, encoding: str) -> None:
    text = ending.join(["# mine", MD5.upper(), "", f"  {SHA1} ", SHA256])
    form, found = rows(text.encode(encoding))
    assert (form, digests(found), problems(found)) == ("plain", [MD5, SHA1, SHA256], [])


def test_a_plain_list_may_have_the_names_that_checksum_tools_write() -> None:
    text = f"{MD5}  a, b.jpg\n{SHA256} *c.jpg\n\\{SHA1}  line\\nbreak.jpg\nSHA256 (d (1).jpg) = {SHA256}\n"
    form, found = rows(text)
    assert (form, digests(found)) == ("plain", [MD5, SHA256, SHA1, SHA256])


def test_what_is_no_hash_is_named_by_its_line() -> None:
    _, found = rows(f"{MD5}\n{MD5}0\n{MD5[:-1]}g\nhello\n{'a' * 200_000}\n{SHA1}x\n{SHA1}\n")
    assert digests(found) == [MD5, SHA1]
    assert problems(found) == [(f"line {number}", NO_HASH) for number in (2, 3, 4, 5, 6)]


def test_a_csv_gives_the_strongest_hash_of_each_row_with_its_category() -> None:
    text = (
        "Name,MD5 Hash,SHA-1,Category\n"
        f"a.jpg,{MD5},{SHA1},2\n"
        f'"b, ""c"".jpg",{MD5.upper()},,"CAT 1"\n'
        f"d.jpg,,,3\n"
    )
    form, found = rows(text)
    assert form == "csv"
    assert [(row.digest and row.digest.hex(), row.category) for row in found] == [
        (SHA1, "2"),
        (MD5, "CAT 1"),
        (None, ""),
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_csv_without_names_we_know_shows_its_columns_by_its_first_hashes(delimiter: str) -> None:
    lines = [["Hash Value", "File"], [MD5, "x"], [OTHER, SHA256], ["", MD5]]
    form, found = rows("\n".join(delimiter.join(line) for line in lines))
    assert form == "csv"
    assert digests(found) == [MD5, OTHER], "a file's name that looks like a hash is none"
    assert problems(found) == [("line 4", NO_HASH)]


def test_a_csv_without_a_header_loses_no_row() -> None:
    assert digests(rows(f"1,{MD5}\n2,{OTHER}\n")[1]) == [MD5, OTHER]


def test_a_quote_that_is_never_closed_costs_its_row_only() -> None:
    _, found = rows(f'name,md5\n"my "pictures,{MD5}\n"open,{OTHER}\nc,{OTHER}\n')
    assert digests(found)[-1] == OTHER
    assert len(found) == 3
    assert problems(found)[-1] == ("line 3", NO_HASH)


def test_hashdeep_names_its_columns_behind_percent_signs() -> None:
    text = f"%%%% HASHDEEP-1.0\n%%%% size,md5,sha256,filename\n## Invoked from: /\n##\n12,{MD5},{SHA256},/{SHA1}\n"
    assert (rows(text)[0], digests(rows(text)[1])) == ("csv", [SHA256])


def test_an_nsrl_list_is_known_by_its_columns() -> None:
    text = f'"SHA-1","MD5","CRC32","FileName"\r\n"{SHA1.upper()}","{MD5}","00","x, y"\r\n'
    form, found = rows(b"\xef\xbb\xbf" + text.encode())
    assert (form, digests(found)) == ("nsrl", [SHA1])
    with pytest.raises(HashListRefused, match="no NSRL list"):
        rows(f"{MD5}\n", "nsrl")


@pytest.mark.parametrize("name", sorted(EMPTY))
def test_hashes_of_the_empty_file_are_dropped(name: str) -> None:
    for text in (
        EMPTY[name].upper(),
        f"sha256,sha1,md5\n{','.join(EMPTY[each] for each in ('sha256', 'sha1', 'md5'))}",
        json.dumps({"value": [{name.upper(): EMPTY[name]}]}),
    ):
        _, found = rows(text)
        assert [(row.digest, row.problem) for row in found] == [(None, "empty")]


def media(**more: Any) -> dict[str, Any]:
    return {"MediaID": 1, "Category": 1, "MD5": MD5.upper(), "MediaSize": 3, **more}


@pytest.mark.parametrize(
    "context",
    [
        {"@odata.context": "http://x/DataModels/2.0.xml/US/$metadata#Media"},
        {"odata.metadata": "http://x/DataModels/1.3.xml#Cases"},
        {},
    ],
)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_vics_style_json_is_read_as_a_set_of_hashes_and_as_a_case(
    context: dict[str, str], mark: bytes
) -> None:
    files = [{"FileName": "x", "MD5": OTHER, "FilePath": "a\\b"}]
    set_of_hashes = {**context, "value": [media(SHA1=SHA1), media(MD5=None), media(Category="9")]}
    case = {
        **context,
        "value": [{"CaseID": 1, "TotalMediaFiles": 99, "Media": [media(MediaFiles=files)]}],
    }
    form, found = rows(mark + json.dumps(set_of_hashes, indent=1).encode())
    assert form == "vics"
    assert [(row.digest and row.digest.hex(), row.category) for row in found] == [
        (SHA1, "1"),
        (None, ""),
        (MD5, "9"),
    ]
    assert digests(rows(mark + json.dumps(case).encode())[1]) == [MD5]


def test_a_record_of_vics_style_json_without_a_hash_is_counted() -> None:
    records = [media(), {"MediaID": 2, "MediaSize": 3}, {"MediaID": 3, "MD5": ["x"]}]
    for value in ({"value": records}, {"value": [{"CaseID": 1, "Media": records}]}):
        _, found = rows(json.dumps(value))
        assert digests(found) == [MD5]
        assert problems(found) == [("record 2", NO_HASH), ("record 3", NO_HASH)]


def test_vics_style_json_of_many_records_is_read_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    from image_similarity.records import json_objects

    text = json.dumps({"value": [{"Media": [media(Category=n, Tags='é\\"{[') for n in range(50)]}]})
    for size in (1, 7, 64):
        monkeypatch.setattr(json_objects, "_CHUNK", size)
        assert [row.category for row in rows(text)[1]] == [str(n) for n in range(50)]


@pytest.mark.parametrize(
    "text",
    [
        "{",
        '{"value": [',
        '{"value": [{"MD5": "' + MD5,
        '{"value": []} more',
        '{"value": [}]}',
        '{"value" []}',
        "{1: 2}",
        '{"value": [1 2]}',
        '{"a": ' + "[" * 100_000,
        '{"a": ' + "1" * 5000 + "}",
        '[{"Media": ' * 50,
    ],
)
def test_damaged_json_is_refused_with_the_place(text: str) -> None:
    with pytest.raises(HashListRefused, match=r"no VICS-style JSON: .*(?<! at) at character"):
        rows(text)


def test_a_value_that_does_not_end_does_not_fill_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from image_similarity.records import json_objects

    monkeypatch.setattr(json_objects, "MAX_VALUE", 2**20)

    class Endless(io.RawIOBase):
        read_so_far = 0

        def read(self, size: int = -1) -> bytes:
            self.read_so_far += size
            return b'{"a":"' if self.read_so_far == size else b"x" * size

    endless = Endless()
    with pytest.raises(HashListRefused):
        list(opened(Path("list"), endless, "vics").rows())  # type: ignore[arg-type]
    assert endless.read_so_far < 2**22


PIECES = [MD5, SHA1, "value", "Media", "MD5", *',;\n\r\0{}[]:" \\#']
ODD = st.one_of(
    st.binary(max_size=300),
    st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.lists(st.sampled_from(PIECES), max_size=40).map("".join).map(str.encode),
)


@given(ODD, st.sampled_from([None, *hash_files.FORMS]))
def test_no_file_breaks_a_parser(data: bytes, form: Any) -> None:
    try:
        _, found = rows(data, form)
    except HashListRefused:
        return
    for row in found:
        assert (row.digest is None) == bool(row.problem)
        assert row.digest is None or len(row.digest) in (16, 20, 32)
        assert len(row.category) <= hash_files.MAX_CATEGORY


NAMES = st.sampled_from(["value", "Value", "Media", "MD5", "Tags", "é"])
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(NAMES, inner, max_size=4)),
    max_leaves=25,
)


def walked(value: Any, *, listed: bool = False) -> list[dict[str, Any]]:
    """The objects that a stream should give, from a document that is in memory as a whole."""
    found = []
    if isinstance(value, list) and listed:
        for each in value:
            if isinstance(each, dict):
                found += [*walked(each), plain_members(each)]
    elif isinstance(value, dict):
        for name, each in value.items():
            if isinstance(each, list):
                found += walked(each, listed=name.lower() in ("value", "media"))
    return found


def plain_members(value: dict[str, Any]) -> dict[str, Any]:
    return {name: each for name, each in value.items() if not isinstance(each, dict | list)}


@given(
    st.one_of(st.lists(VALUES, max_size=4), st.dictionaries(NAMES, VALUES, max_size=4)),
    st.sampled_from([1, 3, 50]),
    st.sampled_from([None, 2]),
)
def test_json_that_is_read_in_pieces_has_the_objects_of_the_whole(
    document: Any, size: int, indent: int | None
) -> None:
    from image_similarity.records import json_objects

    text = io.StringIO(json.dumps(document, indent=indent))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_objects, "_CHUNK", size)
        patch.setattr(json_objects, "_DEPTH", 50)
        found = list(json_objects.objects_in(text, within=("value", "media")))
    assert found == walked(document, listed=True)


# -- in a database ------------------------------------------------------------------------------------------------


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Three contents; the store's test data gives all the same SHA-1 and MD5."""
    return write_case(tmp_path / "case.db", [Content(name, at_angle(0)) for name in "abc"])


def sha(name: str) -> str:
    return Content(name, ()).sha256


def import_text(database: Path, text: str, **more: Any) -> HashListReport:
    path = database.with_name("list.txt")
    path.write_text(text)
    with Case.open(database) as case:
        return case.import_hash_list(path, **more)


def test_an_import_is_counted_and_recorded(database: Path) -> None:
    text = f"{sha('a').upper()}\n{sha('a')}\n{sha('b')}\n{EMPTY['md5']}\nnothing\n\n{OTHER}\n"
    report = import_text(database, text)
    made = HashList(
        "list", "plain", hashlib.sha256(text.encode()).hexdigest(), report.list.imported_at, 3
    )
    assert report == HashListReport(
        made, 4, 1, 1, 1, first_malformed=f"line 5: {NO_HASH}", pictures=2, unreadable=0
    )
    with Case.open(database, read_only=True) as case:
        assert case.hash_lists() == [made]
        assert case.image(sha("a")).known == (KnownHash("list", "sha256"),)
        assert case.image(sha("c")).known == ()
        entry = case.audit_head()
    assert entry is not None
    assert entry.action == "hashlist"
    detail = json.loads(entry.detail)
    assert len(detail.pop("entries_sha256")) == 64
    assert detail == {
        "did": "imported",
        "name": "list",
        "form": "plain",
        "file_sha256": made.file_sha256,
        "imported_at": made.imported_at,
        "entries": 3,
    }


def test_a_picture_is_known_by_any_of_its_hashes_and_it_is_said_by_which(database: Path) -> None:
    import_text(database, "md5,category\n" + "5" * 32 + ",2\n", name="weak")
    import_text(database, f"{'1' * 40}\n{sha('a')}\n", name="both")
    with Case.open(database, read_only=True) as case:
        assert case.image(sha("a")).known == (
            KnownHash("both", "sha256"),
            KnownHash("weak", "md5", "2"),
        )
        assert case.image(sha("b")).known == (
            KnownHash("both", "sha1"),
            KnownHash("weak", "md5", "2"),
        )


def test_no_transaction_is_held_while_known_places_are_given(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a run could not store its batch for as long as somebody pages through the list."""
    import_text(database, "\n".join(map(sha, "abc")))
    monkeypatch.setattr(hash_lists, "_RECORDS", 1)
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_MS", 100)
    with Case.open(database, read_only=True) as case:
        places = case.known_places()
        assert next(places).place == "disk:a.png"
        with Case.open(database) as writer:
            writer.set_facts(notes="meanwhile")
        assert len(list(places)) == 2


def test_progress_is_told_of_reading_and_of_storing(database: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"{MD5}\n{MD5}\n{SHA1}\n")
    events: list[Event] = []
    with Case.open(database) as case:
        case.import_hash_list(tmp_path / "list.txt", on_event=events.append)
    path = str(tmp_path / "list.txt")
    assert events == [
        Started("list", path, 0, "MB"),
        Progress(0, 0, 0, 0),
        Started("list", path, 3, "hashes"),
        Progress(3, 3, 0, 0),
    ]


def test_several_categories_of_one_hash_are_all_kept(database: Path) -> None:
    report = import_text(database, f"sha256,category\n{sha('a')},2\n{sha('a')},1\n{sha('a')},\n")
    assert (report.rows, report.repeated) == (3, 2)
    with Case.open(database, read_only=True) as case:
        assert case.image(sha("a")).known == (KnownHash("list", "sha256", "1; 2"),)


def test_a_list_that_is_sorted_on_disk_is_the_same(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hash_lists, "_PORTION", 7)
    many = [hashlib.sha256(str(number % 90).encode()).hexdigest() for number in range(100)]
    many += [digest[:32] for digest in many[:5]] + [digest[:40] for digest in many[:5]]
    report = import_text(database, "\n".join([*many, sha("c")]))
    assert (report.list.entries, report.repeated, report.pictures) == (101, 10, 1)


@pytest.mark.parametrize(
    "text", ["", "\n", "# none\n", "name,size\na,1\n", EMPTY["md5"], "{}", "[]"]
)
def test_a_file_without_a_hash_is_refused_and_nothing_stored(database: Path, text: str) -> None:
    with pytest.raises(HashListRefused, match=r"list\.txt holds no hash"):
        import_text(database, text)
    with Case.open(database, read_only=True) as case:
        assert case.hash_lists() == []


def test_an_import_that_breaks_off_leaves_nothing(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("image_similarity.store.hash_lists.audit.append", stopped)
    with pytest.raises(KeyboardInterrupt):
        import_text(database, MD5)
    with Case.open(database, read_only=True) as case:
        assert case.hash_lists() == []
        with case._catalog.reading() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM hash_entry").scalar() == 0


def test_a_name_is_one_line_and_not_taken(database: Path) -> None:
    import_text(database, MD5)
    with pytest.raises(InvalidSetting, match="'list' already"):
        import_text(database, OTHER)
    for name in ("", "  ", "two\nlines", "turn\u202eed", "x" * 101):
        with pytest.raises(InvalidSetting, match="name of a list"):
            import_text(database, MD5, name=name)


def test_a_removed_list_is_known_to_the_chain_only(database: Path) -> None:
    import_text(database, sha("a"))
    with Case.open(database) as case:
        case.remove_hash_list("list")
        assert case.hash_lists() == []
        assert case.image(sha("a")).known == ()
        entry = case.audit_head()
        assert entry is not None
        assert json.loads(entry.detail)["did"] == "removed"
        with pytest.raises(UsageError, match="no hash list 'list'"):
            case.remove_hash_list("list")
        with case._catalog.reading() as connection:
            assert stored.integrity_problems(connection) == []
    assert import_text(database, sha("a")).pictures == 1
