"""Pictures are decoded in processes of their own: a hostile file can end or hold such a process, never the run.

Decoders are foreign code over hostile bytes. Where one crashes, writes beyond its memory or never returns, no `except`
holds that. The processes are kept and used again; one that ended, or was ended because its time was over, is replaced.
What goes to them and comes back is in `worker.py`.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from image_similarity.pictures.picture_error import PictureError
from image_similarity.pictures.room import MAX_PIXELS, ROOM, Take
from image_similarity.values import PictureFacts, Preprocess

if TYPE_CHECKING:
    from PIL import Image

# -P and a path handed over: neither the folder of a script nor the current one may be searched for modules.
COMMAND = [
    sys.executable,
    "-P",
    "-c",
    "import sys; sys.path.append(sys.argv[1]); from image_similarity.pictures import worker; worker.main()",
    str(Path(__file__).resolve().parents[2]),
]
# A picture of the greatest size allowed takes some ten seconds, on a busy machine a minute; longer is a hang.
SECONDS = 120.0
# Most files then pass a pipe in one piece.
_PIPE_BYTES = 1024**2
# A file is at fault that ends two processes, the second of them fresh.
_TRIES = 2
# Between the end of a process's output and its own.
_SECONDS_TO_END = 5.0

_idle: list[_Worker] = []
_lock = threading.Lock()


def frames(
    data: bytes, sides: Collection[int], *, max_pixels: int
) -> tuple[PictureFacts, dict[int, Image.Image]]:
    """Give the facts of a picture and its upright RGB frame for each side; see `decode.decode`.

    Raises:
        PictureError: stage "decode", also if the decoder crashed or hung.
    """
    from PIL import Image

    reply, parts = _ask(data, {"sides": sorted(set(sides))}, max_pixels)
    images: dict[int, Image.Image] = {}
    for (width, height, of_sides), part in zip(reply["shapes"], parts, strict=True):
        image = Image.frombytes("RGB", (width, height), bytes(part))
        images.update(dict.fromkeys(of_sides, image))
    return PictureFacts(**reply["facts"]), images


def prepared(
    data: bytes, preprocessings: Collection[Preprocess], *, max_pixels: int
) -> tuple[PictureFacts, dict[Preprocess, npt.NDArray[np.uint8]]]:
    """Give the facts of a picture, and for each preprocessing its uint8 pixels (size, size, 3).

    Raises:
        PictureError: stage "decode", also if the decoder crashed or hung.
    """
    wanted = list(preprocessings)
    reply, parts = _ask(data, {"prepare": [asdict(each) for each in wanted]}, max_pixels)
    arrays = [
        np.frombuffer(part, np.uint8).reshape(shape)
        for shape, part in zip(reply["shapes"], parts, strict=True)
    ]
    return PictureFacts(**reply["facts"]), dict(zip(wanted, arrays, strict=True))


def _ask(
    data: bytes, request: Mapping[str, Any], max_pixels: int
) -> tuple[dict[str, Any], list[bytearray]]:
    """One request, tried again in a fresh process: a crash may be the late effect of the file before."""
    # Whoever allows larger pictures allows more time.
    seconds = SECONDS * max(1.0, max_pixels / MAX_PIXELS)
    request = {**request, "max_pixels": max_pixels, "seconds": seconds}
    with _lock:
        worker = _idle.pop() if _idle else None
    for _ in range(_TRIES):
        try:
            worker = worker or _Worker()
        except OSError as error:
            message = f"the decoder did not start: {error.strerror}"
            raise PictureError("decode", type(error).__name__, message) from error
        with ROOM.lease() as take:
            answer = worker.ask(data, request, take)
        if answer is not None:
            with _lock:
                _idle.append(worker)
            if "error" in answer[0]:
                raise PictureError("decode", answer[0]["error"], answer[0]["message"])
            return answer
        code = worker.exit_code()
        worker.close()
        if code == -getattr(signal, "SIGALRM", 0):
            message = f"the decoder took longer than {seconds:g} seconds"
            raise PictureError("decode", "DecoderHung", message)
        worker = None
    raise PictureError("decode", "DecoderCrashed", "the decoder crashed on this file")


class _Worker:
    """One process that decodes."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # Threads that only wait, and a heap for each of them, would take the address space that is limited.
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"},
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        self._parent = os.getpid()
        self._widen()

    def _widen(self) -> None:
        with suppress(ImportError, AttributeError, OSError):
            import fcntl

            for pipe in (self._process.stdin, self._process.stdout):
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)  # type: ignore[arg-type]

    def ask(
        self, data: bytes, request: Mapping[str, Any], take: Take
    ) -> tuple[dict[str, Any], list[bytearray]] | None:
        """The reply and its parts, or None if the process ended."""
        # A buffered reader, whose `readinto` the type of Popen does not tell.
        source: Any = self._process.stdout
        target = self._process.stdin
        if source is None or target is None:
            return None
        try:
            text = json.dumps({**request, "bytes": len(data)}).encode()
            target.write(struct.pack("<I", len(text)) + text)
            target.write(data)
            target.flush()
            while True:
                (size,) = struct.unpack("<I", source.read(4))
                reply = json.loads(source.read(size))
                if "pixels" not in reply:
                    break
                take(reply["pixels"])
                target.write(b"+")
                target.flush()
            parts = [bytearray(size) for size in reply["parts"]]
            # A buffered reader fills the whole of it, or ends short where the process did.
            whole = all(source.readinto(part) == len(part) for part in parts)
        except (OSError, ValueError, struct.error):
            return None
        return (reply, parts) if whole else None

    def exit_code(self) -> int | None:
        """How the process ended, whose output ended; negative for a signal, None if it lives on."""
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(_SECONDS_TO_END)
        return None

    def close(self) -> None:
        """End the process, whatever it is doing."""
        # After a fork the process belongs to the parent.
        if os.getpid() != self._parent:
            return
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        self._process.wait()


@atexit.register
def close() -> None:
    """End the processes that wait for work."""
    with _lock:
        workers = _idle[:]
        _idle.clear()
    for worker in workers:
        worker.close()


if hasattr(os, "register_at_fork"):
    # Two processes must not talk to one worker.
    os.register_at_fork(after_in_child=_idle.clear)
