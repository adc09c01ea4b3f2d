"""A process of its own that decodes HEIF: run as a script by `isolate`, which sends files and gets pixels back.

It imports nothing of this package, so that it starts fast and finds no module of the same name beside it.

A request is two numbers of 8 bytes, little-endian, the size of the file and the pixel limit, and then the file. A
reply is the size (4 bytes) of a JSON object, that object, and the parts whose sizes stand in its `parts`: EXIF, ICC
profile, pixels. An error is an object with `error` and `message` and without parts. The end of the input is the end.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
from typing import Any, BinaryIO


def main() -> None:
    """Answer requests until the input ends."""
    # Ctrl-C is for the parent, which finishes what it has begun.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What a C library prints must not get between the replies.
    target = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(sys.stdin.buffer, target)


def serve(source: BinaryIO, target: BinaryIO) -> None:
    """Answer one request after the other."""
    while len(head := source.read(16)) == 16:
        size, max_pixels = struct.unpack("<QQ", head)
        facts, parts = answer(source.read(size), max_pixels)
        facts["parts"] = [len(part) for part in parts]
        text = json.dumps(facts).encode()
        target.write(struct.pack("<I", len(text)) + text)
        target.writelines(parts)
        target.flush()


def answer(data: bytes, max_pixels: int) -> tuple[dict[str, Any], list[bytes]]:
    """Return what is known of the primary picture with its EXIF, ICC profile and pixels, or the error."""
    try:
        import pi_heif

        # Libheif turns and mirrors the picture as the file says.
        found = pi_heif.open_heif(data, convert_hdr_to_8bit=True)
        image = found[found.primary_index]
        if image.size[0] * image.size[1] > max_pixels:
            return {"error": "TooManyPixels", "message": str(image.size[0] * image.size[1])}, []
        pixels = bytes(image.data)
        facts = {"mode": image.mode, "stride": image.stride, "mime": found.mimetype}
        # Only now is the size that of the pixels.
        facts |= {"width": image.size[0], "height": image.size[1]}
        return facts, [image.info.get("exif") or b"", image.info.get("icc_profile") or b"", pixels]
    except Exception as error:
        return {"error": type(error).__name__, "message": str(error)}, []


if __name__ == "__main__":
    main()
