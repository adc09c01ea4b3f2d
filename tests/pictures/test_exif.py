"""What is taken from EXIF, and that nothing in it can do harm."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from image_similarity.pictures.decode import decode
from image_similarity.pictures.exif import read_exif, read_orientation

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")


def exif_of(
    main: dict[int, Any] | None = None,
    detail: dict[int, Any] | None = None,
    gps: dict[int, Any] | None = None,
) -> Image.Exif:
    exif = Image.Exif()
    exif.update(main or {})
    exif.get_ifd(0x8769).update(detail or {})
    exif.get_ifd(0x8825).update(gps or {})
    return exif


def read(exif: Image.Exif | bytes, format_name: str = "JPEG") -> dict[str, Any]:
    block = exif if isinstance(exif, bytes) else exif.tobytes()
    target = io.BytesIO()
    Image.effect_noise((32, 32), 50).convert("RGB").save(target, format_name, exif=block)
    return dict(decode(target.getvalue(), {0}).facts.exif)


def place(latitude: Any, south: str, longitude: Any, west: str, **more: Any) -> dict[int, Any]:
    return {1: south, 2: latitude, 3: west, 4: longitude, **more}


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
def test_time_camera_lens_software_and_place_are_read(format_name: str) -> None:
    gps = place((52.0, 30.0, 36.0), "N", (13.0, 15.0, 0.0), "W")
    gps |= {5: b"\1", 6: 12.5}
    exif = exif_of(
        {0x010F: "Maker", 0x0110: "Model 1", 0x0131: "Editor 2"},
        {0x9003: "2019:05:01 12:30:45", 0x9011: "+02:00", 0xA434: "Lens 3"},
        gps,
    )
    assert read(exif, format_name) == {
        "make": "Maker",
        "model": "Model 1",
        "software": "Editor 2",
        "date_time_original": "2019-05-01T12:30:45+02:00",
        "lens": "Lens 3",
        "latitude": 52.51,
        "longitude": -13.25,
        "altitude": -12.5,
    }


def test_a_picture_without_exif_has_none() -> None:
    assert read_exif(Image.new("RGB", (8, 8))) == {}


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("2019:05:01 12:30:45", "2019-05-01T12:30:45"),
        ("2019-05-01T12:30:45", "2019-05-01T12:30:45"),
        ("1 May 2019", "1 May 2019"),
        ("0000:00:00 00:00:00", None),
        ("    :  :     :  :  ", None),
    ],
)
def test_a_time_is_iso_if_it_can_be_and_else_as_found(written: str, found: str | None) -> None:
    assert read(exif_of(detail={0x9003: written})).get("date_time_original") == found


def test_texts_are_one_printable_line_of_limited_length() -> None:
    found = read(exif_of({0x010F: "Ma\nker\x1b[31m\0rest", 0x0110: "x" * 5000, 0x0131: "  "}))
    assert found == {"make": "Ma ker [31m", "model": "x" * 200}


@pytest.mark.parametrize(
    "gps",
    [
        place((91.0, 0.0, 0.0), "N", (0.0, 0.0, 0.0), "E"),
        place((0.0, 0.0, 0.0), "N", (181.0, 0.0, 0.0), "E"),
        place((IFDRational(1, 0), 0.0, 0.0), "N", (0.0, 0.0, 0.0), "E"),
        {1: "N", 2: (1.0, 2.0, 3.0)},
        {6: IFDRational(0, 0)},
        {1: "N", 2: (1.0, 2.0, 3.0), 3: "E", 4: ()},
    ],
)
def test_a_place_that_makes_no_sense_is_left_out(gps: dict[int, Any]) -> None:
    assert read(exif_of(gps=gps)) == {}


def test_a_table_that_lies_outside_of_the_block_does_not_spoil_the_rest() -> None:
    block = exif_of({0x010F: "Maker"}, {0x9003: "2019:05:01 12:30:45"}).tobytes()
    at = block.index(b"\x87\x69") + 8
    assert read(block[:at] + b"\x7f\xff\xff\xff" + block[at + 4 :]) == {"make": "Maker"}


def test_an_enormous_block_is_not_parsed() -> None:
    image = Image.new("RGB", (8, 8))
    image.info["exif"] = exif_of({0x010F: "Maker", 0x0112: 6}).tobytes() + bytes(5 * 1024**2)
    assert read_exif(image) == {}
    assert read_orientation(image) == 1


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_mutated_exif_raises_nothing_and_stays_valid_json(data: st.DataObject) -> None:
    block = bytearray(
        exif_of(
            {0x010F: "Maker", 0x0112: 6},
            {0x9003: "2019:05:01 12:30:45", 0xA434: "Lens"},
            place((1.0, 2.0, 3.0), "N", (4.0, 5.0, 6.0), "E"),
        ).tobytes()
    )
    for _ in range(data.draw(st.integers(1, 8))):
        block[data.draw(st.integers(6, len(block) - 1))] = data.draw(st.integers(0, 255))
    image = Image.new("RGB", (8, 8))
    image.info["exif"] = bytes(block)
    found = read_exif(image)
    assert read_orientation(image) in range(1, 9)
    assert (
        json.loads(json.dumps(found, allow_nan=False, ensure_ascii=False).encode("utf-8")) == found
    )
    assert -90 <= found.get("latitude", 0) <= 90
    assert -180 <= found.get("longitude", 0) <= 180
