"""Part of a picture as a query: encoded anew, said in the answer, and the picture itself is still left out."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from image_similarity.case import Case, search_cases_folder
from image_similarity.errors import InvalidSetting
from image_similarity.pictures.region import Box, Region
from image_similarity.search import SearchRequest
from image_similarity.settings import IndexOptions
from image_similarity.values import Failure, SearchResult
from tests.conftest import draw_picture


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A collage of two pictures, each of the two by itself, and a third; indexed in case.db beside them."""
    base = tmp_path_factory.mktemp("region")
    folder = base / "evidence"
    folder.mkdir()
    left, right = draw_picture(1, (64, 64)), draw_picture(2, (64, 64))
    collage = Image.new("RGB", (128, 64))
    collage.paste(left, (0, 0))
    collage.paste(right, (64, 0))
    for name, picture in {
        "collage": collage, "left": left, "right": right, "other": draw_picture(3, (64, 64)),
    }.items():  # fmt: skip
        picture.save(folder / f"{name}.png")
    with Case.open(base / "case.db") as case:
        options = IndexOptions(models=(str(tiny_model),), scenes=str(tiny_model))
        case.index(folder, options=options)
    return folder


def ask(folder: Path, region: Region | None, name: str = "collage") -> SearchResult:
    with Case.open(folder.parent / "case.db", read_only=True) as case:
        return case.search(folder / f"{name}.png", scene="off", k=10, region=region)


def names(result: SearchResult) -> list[str]:
    return [hit.place.path for hit in result.hits]


@pytest.mark.parametrize(("box", "half"), [((0, 0), "left"), ((64, 0), "right")])
def test_a_cropped_query_finds_what_the_part_shows(
    folder: Path, box: tuple[int, int], half: str
) -> None:
    result = ask(folder, Region(Box(*box, 64, 64)))
    assert names(result)[0] == f"{half}.png"
    assert result.hits[0].distance < 0.01
    assert not result.hits[0].identical, "it looks like the part, but is not the query's content"
    assert result.query_made == f"crop {box[0]},{box[1]},64,64"


def test_the_querys_own_place_is_left_out_although_it_is_encoded_anew(folder: Path) -> None:
    whole, part = ask(folder, None), ask(folder, Region(Box(0, 0, 64, 64)))
    assert whole.stored and not part.stored
    assert sorted(names(whole)) == sorted(names(part)) == ["left.png", "other.png", "right.png"]


def test_the_whole_picture_as_a_region_has_the_distances_of_the_picture(folder: Path) -> None:
    whole = ask(folder, None)
    part = ask(folder, Region(Box(0, 0, 100, 100, percent=True)))
    assert names(whole) == names(part)
    assert [hit.distance for hit in part.hits] == pytest.approx(
        [hit.distance for hit in whole.hits], abs=2e-3
    )


def test_hiding_one_half_of_the_query_moves_it_nearer_to_the_other(folder: Path) -> None:
    hidden = ask(folder, Region(hidden=(Box(64, 0, 64, 64),)))
    ranks = names(hidden)
    whole = {hit.place.path: hit.distance for hit in ask(folder, None).hits}
    now = {hit.place.path: hit.distance for hit in hidden.hits}
    assert now["right.png"] > whole["right.png"]
    assert set(ranks) == {"left.png", "right.png", "other.png"}


def test_part_of_a_stored_content_needs_the_picture_itself(folder: Path) -> None:
    with Case.open(folder.parent / "case.db", read_only=True) as case:
        sha256 = case.images_at(folder / "collage.png")[0].sha256
        with pytest.raises(InvalidSetting, match="by its SHA-256"):
            case.search(sha256=sha256, region=Region(Box(0, 0, 64, 64)))


def test_a_picture_of_a_folder_that_a_box_leaves_is_a_failure_and_the_others_are_answered(
    folder: Path,
) -> None:
    request = SearchRequest(scene=("off",), region=Region(Box(64, 0, 64, 64)))
    with Case.open(folder.parent / "case.db", read_only=True) as case:
        answers = list(search_cases_folder([case], folder, request))
    failures = [each for each in answers if isinstance(each, Failure)]
    assert [each.path for each in failures] == ["left.png", "other.png", "right.png"]
    assert all("leaves the picture" in each.message for each in failures)
    assert len(answers) == 4
