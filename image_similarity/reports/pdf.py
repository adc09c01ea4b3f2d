"""PDF, page by page: each is one picture, with its text behind it to be searched and copied.

After PDF 1.7 (ISO 32000-1), 7.5 for the structure of the file, 9.3.6 for text that is not painted and 14.9.4 for the
text that stands for it. Pillow's own writer holds all pages in memory, and writes the time into the file.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterable
from typing import BinaryIO

from PIL import Image

# A4 upright, in points.
WIDTH, HEIGHT = 595.276, 841.89
# With colours at full size no ring shows around letters at this quality.
_QUALITY = 85
_CATALOG, _TREE, _FONT, _INFO = 1, 2, 3, 4

# From the left and the top, in pixels of the page's picture, size, and what stands there.
Text = tuple[int, int, int, str]


class Document:
    """A PDF that is written as its pages come; of a page only its number is kept.

    The same pages give the same bytes.
    """

    def __init__(self, stream: BinaryIO, mark: str) -> None:
        """Begin a document; `mark`, ASCII, stands in its first bytes and names its producer."""
        self._stream, self._mark = stream, mark
        self._offsets: dict[int, int] = {}
        self._pages: list[int] = []
        self._next = _INFO + 1
        # The bytes above 127 tell programs that move files that this is not text.
        self._at = 0
        self._write(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n%" + mark.encode("ascii") + b"\n")

    def add(self, image: Image.Image, texts: Iterable[Text]) -> None:
        """Add a page of A4 that shows an RGB image as large as fits, from its top, with its texts."""
        target = io.BytesIO()
        image.save(target, "JPEG", quality=_QUALITY, subsampling=0)
        scale = min(WIDTH / image.width, HEIGHT / image.height)
        left = (WIDTH - image.width * scale) / 2
        across, down = image.width * scale, image.height * scale
        bottom = max(0.0, HEIGHT - down)
        shown = [f"q {across:.3f} 0 0 {down:.3f} {left:.3f} {bottom:.3f} cm /P Do Q"]
        for x, y, size, text in texts:
            if text:
                # Text stands on its line, most of which is above it.
                place = (left + x * scale, HEIGHT - (y + size) * scale)
                shown.append(_unpainted(text, size * scale, *place))
        picture, content, page = self._take(), self._take(), self._take()
        self._object(
            picture,
            f"/Type /XObject /Subtype /Image /Width {image.width} /Height {image.height} "
            "/ColorSpace /DeviceRGB /BitsPerComponent 8 /Filter /DCTDecode",
            target.getvalue(),
        )
        packed = zlib.compress("\n".join(shown).encode("ascii"))
        self._object(content, "/Filter /FlateDecode", packed)
        self._object(
            page,
            f"/Type /Page /Parent {_TREE} 0 R /MediaBox [0 0 {WIDTH} {HEIGHT}] /Contents {content} 0 R "
            f"/Resources << /XObject << /P {picture} 0 R >> /Font << /F {_FONT} 0 R >> >>",
        )
        self._pages.append(page)

    def close(self) -> None:
        """Write what belongs to the end; nothing can be added any more. The stream stays open."""
        kids = " ".join(f"{page} 0 R" for page in self._pages)
        self._object(_TREE, f"/Type /Pages /Count {len(self._pages)} /Kids [{kids}]")
        self._object(_CATALOG, f"/Type /Catalog /Pages {_TREE} 0 R")
        self._object(
            _FONT, "/Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding"
        )
        self._object(_INFO, f"/Producer {_utf16(self._mark)}")
        start = self._at
        rows = [f"{self._offsets[number]:010d} 00000 n \n" for number in range(1, self._next)]
        self._write(f"xref\n0 {self._next}\n0000000000 65535 f \n{''.join(rows)}".encode("ascii"))
        self._write(
            f"trailer\n<< /Size {self._next} /Root {_CATALOG} 0 R /Info {_INFO} 0 R >>\n"
            f"startxref\n{start}\n%%EOF\n".encode("ascii")
        )

    def _take(self) -> int:
        self._next += 1
        return self._next - 1

    def _object(self, number: int, entries: str, data: bytes | None = None) -> None:
        self._offsets[number] = self._at
        if data is None:
            self._write(f"{number} 0 obj\n<< {entries} >>\nendobj\n".encode("ascii"))
            return
        head = f"{number} 0 obj\n<< {entries} /Length {len(data)} >>\nstream\n"
        self._write(head.encode("ascii") + data + b"\nendstream\nendobj\n")

    def _write(self, data: bytes) -> None:
        self._stream.write(data)
        self._at += len(data)


def _unpainted(text: str, size: float, left: float, bottom: float) -> str:
    """Text that is not painted (mode 3): what Helvetica can say of it, and for who copies it all of it."""
    letters = text.encode("cp1252", "replace").hex()
    return (
        f"/Span << /ActualText {_utf16(text)} >> BDC BT 3 Tr /F {size:.2f} Tf "
        f"1 0 0 1 {left:.2f} {bottom:.2f} Tm <{letters}> Tj ET EMC"
    )


def _utf16(text: str) -> str:
    """A text string of PDF in hexadecimal digits, in which no character of it can end the string."""
    return "<" + ("\ufeff" + text).encode("utf-16-be", "backslashreplace").hex() + ">"
