"""The process that decodes for `isolate`: it reads requests from its input and answers on its output until that ends.

Every message is a JSON object behind its size (4 bytes, little-endian), and the bytes that it announces. A request
is `{"bytes": the size of the file, "max_pixels", "seconds", "sides" or "prepare"}` and the file. Before many pixels
are decoded the worker says `{"pixels": how many}` and waits for one byte: the parent may let it wait for room. The
answer is `{"facts", "shapes", "parts"}` and the parts, 8-bit RGB; or `{"error", "message"}`.

The process limits itself: a signal ends it when the time for a file is over, and the system gives it no more memory
than a picture of that many pixels may need.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from image_similarity.pictures.decode import decode_here
from image_similarity.pictures.picture_error import PictureError
from image_similarity.pictures.pixels import prepare
from image_similarity.values import Preprocess

# What decoding may take beside what the process has when it starts: libraries, tables, the parts of a damaged file.
# Some decoders start a thread a core, and each takes a stack.
SPARE_BYTES = 1024**3 + 32 * 1024**2 * (os.cpu_count() or 1)
# A picture of float numbers is scaled in arrays of 8 bytes a pixel, some at once.
BYTES_PER_PIXEL = 48

# Pictures of at most so many pixels need not ask for room, which would take as long as a tenth of decoding them.
SMALL_PIXELS = 4_000_000

Parts = list[bytes]


def main() -> None:
    """Answer requests until the input ends."""
    # Ctrl-C is for the parent, which finishes what it has begun.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _be_mortal()
    # What a C library prints must not get between the replies.
    target = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(sys.stdin.buffer, target)


def serve(source: BinaryIO, target: BinaryIO) -> None:
    """Answer one request after the other."""
    memory = Memory()
    while len(head := source.read(4)) == 4:
        request = json.loads(source.read(*struct.unpack("<I", head)))
        data = source.read(request["bytes"])
        seconds = request["seconds"]

        def take(pixels: int, size: int = len(data), seconds: float = seconds) -> None:
            if pixels <= SMALL_PIXELS:
                return
            _clock(0)
            _send(target, {"pixels": pixels})
            source.read(1)
            memory.limit(4 * size + BYTES_PER_PIXEL * pixels)
            _clock(seconds)

        memory.limit(4 * len(data))
        _clock(seconds)
        reply, parts = answer(data, request, take)
        _clock(0)
        _send(target, reply, parts)


def answer(
    data: bytes, request: dict[str, Any], take: Callable[[int], None]
) -> tuple[dict[str, Any], Parts]:
    """Decode one file as a request asks; give the reply and the parts that go with it."""
    try:
        wanted = [Preprocess(**each) for each in request.get("prepare", ())]
        sides = request.get("sides") or {each.decode_side for each in wanted}
        picture = decode_here(data, sides, max_pixels=request["max_pixels"], take=take)
        if wanted:
            arrays = [prepare(picture.frames[each.decode_side], each) for each in wanted]
            shapes: list[Any] = [array.shape for array in arrays]
            parts = [array.tobytes() for array in arrays]
        else:
            images = list({id(image): image for image in picture.frames.values()}.values())
            shapes = [
                [*image.size, [side for side in sides if picture.frames[side] is image]]
                for image in images
            ]
            parts = [image.tobytes() for image in images]
    except PictureError as error:
        return {"error": error.error, "message": error.message}, []
    except MemoryError:
        return {"error": "MemoryError", "message": "not enough memory to decode the picture"}, []
    return {"facts": asdict(picture.facts), "shapes": shapes}, parts


def _send(target: BinaryIO, message: dict[str, Any], parts: Parts | None = None) -> None:
    parts = parts or []
    text = json.dumps({**message, "parts": [len(part) for part in parts]}).encode()
    target.write(struct.pack("<I", len(text)) + text)
    target.writelines(parts)
    target.flush()


def _be_mortal() -> None:
    """Let the clock end this process whatever was inherited, and let its end leave no core file with pictures in it."""
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    with suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _clock(seconds: float) -> None:
    """End this process by a signal after so many seconds, also within a decoder that never returns; 0 is never."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


class Memory:
    """How much address space the system gives this process; no limit where it knows none (Windows)."""

    def __init__(self) -> None:
        self._own = self._limit = 0
        with suppress(OSError, ValueError):
            pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[0]
            self._own = int(pages) * os.sysconf("SC_PAGE_SIZE")

    def limit(self, more: int) -> None:
        """Allow so many bytes beside what the process had at its start and what a small picture needs."""
        wanted = self._own + SPARE_BYTES + BYTES_PER_PIXEL * SMALL_PIXELS + more
        if not self._own or wanted <= self._limit <= wanted + SPARE_BYTES // 2:
            return
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_AS)
        self._limit = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(resource.RLIMIT_AS, (self._limit, most))


if __name__ == "__main__":
    main()
