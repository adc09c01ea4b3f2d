"""Pictures are decoded in other processes, whose end is a failure of one file.

A stand-in for the decoder process plays crashes and hangs, which no harmless file brings about; the real one is asked
for real pictures.
"""

from __future__ import annotations

import io
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from image_similarity.pictures import isolate, worker
from image_similarity.pictures.decode import decode, decode_here
from image_similarity.pictures.picture_error import PictureError
from image_similarity.pictures.pixels import prepare
from image_similarity.pictures.prepared import decode_for
from image_similarity.pictures.room import Room
from image_similarity.values import Preprocess
from tests.conftest import draw_picture

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"

# What the last byte of the file says, the stand-in does.
STAND_IN = """
import json, os, signal, struct, sys, time
def send(message, parts=()):
    text = json.dumps({**message, "parts": [len(part) for part in parts]}).encode()
    sys.stdout.buffer.write(struct.pack("<I", len(text)) + text)
    return parts
while len(head := sys.stdin.buffer.read(4)) == 4:
    request = json.loads(sys.stdin.buffer.read(*struct.unpack("<I", head)))
    what = sys.stdin.buffer.read(request["bytes"])[-1:]
    if what == b"C":
        os._exit(139)
    if what == b"H":
        signal.setitimer(signal.ITIMER_REAL, request["seconds"])
        time.sleep(60)
    if what == b"O" and not os.path.exists(sys.argv[1]):
        open(sys.argv[1], "w").close()
        os._exit(139)
    facts = {"width": 3, "height": 2, "format": "HEIF", "mime": "image/heic", "exif": {"make": "M"}}
    parts = [bytes([10, 20, 30] * 6)]
    if what == b"E":
        send({"error": "ValueError", "message": "bad\\nfile"})
    else:
        send({"facts": facts, "shapes": [[3, 2, request["sides"]]]}, parts)
        sys.stdout.buffer.write(parts[0][:5] if what == b"S" else parts[0])
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
    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN)
    monkeypatch.setattr(isolate, "COMMAND", [sys.executable, str(script), str(tmp_path / "mark")])


def error_of(data: bytes, max_pixels: int = 100) -> tuple[str, str]:
    with pytest.raises(PictureError) as caught:
        decode(data, {0}, max_pixels=max_pixels)
    assert caught.value.stage == "decode"
    return caught.value.error, caught.value.message


@pytest.mark.usefixtures("stand_in")
class TestDecoderProcess:
    def test_a_picture_comes_back_with_its_facts_for_every_side(self) -> None:
        picture = decode(HEIC + b"-", {0, 256})
        facts = picture.facts
        assert (facts.width, facts.height, facts.format, facts.mime) == (3, 2, "HEIF", "image/heic")
        assert (dict(facts.exif), facts.partial) == ({"make": "M"}, False)
        assert set(picture.frames) == {0, 256}
        assert (np.asarray(picture.frames[0]) == (10, 20, 30)).all()

    def test_a_crash_is_a_failure_of_this_file_and_the_next_is_decoded(self) -> None:
        assert error_of(HEIC + b"C") == ("DecoderCrashed", "the decoder crashed on this file")
        assert decode(HEIC + b"-", {0}).facts.width == 3

    def test_a_crash_left_behind_by_the_file_before_is_not_blamed_on_this_one(self) -> None:
        assert decode(HEIC + b"O", {0}).facts.width == 3

    def test_a_reply_that_breaks_off_is_a_crash(self) -> None:
        assert error_of(HEIC + b"S")[0] == "DecoderCrashed"

    @pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="the system has no such clock")
    def test_a_decoder_that_hangs_is_ended_and_not_tried_again(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(isolate, "SECONDS", 0.3)
        assert error_of(HEIC + b"H") == ("DecoderHung", "the decoder took longer than 0.3 seconds")
        assert decode(HEIC + b"-", {0}).facts.width == 3

    def test_an_error_of_the_decoder_is_told_in_one_line(self) -> None:
        assert error_of(HEIC + b"E") == ("ValueError", "bad file")

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
            found = list(threads.map(lambda end: outcome(HEIC + end), [b"-", b"E", b"-"] * 5))
        assert found == ["HEIF", "ValueError", "HEIF"] * 5


def outcome(data: bytes) -> str:
    try:
        return decode(data, {0}).facts.format
    except PictureError as error:
        return error.error


def test_a_decoder_that_cannot_be_started_is_a_failure_that_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(isolate, "COMMAND", ["/does/not/exist"])
    assert error_of(HEIC) == (
        "FileNotFoundError",
        "the decoder did not start: No such file or directory",
    )


def saved(size: tuple[int, int] = (96, 72), **settings: Any) -> bytes:
    target = io.BytesIO()
    draw_picture(1, size).save(target, **settings)
    return target.getvalue()


PREPARED = [Preprocess(32), Preprocess(48, fit="crop", resize=56, decode_scale=0)]


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "JPEG2000", "AVIF"])
def test_another_process_gives_the_very_pixels_and_facts_of_this_one(form: str) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    with_exif = {} if form in ("GIF", "BMP", "JPEG2000") else {"exif": exif}
    data = saved(format=form, **with_exif)
    here = decode_here(data, {0, 40}, max_pixels=10**6, take=lambda pixels: None)
    facts, frames = isolate.frames(data, {0, 40}, max_pixels=10**6)
    assert facts == here.facts
    for side in (0, 40):
        assert frames[side].tobytes() == here.frames[side].tobytes()
    facts, arrays = isolate.prepared(data, PREPARED, max_pixels=10**6)
    assert facts == here.facts
    for each in PREPARED:
        frame = decode_here(data, {each.decode_side}, max_pixels=10**6, take=lambda pixels: None)
        assert np.array_equal(arrays[each], prepare(frame.frames[each.decode_side], each))


def test_the_pixel_limit_is_told_alike_by_both() -> None:
    for form in ("PNG", "TIFF"):
        assert error_of(saved(format=form)) == (
            "TooManyPixels",
            "6912 pixels; the limit is 100 pixels, and --max-megapixels raises it",
        )


def test_the_real_decoder_refuses_what_is_no_heif_and_goes_on() -> None:
    for _ in range(2):
        error, message = error_of(HEIC + bytes(200))
        assert error != "DecoderCrashed"
        assert message
    assert len(isolate._idle) == 1


def test_ordinary_pictures_start_no_process_and_careful_decoding_does() -> None:
    data = saved(format="JPEG")
    plain = decode_for(data, PREPARED, max_pixels=10**6)
    assert isolate._idle == []
    careful = decode_for(data, PREPARED, max_pixels=10**6, careful=True)
    assert len(isolate._idle) == 1
    assert plain[0] == careful[0]
    assert all(np.array_equal(plain[1][each], careful[1][each]) for each in PREPARED)


def test_a_profile_is_used_here_only_after_another_process_has_used_it() -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    data = saved(format="JPEG", icc_profile=profile + b"one of its own")
    first = decode(data, {0})
    assert len(isolate._idle) == 1
    isolate.close()
    assert decode(data, {0}).frames[0].tobytes() == first.frames[0].tobytes()
    assert isolate._idle == []


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system tells no sizes")
def test_a_decoder_that_asks_for_too_much_memory_is_refused_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = """
import sys; sys.path.append(sys.argv[1])
from image_similarity.pictures import worker
def greedy(data, sides, *, max_pixels, take):
    bytearray(8 * 1024**3)
worker.decode_here = greedy
worker.main()
"""
    monkeypatch.setattr(isolate, "COMMAND", [*isolate.COMMAND[:3], script, isolate.COMMAND[4]])
    assert error_of(HEIC) == ("MemoryError", "not enough memory to decode the picture")


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="the system has no such clock")
def test_the_clock_of_a_decoder_works_whatever_it_inherits_and_a_crash_leaves_no_core_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = """
import signal, sys; signal.signal(signal.SIGALRM, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
import resource, time; sys.path.append(sys.argv[1]); from image_similarity.pictures import worker
def hold(*given, **named):
    if resource.getrlimit(resource.RLIMIT_CORE) != (0, 0):
        raise ValueError("core files")
    time.sleep(60)
worker.decode_here = hold
worker.main()
"""
    monkeypatch.setattr(isolate, "COMMAND", [*isolate.COMMAND[:3], script, isolate.COMMAND[4]])
    monkeypatch.setattr(isolate, "SECONDS", 0.3)
    assert error_of(HEIC)[0] == "DecoderHung"


def test_a_decoder_whose_parent_was_killed_ends_within_its_time() -> None:
    script = """
from image_similarity.pictures import isolate
isolate.COMMAND[3] = (
    "import sys; sys.path.append(sys.argv[1])\\n"
    "import time; from image_similarity.pictures import worker\\n"
    "worker.decode_here = lambda *a, **k: time.sleep(60)\\nworker.main()"
)
worker = isolate._Worker()
print(worker._process.pid, flush=True)
worker.ask(b"x", {"max_pixels": 9, "seconds": 1.0, "sides": [0]}, None)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        time.sleep(0.5)
        parent.kill()
    end = time.monotonic() + 20
    while is_running(child) and time.monotonic() < end:
        time.sleep(0.05)
    assert not is_running(child)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_the_server_ends_with_its_input() -> None:
    target = io.BytesIO()
    request = json.dumps({"bytes": 4, "max_pixels": 9, "seconds": 9, "sides": [0]}).encode()
    memory = worker.Memory.limit
    worker.Memory.limit = lambda self, more: None  # type: ignore[method-assign]
    try:
        worker.serve(io.BytesIO(struct.pack("<I", len(request)) + request + b"none"), target)
    finally:
        worker.Memory.limit = memory  # type: ignore[method-assign]
    reply = target.getvalue()
    assert struct.unpack("<I", reply[:4])[0] == len(reply) - 4
    assert b'"error"' in reply


class TestRoom:
    def test_pictures_that_do_not_fit_together_are_decoded_one_after_the_other(self) -> None:
        room, most, now = Room(100), [0], [0]
        lock = threading.Lock()

        def decode_one(pixels: int) -> None:
            with room.lease() as take:
                take(pixels)
                with lock:
                    now[0] += pixels
                    most[0] = max(most[0], now[0])
                time.sleep(0.005)
                with lock:
                    now[0] -= pixels

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(decode_one, [60, 30, 20, 90, 10, 100, 5, 50] * 3))
        assert 60 < most[0] <= 100

    def test_a_picture_larger_than_the_room_waits_until_it_is_empty_and_then_has_it(self) -> None:
        room, order = Room(100), []
        inside = threading.Event()

        def large() -> None:
            with room.lease() as take:
                inside.set()
                take(500)
                order.append("large")

        with room.lease() as take:
            take(1)
            thread = threading.Thread(target=large)
            thread.start()
            inside.wait(5)
            time.sleep(0.05)
            order.append("small")
        thread.join(5)
        assert order == ["small", "large"]

    def test_who_holds_some_does_not_wait_for_more(self) -> None:
        room = Room(100)
        with room.lease() as one, room.lease() as other:
            one(60)
            other(40)
            one(60)
            other(60)

    def test_room_is_given_back_by_one_whose_decoding_failed(self) -> None:
        room = Room(100)
        for _ in range(3):
            with pytest.raises(ValueError, match="bad"), room.lease() as take:
                take(100)
                raise ValueError("bad")
