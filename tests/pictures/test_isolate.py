"""HEIF is decoded in another process, whose end is a failure of one file.

No encoder of HEIF is at hand, so a stand-in for the decoder process answers here; the real one is asked with files
that it must refuse.
"""

from __future__ import annotations

import io
import struct
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from image_similarity.pictures import heif_worker, isolate
from image_similarity.pictures.decode import decode
from image_similarity.pictures.picture_error import PictureError

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"

# What the last byte of the file says, the stand-in does.
STAND_IN = """
import json, os, struct, sys, time
while len(head := sys.stdin.buffer.read(16)) == 16:
    size, limit = struct.unpack("<QQ", head)
    data = sys.stdin.buffer.read(size)
    what = data[-1:]
    if what == b"C":
        os._exit(139)
    if what == b"H":
        time.sleep(60)
    if what == b"O" and not os.path.exists(sys.argv[1]):
        open(sys.argv[1], "w").close()
        os._exit(139)
    exif = bytes.fromhex(sys.argv[2])
    parts = [exif, b"", bytes([10, 20, 30] * 6)]
    facts = {"mode": "RGB", "stride": 9, "mime": "image/heic", "width": 3, "height": 2}
    if what == b"E":
        facts, parts = {"error": "ValueError", "message": "bad\\nfile"}, []
    if what == b"B":
        facts, parts = {"error": "TooManyPixels", "message": "999"}, []
    facts["parts"] = [len(part) for part in parts]
    text = json.dumps(facts).encode()
    if what == b"S":
        parts = parts[:1]
    sys.stdout.buffer.write(struct.pack("<I", len(text)) + text + b"".join(parts))
    sys.stdout.buffer.flush()
    if what == b"S":
        os._exit(0)
"""


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    isolate.close()
    yield
    isolate.close()


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif[0x0112] = 6
    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN)
    command = [sys.executable, str(script), str(tmp_path / "mark"), exif.tobytes().hex()]
    monkeypatch.setattr(isolate, "COMMAND", command)


def error_of(data: bytes) -> tuple[str, str]:
    with pytest.raises(PictureError) as caught:
        decode(data, {0}, max_pixels=100)
    assert caught.value.stage == "decode"
    return caught.value.error, caught.value.message


@pytest.mark.usefixtures("stand_in")
class TestDecoderProcess:
    def test_a_picture_comes_back_and_its_exif_does_not_turn_it_again(self) -> None:
        picture = decode(HEIC + b"-", {0, 256})
        facts = picture.facts
        assert (facts.width, facts.height, facts.format, facts.mime) == (3, 2, "HEIF", "image/heic")
        assert (dict(facts.exif), facts.partial) == ({"make": "Maker"}, False)
        assert set(picture.frames) == {0, 256}
        assert (np.asarray(picture.frames[0]) == (10, 20, 30)).all()
        assert picture.frames[0].size == (3, 2)

    def test_a_crash_is_a_failure_of_this_file_and_the_next_is_decoded(self) -> None:
        assert error_of(HEIC + b"C") == (
            "DecoderCrashed",
            "the HEIF decoder crashed or hung on this file",
        )
        assert decode(HEIC + b"-", {0}).facts.width == 3

    def test_a_crash_left_behind_by_the_file_before_is_not_blamed_on_this_one(self) -> None:
        assert decode(HEIC + b"O", {0}).facts.width == 3

    def test_a_reply_that_breaks_off_is_a_crash(self) -> None:
        assert error_of(HEIC + b"S")[0] == "DecoderCrashed"

    def test_a_decoder_that_hangs_is_ended(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(isolate, "SECONDS", 0.3)
        assert error_of(HEIC + b"H")[0] == "DecoderCrashed"

    def test_an_error_of_the_decoder_is_told(self) -> None:
        assert error_of(HEIC + b"E") == ("ValueError", "bad file")

    def test_the_pixel_limit_is_told_as_for_other_formats(self) -> None:
        assert error_of(HEIC + b"B") == (
            "TooManyPixels",
            "999 pixels; the limit is 100 pixels, and --max-megapixels raises it",
        )

    def test_one_process_serves_many_files(self, monkeypatch: pytest.MonkeyPatch) -> None:
        started = []
        real = isolate._Worker

        def count() -> isolate._Worker:
            started.append(1)
            return real()

        monkeypatch.setattr(isolate, "_Worker", count)
        for _ in range(4):
            decode(HEIC + b"-", {0})
        assert len(started) == 1

    def test_threads_do_not_mix_their_pictures(self) -> None:
        with ThreadPoolExecutor(3) as threads:
            found = list(threads.map(lambda end: outcome(HEIC + end), [b"-", b"E", b"-", b"B"] * 4))
        assert found == ["HEIF", "ValueError", "HEIF", "TooManyPixels"] * 4


def outcome(data: bytes) -> str:
    try:
        return decode(data, {0}).facts.format
    except PictureError as error:
        return error.error


def test_the_real_decoder_answers_more_than_once_and_refuses_what_is_no_heif() -> None:
    for _ in range(2):
        error, message = error_of(HEIC + bytes(200))
        assert error != "DecoderCrashed"
        assert message


def test_a_decoder_that_cannot_be_started_is_a_failure_that_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(isolate, "COMMAND", ["/does/not/exist"])
    assert error_of(HEIC) == (
        "FileNotFoundError",
        "the HEIF decoder did not start: No such file or directory",
    )


def test_the_server_ends_with_its_input() -> None:
    target = io.BytesIO()
    heif_worker.serve(io.BytesIO(struct.pack("<QQ", 4, 1) + b"none"), target)
    reply = target.getvalue()
    assert struct.unpack("<I", reply[:4])[0] == len(reply) - 4
    assert b'"error"' in reply


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (HEIC, True),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", True),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", False),
        (b"\0\0\0\x18ftypavif\0\0\0\0mif1avif", False),
        (b"\0\0\0\x18ftypisom\0\0\0\0mp42isom", False),
        (b"\xff\xd8\xff", False),
        (b"", False),
    ],
)
def test_heif_is_told_from_what_shares_its_container(head: bytes, expected: bool) -> None:
    assert isolate.is_heif(head) is expected
