"""The picture of an explanation: readable, safe to look at, and safe where it is written."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from image_similarity.explain.draw import (
    MARK,
    _title,
    draw,
    seen,
    write,
)
from image_similarity.explain.pair import Pair
from image_similarity.explain.words import lines, side_lines
from image_similarity.values import (
    AsClose,
    ExplainedPicture,
    Explanation,
    ModelInfo,
    Preprocess,
    SceneScore,
    Share,
)

GREY = np.full((60, 80, 3), 128, dtype=np.uint8)
HOT = tuple(
    tuple(0.1 if (row, column) == (0, 0) else -0.05 for column in range(8)) for row in range(8)
)


def picture(label: str = "a.jpg", heat: tuple[tuple[float, ...], ...] = ()) -> ExplainedPicture:
    scenes = (SceneScore("bedroom", 0.7), SceneScore("kitchen", 0.2))
    return ExplainedPicture(label, "ab" * 32, 80, 60, True, scenes, heat)


def explanation(**changes: object) -> Explanation:
    model = ModelInfo("builtin", "f1" * 32, "tiny", "0" * 64, Preprocess(32), 16)
    found = Explanation(
        query=picture(), hit=picture("b.jpg"), model=model, distance=0.5, similarity=0.875,
        identical=False, pdq_distance=12, pdq_quality=90,
        as_close=AsClose(Share(0, 1500, 0.0, 0.002), Share(3, 1500, 0.0007, 0.0059)),
        reference="3,000 pictures", method="matched points", geometry="homography",
        points=((0.1, 0.2, 0.3, 0.4),) * 200,
    )  # fmt: skip
    return replace(found, **changes)  # type: ignore[arg-type]


def heated() -> Explanation:
    return explanation(
        query=picture(heat=HOT), hit=picture(heat=HOT), method="occlusion", geometry="none", points=()
    )  # fmt: skip


def coloured(drawn: Image.Image) -> np.ndarray:
    """Where a drawing is clearly coloured."""
    pixels = np.asarray(drawn.convert("HSV"))
    return (pixels[..., 1] > 120) & (pixels[..., 2] > 60)


def test_points_are_joined_by_lines_from_one_picture_to_the_other() -> None:
    drawn = draw(Pair(explanation(), GREY, GREY))
    assert drawn.width > 1200
    assert coloured(drawn)[:, 640:641].any(), "a line crosses from the left to the right"
    assert not coloured(draw(Pair(explanation(points=()), GREY, GREY))).any()


def test_where_not_all_points_are_drawn_the_picture_says_how_many() -> None:
    assert _title(explanation()).endswith("matched points, 50 of 200 drawn")
    assert _title(explanation(points=explanation().points[:60])).endswith("matched points")


def test_heat_is_laid_where_it_was_measured() -> None:
    drawn = coloured(draw(Pair(heated(), GREY, GREY)))
    rows, columns = np.nonzero(drawn[:, :640])
    assert len(rows) > 0
    assert rows.max() < 62 + 465 / 4 and columns.max() < 20 + 620 / 4, "the upper left part is hot"


def test_what_a_network_rounds_is_not_drawn_as_heat() -> None:
    faint = tuple(tuple(cell * 1e-6 for cell in row) for row in HOT)
    found = replace(heated(), query=picture(heat=faint), hit=picture(heat=faint))
    assert not coloured(draw(Pair(found, GREY, GREY))).any()


def test_what_is_said_names_the_method_the_figures_and_what_it_is_not() -> None:
    text = "\n".join([*side_lines("query", picture()), *lines(explanation())])
    for words in (
        "query: a.jpg", "SHA-256 abababababab, 80 x 60, already indexed", "bedroom (0.70)",
        "distance 0.5000, similarity 0.8750; model builtin (f1f1f1f1f1f1)",
        "0 of 1,500 unrelated pairs came as close (up to 0.2 %)", "reference pairs: 3,000 pictures",
        "identical content: no; PDQ distance 12 of 256 bits, a near duplicate",
        "scenes that both may show: bedroom (0.70 and 0.70), kitchen (0.20 and 0.20)",
        "matched points; 200 local features", "homography", "A lead for examination, never a finding",
    ):  # fmt: skip
        assert words in text
    assert "occlusion" in "\n".join(lines(heated()))
    assert "by at most +0.100 (query)" in "\n".join(lines(heated()))


@pytest.mark.parametrize(
    ("bits", "quality", "said"),
    [(None, None, "not known"), (40, 90, "not a near duplicate"), (3, 20, "of no weight")],
)
def test_a_pdq_distance_is_said_with_what_it_is_worth(
    bits: int | None, quality: int | None, said: str
) -> None:
    assert said in "\n".join(lines(explanation(pdq_distance=bits, pdq_quality=quality)))


def test_the_file_is_the_owners_alone_and_says_what_it_is(tmp_path: Path) -> None:
    target = tmp_path / "why.png"
    write(Pair(heated(), GREY, GREY), target)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert MARK.encode() in target.read_bytes()[:1024]
    with Image.open(target) as image:
        assert image.format == "PNG"
    once = target.read_bytes()
    write(Pair(heated(), GREY, GREY), target)
    assert target.read_bytes() == once, "the same explanation is the same file"
    assert [path.name for path in tmp_path.iterdir()] == ["why.png"]


@pytest.mark.parametrize(
    "label", ["", "\u202egpj.exe", "日本" * 90, "x" * 5000, "a\nb\x1b[31m", "  ", "é" * 400]
)
def test_any_name_is_drawn_within_its_half(label: str) -> None:
    found = explanation(query=picture(label), hit=picture(label))
    assert draw(Pair(found, GREY, GREY)).width == draw(Pair(explanation(), GREY, GREY)).width


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (1000, 700)])
def test_pictures_of_any_shape_are_drawn(shape: tuple[int, int]) -> None:
    odd = np.zeros((*shape, 3), dtype=np.uint8)
    assert draw(Pair(heated(), odd, GREY)).height > 200
    assert draw(Pair(explanation(), odd, odd)).height > 200


def test_a_model_that_cuts_the_middle_out_sees_only_that() -> None:
    assert seen(400, 200, Preprocess(224)) == (0, 0, 400, 200)
    assert seen(400, 200, Preprocess(224, "crop", 224)) == (100, 0, 300, 200)
    left, top, right, bottom = seen(512, 256, Preprocess(224, "crop", 256))
    assert (left, top, right, bottom) == (144, 16, 368, 240)
