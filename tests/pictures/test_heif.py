"""HEIF is told from what shares its container."""

from __future__ import annotations

import pytest

from image_similarity.pictures.heif import is_heif

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


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
    assert is_heif(head) is expected
