"""What a file seems to be, by its first bytes and then by its name: what is tried as a picture and what is left out.

Content comes first, so a picture under a false name is found. Where the content says nothing, a name that promises a
picture is believed: decoding then fails and the failure is recorded, so that no such file is passed over in silence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from image_similarity.pictures import signatures

KindName = Literal["picture", "document", "video", "archive", "audio", "other", "empty"]

# How much of a file `sniff` wants to see.
HEAD_BYTES = 4096

_UNKNOWN = "application/octet-stream"
# Files that operating systems lay beside pictures. They are left out by name only after their content was seen not to
# be a picture: a photograph hidden under such a name is taken.
_SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", ".ds_store", "desktop.ini"})
_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Kind:
    """What a file seems to be, and the rule that says so."""

    kind: KindName
    mime: str
    rule: str


def sniff(head: bytes, name: str) -> Kind:
    """Return the kind of a file from its first 4096 bytes (fewer if it is shorter) and its name."""
    extension = PurePosixPath(name).suffix.lower()
    found = _by_content(head, extension)
    if found is not None and found.kind == "picture":
        return found
    if name.lower() in _SYSTEM_FILES:
        return Kind("other", found.mime if found else _UNKNOWN, "system file")
    if found is not None:
        return found
    if extension in signatures.picture_extensions():
        if not head:
            return Kind("picture", _UNKNOWN, "name: a picture's")
        return Kind("picture", _UNKNOWN, "name: a picture's, content unknown")
    if not head:
        return Kind("empty", "inode/x-empty", "empty file")
    if _is_text(head):
        return Kind("document", "text/plain", "content: text")
    return Kind("other", _UNKNOWN, "content unknown")


def _by_content(head: bytes, extension: str) -> Kind | None:
    """The kind that the first bytes prove, if any."""
    if head[4:8] == b"ftyp":
        return _iso_media(head, extension)
    if head[:4] == b"PK\x03\x04":
        return _zip(head, extension)
    for signature in signatures.SIGNATURES:
        if signature.matches(head):
            kind = Kind(signature.kind, signature.mime, signature.rule)
            return _by_extension(kind, extension)
    return _markup(head)


def _by_extension(kind: Kind, extension: str) -> Kind:
    """Containers that hold sound or moving pictures alike: their usual names tell which."""
    if kind.mime == "video/x-ms-asf" and extension == ".wma":
        return Kind("audio", "audio/x-ms-wma", kind.rule)
    if kind.mime == "audio/ogg" and extension in {".ogv", ".ogm"}:
        return Kind("video", "video/ogg", kind.rule)
    return kind


def _iso_media(head: bytes, extension: str) -> Kind:
    """The `ftyp` box shared by HEIF, AVIF, camera raw files, films and sound: its brands tell them apart."""
    length = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, length - 3, 4))]
    for brand in brands:
        if brand in signatures.PICTURE_BRANDS:
            mime, label = signatures.PICTURE_BRANDS[brand]
            return Kind("picture", mime, f"content: {label}")
    if brands[0] in signatures.AUDIO_BRANDS:
        return Kind("audio", "audio/mp4", "content: MPEG-4 audio")
    if (
        not brands[0].startswith(signatures.VIDEO_BRANDS)
        and extension in signatures.picture_extensions()
    ):
        return Kind("picture", _UNKNOWN, "name: a picture's, content unknown")
    if brands[0] == b"qt  ":
        return Kind("video", "video/quicktime", "content: QuickTime video")
    return Kind("video", "video/mp4", "content: MPEG-4 video")


def _zip(head: bytes, extension: str) -> Kind:
    """A ZIP archive, or one of the document formats that are ZIP archives inside."""
    if extension in signatures.ZIPPED_DOCUMENTS or any(
        mark in head for mark in signatures.ZIPPED_DOCUMENT_MARKS
    ):
        return Kind("document", "application/zip", "content: office document")
    return Kind("archive", "application/zip", "content: ZIP archive")


def _markup(head: bytes) -> Kind | None:
    """HTML and SVG have no signature at a fixed place, only a first element."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1024].lower()
    if not start.startswith(b"<"):
        return None
    if b"<svg" in start:
        return Kind("document", "image/svg+xml", "content: vector drawing (SVG)")
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return Kind("document", "text/html", "content: HTML")
    if start.startswith(b"<?xml"):
        return Kind("document", "text/xml", "content: XML")
    return None


def _is_text(head: bytes) -> bool:
    """Whether the bytes read as UTF-8 or marked UTF-16 text; a weak proof, used after the name."""
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return True
    if _CONTROLS.search(head):
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        # The head may end within a character.
        return len(head) >= HEAD_BYTES and error.start >= len(head) - 3
    return True
