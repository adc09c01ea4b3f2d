"""A PDF that other programs can read: its objects stand where its table says, its text can be copied."""

from __future__ import annotations

import io
import re
import zlib

from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PdfParser import PdfParser

from image_similarity.reports.pdf import Document, Text


def made(*pages: list[Text], size: tuple[int, int] = (60, 80)) -> bytes:
    stream = io.BytesIO()
    document = Document(stream, "the mark")
    for texts in pages:
        document.add(Image.new("RGB", size, (200, 10, 10)), texts)
    document.close()
    return stream.getvalue()


def contents(data: bytes) -> list[bytes]:
    found = re.finditer(rb"/FlateDecode /Length (\d+) >>\nstream\n", data)
    return [zlib.decompress(data[each.end() : each.end() + int(each[1])]) for each in found]


def copied(data: bytes) -> list[str]:
    """What a reader copies: the texts that stand for what is behind the pictures."""
    return [
        bytes.fromhex(text.decode()).decode("utf-16")
        for page in contents(data)
        for text in re.findall(rb"/ActualText <([0-9a-f]+)>", page)
    ]


def test_every_object_stands_where_the_table_says() -> None:
    data = made([], [], [])
    start = int(data.split(b"startxref\n")[1].split()[0])
    rows = data[start:].split(b"\n")[2:]
    for number, row in enumerate(rows[1 : 4 + 3 * 3 + 1], start=1):
        at = int(row[:10])
        assert data[at:].startswith(b"%d 0 obj\n" % number)
        assert len(row) + 1 == 20


def test_another_reader_finds_the_pages_and_their_pictures() -> None:
    data = made([], [], [])
    parser = PdfParser(buf=data, mode="rb")
    assert len(parser.pages) == 3
    assert len(re.findall(rb"/Type /Page\b", data)) == 3
    for found in re.finditer(rb"/DCTDecode /Length (\d+) >>\nstream\n", data):
        picture = data[found.end() : found.end() + int(found[1])]
        with Image.open(io.BytesIO(picture)) as image:
            assert image.size == (60, 80)
    assert len(re.findall(rb"/MediaBox \[0 0 595\.276 841\.89\]", data)) == 3


def test_a_page_is_as_large_as_fits_on_a4() -> None:
    (wide,) = contents(made([], size=(200, 100)))
    assert wide.startswith(b"q 595.276 0 0 297.638 0.000 544.252 cm")
    (tall,) = contents(made([], size=(100, 400)))
    assert tall.startswith(b"q 210.473 0 0 841.890 192.402 0.000 cm")


def test_the_same_pages_give_the_same_bytes_without_a_time() -> None:
    once = made([(1, 2, 12, "text")])
    assert once == made([(1, 2, 12, "text")])
    assert b"CreationDate" not in once
    assert once.index(b"the mark") < 100


def test_text_of_any_script_can_be_copied() -> None:
    texts = ["Küche", "日本語", "Кухня", ") Tj ET (", "<script>"]
    assert copied(made([(0, 0, 12, text) for text in texts])) == texts


@given(st.text(alphabet=st.characters(codec=None), max_size=50))
def test_no_text_can_end_its_string(text: str) -> None:
    data = made([(3, 4, 12, text)])
    (page,) = contents(data)
    assert page.count(b"\n") == (1 if text else 0)
    if text and not re.search("[\ud800-\udfff]", text):
        assert copied(data) == [text]
    assert re.fullmatch(rb"[ -~\n]*", page)
