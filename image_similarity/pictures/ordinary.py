"""Whether a picture's file is so ordinary that it is decoded in this process: a plain JPEG or PNG, as nearly all are.

Asking another process takes as long as a tenth of decoding a small photograph. The decoders of JPEG and PNG are those
that are tried hardest and used most, so files of these two kinds are decoded here if their structure, which is walked
without decoding anything, leaves nothing that is known to take long or much: thousands of segments, scans or chunks,
EXIF of megabytes, animation. A colour profile is used here only after a picture that carries it was decoded in another
process.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

# Larger files take long by their size alone, and then the time of another process does not matter.
_LARGEST = 64 * 1024**2
_LARGEST_EXIF = 64 * 1024
# Photographs have about 20 segments and, if progressive, about 10 scans; PNG has some thousand pieces of pixels.
_SEGMENTS, _SCANS = 200, 64
_CHUNKS, _OTHER_CHUNKS, _TEXTS = 20_000, 200, 16
_PNG = b"\x89PNG\r\n\x1a\n"
_TEXT_CHUNKS = (b"zTXt", b"iTXt", b"tEXt")
# Cameras and programs have some hundred; more are made on purpose.
_MOST_PROFILES = 4096


@dataclass(frozen=True, slots=True)
class Look:
    """What the structure of a file shows; `profile` is a digest of its colour profile, empty without one."""

    plain: bool
    profile: bytes = b""


_ODD = Look(False)
_proven: set[bytes] = set()
_lock = threading.Lock()
_distrusting = 0


@contextmanager
def trusting_none() -> Iterator[None]:
    """Take no picture for ordinary until the block ends, in any thread: for a server, which no picture may end."""
    global _distrusting
    with _lock:
        _distrusting += 1
    try:
        yield
    finally:
        with _lock:
            _distrusting -= 1


def look(data: bytes) -> Look:
    """Walk the structure of a file; whatever is not a plain JPEG or PNG is not plain."""
    if _distrusting or len(data) > _LARGEST:
        return _ODD
    if data[:3] == b"\xff\xd8\xff":
        return _jpeg(data)
    if data[:8] == _PNG:
        return _png(data)
    return _ODD


def is_proven(profile: bytes) -> bool:
    """Whether a picture may be decoded here as far as its profile goes."""
    return not profile or profile in _proven


def prove(profile: bytes) -> None:
    """Remember that a picture with this profile was decoded without harm."""
    with _lock:
        if len(_proven) < _MOST_PROFILES:
            _proven.add(profile)


def _jpeg(data: bytes) -> Look:
    position, components, progressive, exif = 2, -1, False, 0
    profile = hashlib.blake2b(digest_size=16)
    profiled = False
    for _ in range(_SEGMENTS):
        head = data[position : position + 4]
        if len(head) < 4 or head[0] != 0xFF:
            return _ODD
        marker, size = head[1], head[2] << 8 | head[3]
        if marker == 0xDA:
            scan = data[position + 4 : position + 5]
            # Scans of parts of the components are all read, however many there are.
            if progressive and data.count(b"\xff\xda", position) > _SCANS:
                return _ODD
            whole = progressive or (bool(scan) and scan[0] == components)
            return Look(whole, profile.digest() if profiled else b"")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if marker > 0xC2 or components >= 0:
                return _ODD
            progressive = marker == 0xC2
            components = int.from_bytes(data[position + 9 : position + 10])
        elif marker == 0xE1 and data[position + 4 : position + 8] == b"Exif":
            exif += size
            if exif > _LARGEST_EXIF:
                return _ODD
        elif marker == 0xE2 and data[position + 4 : position + 15] == b"ICC_PROFILE":
            profiled = True
            profile.update(data[position + 4 : position + 2 + size])
        position += 2 + size
    return _ODD


def _png(data: bytes) -> Look:
    position, others, texts, profile = 8, 0, 0, b""
    for _ in range(_CHUNKS):
        size = int.from_bytes(data[position : position + 4], "big")
        name = data[position + 4 : position + 8]
        if name != b"IDAT":
            others += 1
            texts += name in _TEXT_CHUNKS
            if name == b"iCCP":
                if profile:
                    return _ODD
                held = data[position + 8 : position + 8 + size]
                profile = hashlib.blake2b(held, digest_size=16).digest()
            elif name == b"acTL" or (name == b"eXIf" and size > _LARGEST_EXIF):
                return _ODD
            if others > _OTHER_CHUNKS or texts > _TEXTS:
                return _ODD
        position += 12 + size
        if name == b"IEND" or position >= len(data):
            return Look(True, profile)
    return _ODD
