"""Evidence that is hostile by chance or by intent: nothing of it ends a run, is passed over, or is found wrongly."""

from __future__ import annotations

import os
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from image_similarity.case import Case
from image_similarity.pictures.names import from_text, to_text
from tests.indexing.desk import LONG_AGO_NS, Desk, digest_of

NON_UTF8 = os.fsdecode(b"caf\xe9-\xff.png")
STRANGE_NAMES = [
    NON_UTF8,
    "two\nlines.png",
    "back\\slash.png",
    "quote'; DROP TABLE file; --.png",
    "percent%20and?query#part.png",
    "glob[*]?.png",
    " blank .png",
    "-rf.png",
    "…/\u202egnp.exe.png",
    "tab\tbell\a\x1b[31m.png",
    "e\u0301 and \u00e9.png",
    "x" * 251 + ".png",
]


@pytest.fixture
def desk(tmp_path: Path, tiny_model: Path) -> Desk:
    return Desk(tmp_path, tiny_model)


def put(desk: Desk, name: str, seed: int) -> Path:
    return desk.put(name, seed=seed, format="PNG")


def opened(hit: Any) -> bytes:
    """What stands at the place that a hit names, opened as a caller would."""
    return (Path(from_text(hit.place.root)) / from_text(hit.place.path)).read_bytes()


# -- names ----------------------------------------------------------------------------------------------------------


def test_strange_names_go_from_index_over_search_back_to_the_file(desk: Desk) -> None:
    query = put(desk, "query.png", seed=1)
    pictures = {put(desk, name, seed=n): name for n, name in enumerate(STRANGE_NAMES, start=2)}
    everything = len(STRANGE_NAMES) + 1
    assert desk.index().new == everything
    assert desk.index().unchanged == everything
    with Case.open(desk.database) as case:
        hits = {hit.place.path: hit for hit in case.search(query, k=99, scene="off").hits}
        assert set(hits) == {to_text(name) for name in STRANGE_NAMES}
        for picture, name in pictures.items():
            text = to_text(name)
            assert not {"\n", "\x1b", "\a"} & set(text)
            assert opened(hits[text]) == picture.read_bytes()
            found = case.search(picture, k=99, scene="off").hits
            assert {hit.place.path for hit in found} == {"query.png", *hits} - {text}
            for asked in (picture, text, name, f"{desk.evidence}/{text}"):
                assert [image.sha256 for image in case.images_at(asked)] == [digest_of(picture)]
        assert case.verify(rehash=True).clean
        assert case.refresh()[0].unchanged == everything


def test_a_strange_name_that_is_deleted_changed_or_corrupt_is_accounted_for(desk: Desk) -> None:
    put(desk, "kept.png", seed=1)
    for number, name in enumerate(STRANGE_NAMES[:4]):
        put(desk, f"deleted-{name}", seed=10 + number)
        put(desk, f"changed-{name}", seed=20 + number)
        desk.corrupt(f"corrupt-{name}")
    assert (desk.index().new, len(desk.failures())) == (9, 4)
    for number, name in enumerate(STRANGE_NAMES[:4]):
        (desk.evidence / f"deleted-{name}").unlink()
        put(desk, f"changed-{name}", seed=30 + number)
        put(desk, f"corrupt-{name}", seed=40 + number)
    report = desk.index()
    assert (report.gone, report.new, report.failed, report.unchanged) == (4, 8, 0, 1)
    expected = {to_text(path.name): digest_of(path) for path in desk.evidence.iterdir()}
    assert desk.live() == expected


def test_a_root_whose_name_is_not_utf_8_is_indexed_searched_refreshed_and_looked_up(
    desk: Desk,
) -> None:
    root = desk.folder / os.fsdecode(b"disk-\xe9\\")
    desk.evidence.rename(root)
    desk.evidence = root
    query, other = put(desk, "query.png", seed=1), put(desk, NON_UTF8, seed=2)
    report = desk.index()
    assert (report.source, report.root) == (to_text(root.name), to_text(str(root)))
    (hit,) = desk.find(query)
    assert opened(hit) == other.read_bytes()
    assert desk.refresh()[0].unchanged == 2
    with Case.open(desk.database, read_only=True) as case:
        assert case.verify(rehash=True).clean
        assert [image.sha256 for image in case.images_at(other)] == [digest_of(other)]


def test_a_single_picture_with_a_strange_name_is_refreshed(desk: Desk) -> None:
    picture = put(desk, NON_UTF8, seed=1)
    desk.index(picture)
    put(desk, NON_UTF8, seed=2)
    (report,) = desk.refresh()
    assert (report.new, desk.live()) == (1, {to_text(NON_UTF8): digest_of(picture)})


def test_a_database_whose_name_is_strange_is_opened_as_that_file(desk: Desk) -> None:
    put(desk, "one.png", seed=1)
    for name in ("50%.db", "what?mode=memory.db", "a#b.db", "c\\d.db", os.fsdecode(b"\xe9.db")):
        desk.database = desk.folder / name
        assert desk.index().new == 1
        assert desk.database.is_file()
        with Case.open(desk.database, read_only=True) as case:
            assert case.backup(desk.folder / f"copy of {name}").is_file()


def test_a_picture_looked_up_through_a_link_is_found_at_the_link(desk: Desk) -> None:
    """The link is a place of its own, even where what it leads to lies outside of the evidence."""
    outside = desk.folder / "outside.png"
    shutil.copy2(put(desk, "one.png", seed=1), outside)
    (desk.evidence / "link.png").symlink_to(outside)
    desk.index()
    with Case.open(desk.database, read_only=True) as case:
        (image,) = case.images_at(desk.evidence / "link.png")
    assert image.sha256 == digest_of(outside)


# -- kinds of entries ----------------------------------------------------------------------------------------------


def test_links_that_loop_fifos_and_devices_neither_hold_nor_end_a_run(desk: Desk) -> None:
    put(desk, "room/one.png", seed=1)
    (desk.evidence / "room" / "up").symlink_to("..")
    (desk.evidence / "self").symlink_to("self")
    (desk.evidence / "a").symlink_to("b")
    (desk.evidence / "b").symlink_to("a")
    (desk.evidence / "zero.jpg").symlink_to("/dev/zero")
    os.mkfifo(desk.evidence / "fifo.jpg")
    report = desk.index()
    assert (report.new, report.seen, dict(report.skipped)) == (1, 7, {"link": 4, "special": 2})


def test_a_picture_swapped_for_a_fifo_after_the_walk_does_not_hold_the_run(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    from image_similarity.indexing import loader

    put(desk, "a.png", seed=1)
    victim = put(desk, "b.png", seed=2)
    really_read = loader.read_file

    def read(path: str, **named: Any) -> Any:
        if path == str(victim):
            victim.unlink()
            os.mkfifo(victim)
        return really_read(path, **named)

    monkeypatch.setattr(loader, "read_file", read)
    report = desk.index()
    assert (report.new, report.failed, report.failures[0].error) == (1, 1, "NotAFile")


def test_folders_nested_deeper_than_a_path_may_be_long_are_a_failure_not_a_silence(
    desk: Desk,
) -> None:
    put(desk, "one.png", seed=1)
    here = os.open(desk.evidence, os.O_RDONLY)
    for _ in range(25):
        os.mkdir("d" * 200, dir_fd=here)
        deeper = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(here)
    report = desk.index()
    assert (report.new, report.failed, report.failures[0].stage) == (1, 1, "walk")
    shutil.rmtree(desk.evidence / ("d" * 200))


# -- times and sizes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mtime_ns",
    [0, -1, -(2**33) * 10**9, 2**63 - 1, 2**63, 9_999_999_999 * 10**9],
    ids=["epoch", "before it", "1697", "last", "beyond", "2286"],
)
def test_any_time_that_a_disk_can_hold_is_stored_and_compared(desk: Desk, mtime_ns: int) -> None:
    pictures = [put(desk, "one.png", seed=1), desk.corrupt("bad.jpg"), desk.write("x.txt", b"text")]
    for picture in pictures:
        os.utime(picture, ns=(mtime_ns, mtime_ns))
    if pictures[0].stat().st_mtime_ns != mtime_ns:
        pytest.skip("this file system does not hold that time")
    for expected in ((1, 0), (0, 1)):
        report = desk.index()
        assert (report.new, report.unchanged) == expected
        assert (report.failed, dict(report.skipped)) == (1, {"document": 1})
    assert (desk.count("file"), len(desk.failures()), len(desk.skipped())) == (1, 1, 1)


def test_times_before_1677_as_ntfs_knows_them_do_not_end_a_run(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A zero in NTFS is the year 1601, which 64 bits of nanoseconds do not reach; ext4 cannot play it."""
    from dataclasses import replace

    from image_similarity.indexing import job, loader

    in_1601 = -11_644_473_600 * 10**9
    put(desk, "one.png", seed=1)
    desk.corrupt("bad.jpg")
    desk.write("x.txt", b"text")
    really_walk, really_read = job.walk, loader.read_file
    monkeypatch.setattr(
        job, "walk", lambda *a, **k: (e._replace(mtime_ns=in_1601) for e in really_walk(*a, **k))
    )
    monkeypatch.setattr(
        loader, "read_file", lambda *a, **k: replace(really_read(*a, **k), mtime_ns=in_1601)
    )
    for _ in range(2):
        report = desk.index()
        assert (report.seen, report.failed) == (3, 1)
    assert desk.count("file") == 1


def test_a_settled_time_in_the_future_does_not_hide_a_change(desk: Desk) -> None:
    """A camera whose clock runs ahead: its time proves nothing, so the file is read again."""
    picture = put(desk, "one.png", seed=1)
    ahead = 4_000_000_000 * 10**9
    os.utime(picture, ns=(ahead, ahead))
    desk.index()
    data = picture.read_bytes()
    picture.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    os.utime(picture, ns=(ahead, ahead))
    desk.index()
    assert desk.live()["one.png"] == digest_of(picture)


# -- pictures --------------------------------------------------------------------------------------------------------


def png(width: int, height: int) -> bytes:
    """A PNG whose header promises a size and whose data do not keep it."""
    import zlib

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(1000)))
        + chunk(b"IEND", b"")
    )


def test_no_picture_of_a_gallery_of_horrors_ends_the_run_or_is_passed_over(desk: Desk) -> None:
    whole = put(desk, "a-first.png", seed=1).read_bytes()
    jpeg = desk.put("a-second.jpg", seed=2).read_bytes()
    horrors = {
        "bomb.png": png(100_000, 100_000),
        "nothing.png": png(0, 0),
        "line.png": png(60_000, 1),
        "head-only.jpg": jpeg[:3],
        "cut.png": whole[:40],
        "gif.gif": b"GIF89a\xff\xff\xff\xff\x00\x00\x00",
        "tiff.tif": b"II*\x00\xff\xff\xff\x7f",
        "webp.webp": b"RIFF\xff\xff\xff\xffWEBPVP8 ",
        "psd.psd": b"8BPS\x00\x01" + bytes(20),
        "eps.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "zeros.jpg": bytes(4096),
    }
    for name, data in horrors.items():
        desk.write(f"horrors/{name}", data)
    put(desk, "z-last.png", seed=3)
    report = desk.index()
    assert report.accounted
    assert report.seen == len(horrors) + 3
    assert {"a-first.png", "a-second.jpg", "z-last.png"} <= set(desk.live())
    recorded = {*desk.live(), *desk.failures(), *desk.skipped()}
    assert recorded >= {f"horrors/{name}" for name in horrors}
    assert desk.failures()["horrors/bomb.png"][0] == "decode"


def test_a_strip_one_pixel_high_is_embedded(desk: Desk) -> None:
    for name, size in (("strip.png", (20_000, 1)), ("tower.png", (1, 20_000))):
        Image.effect_noise(size, 90).save(desk.evidence / name)
    assert desk.index().new == 2


def test_a_failure_message_of_hostile_bytes_is_one_printable_line(desk: Desk) -> None:
    put(desk, "good.png", seed=1)
    desk.write("bad.tif", b"II*\x00\x08\x00\x00\x00\x01\x00\x0a\x00\x1b[31m\n\n\x00\xff" * 4)
    report = desk.index()
    for failure in report.failures:
        assert failure.message.isprintable()


def test_two_contents_of_one_size_and_time_are_told_apart(desk: Desk) -> None:
    one, two = put(desk, "one.bmp", seed=1), put(desk, "two.bmp", seed=2)
    for number, picture in enumerate((one, two)):
        desk.put(picture.name, seed=number)
        os.utime(picture, ns=(LONG_AGO_NS, LONG_AGO_NS))
    assert one.stat().st_size == two.stat().st_size
    assert (desk.index().new, len(set(desk.live().values()))) == (2, 2)
