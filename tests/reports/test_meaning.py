"""What a distance means, in words: the same everywhere, and never a claim of how sure a hit is."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_similarity.reports import html, meaning, searches
from image_similarity.reports.rows import hit_rows
from image_similarity.reports.searches import Entry
from image_similarity.values import AsClose, GeometryCheck, LikelihoodRatio, SearchResult, Share
from tests.reports.samples import (
    CALIBRATION,
    TABLE,
    on_disk,
    sample_about,
    sample_hit,
    sample_result,
)

FAR = AsClose(Share(3, 4485, 0.0002275, 0.0019654), Share(41, 1500, 0.0202, 0.0369))
NEAR = AsClose(Share(0, 1500, 0.0, 0.002), Share(0, 1500, 0.0, 0.002))
FAR_TEXT = (
    "3 of 4,485 unrelated pairs came as close (0.023 to 0.2 %); "
    "41 of 1,500 pairs of one scene (2 to 3.7 %)"
)
NEAR_TEXT = (
    "0 of 1,500 unrelated pairs came as close (up to 0.2 %); "
    "0 of 1,500 pairs of one scene (up to 0.2 %)"
)
RATIO = LikelihoodRatio(1.3, at_bound=False)


def sheet(*results: SearchResult) -> str:
    """The HTML report of results, without the style."""
    found = [searches.from_result(result, on_disk) for result in results]
    entries = [
        Entry(hit.image, (row,))
        for result, search in zip(results, found, strict=True)
        for hit, row in zip(result.hits, search.rows, strict=True)
    ]
    lines = dict.fromkeys(line for search in found for line in search.strength)
    stream = io.StringIO()
    html.write(
        stream, entries, sample_about(strength=tuple(lines)), found, preview=lambda shown: None
    )
    return stream.getvalue()


def explained(**changes: object) -> SearchResult:
    hits = [sample_hit(rank, as_close=NEAR) for rank in (1, 2)]
    hits.append(sample_hit(3, as_close=FAR, ratio=RATIO))
    return sample_result(*hits, distances=TABLE, calibration=CALIBRATION, **changes)


def test_a_reading_says_counts_intervals_and_up_to_where_none_was_seen() -> None:
    assert meaning.as_close_text(FAR) == FAR_TEXT
    assert meaning.as_close_text(NEAR) == NEAR_TEXT


def test_hits_that_mean_the_same_share_a_line() -> None:
    assert meaning.hit_lines(explained()) == [
        f"hits 1-2: {NEAR_TEXT}",
        f"hit 3: {FAR_TEXT}; LR about 20",
    ]


def test_hits_without_meaning_get_no_line_and_no_legend() -> None:
    result = sample_result(sample_hit(1))
    assert meaning.hit_lines(result) == []
    assert meaning.legend(result) == []


@pytest.mark.parametrize(
    ("log10", "at_bound", "text"),
    [
        (0.0, False, "LR about 1"),
        (0.004, False, "LR about 1"),
        (-0.004, False, "LR about 1"),
        (0.5, False, "LR about 3.2"),
        (-0.5, False, "LR about 1/3.2"),
        (1.301, False, "LR about 20"),
        (-2.09, False, "LR about 1/120"),
        (3.5, False, "LR about 3,200"),
        (2.3263, True, "LR 212, the bound: the calibration supports none more extreme"),
        (-2.3263, True, "LR 1/212, the bound: the calibration supports none more extreme"),
    ],
)
def test_a_ratio_is_a_number_or_a_fraction(log10: float, at_bound: bool, text: str) -> None:
    assert meaning.ratio_text(LikelihoodRatio(log10, at_bound)) == text


def test_the_legend_names_reference_both_propositions_bounds_and_cost() -> None:
    reference, ratio = meaning.legend(explained())
    assert reference.startswith(
        "reference pairs of builtin: 1,500 unrelated ones, 1,500 of one scene; 3,000 held-out pictures. "
    )
    assert CALIBRATION.same in ratio
    assert CALIBRATION.different in ratio
    assert "212 groups of 480 pictures" in ratio
    assert "kept between 1/212 and 212" in ratio
    assert "C_llr 0.40 (0.35 to 0.45; 0 is perfect, 1 useless)" in ratio


def test_no_words_claim_how_sure_a_hit_is() -> None:
    """Not in the lines, and not in the sheet, beyond what belongs to scenes."""
    result = explained()
    for text in (*meaning.legend(result), *meaning.hit_lines(result), sheet(result)):
        for word in ("probab", "confiden", "certain", "identity", "chance", "match", "posterior"):
            assert word not in text.lower()


def test_the_sheet_uses_the_same_words_as_the_table() -> None:
    result = explained()
    text = sheet(result, result)
    assert text.count(NEAR_TEXT) == 4
    assert text.count(FAR_TEXT) == 2
    assert "LR about 20" in text
    for line in meaning.legend(result):
        assert text.count(line) == 1, "once, at the top"
    assert "What a distance means" in text


def test_a_sheet_without_a_table_does_not_speak_of_meaning() -> None:
    assert "What a distance means" not in sheet(sample_result(sample_hit(1)))


def test_other_programs_get_the_numbers() -> None:
    row = list(hit_rows(explained(), lambda place: place.path))[2]
    expected = {
        "unrelated_as_close": 3,
        "unrelated_pairs": 4485,
        "unrelated_interval": [0.0002275, 0.0019654],
        "same_scene_as_close": 41,
        "same_scene_pairs": 1500,
        "same_scene_interval": [0.0202, 0.0369],
        "log10_lr": 1.3,
        "log10_lr_at_bound": False,
        "reference": meaning.table_text(TABLE),
        "calibration": meaning.calibration_text(CALIBRATION),
    }
    assert {key: row[key] for key in expected} == expected


def test_a_table_is_told_in_short() -> None:
    assert meaning.table_text(TABLE) == (
        "1,500 unrelated ones, 1,500 of one scene; 3,000 held-out pictures"
    )


@given(st.integers(0, 10**9), st.integers(1, 10**9), st.floats(0, 1), st.floats(0, 1))
def test_no_share_is_written_in_powers_of_ten(
    count: int, pairs: int, low: float, high: float
) -> None:
    share = Share(count, pairs, round(low, 12), round(high, 12))
    text = meaning.as_close_text(replace(NEAR, unrelated=share))
    assert "e-" not in text.replace("one scene", "")


def test_what_the_scene_filter_hid_is_ranked_by_distance_only_where_hits_are() -> None:
    hidden = "2 of those would have ranked above the last hit"
    checked = "2 of those would have been among the nearest, which were checked"
    by_inliers = sample_result(
        sample_hit(inliers=40, distance_rank=3),
        geometry=GeometryCheck(candidates=200, checked=200, by_inliers=True, features=900),
    )
    assert meaning.nearer_text(sample_result(sample_hit())) == hidden
    assert meaning.nearer_text(by_inliers) == checked
    for result, said in ((sample_result(sample_hit()), hidden), (by_inliers, checked)):
        (search,) = searches.from_rows(list(hit_rows(result, on_disk)))
        assert dict(search.pairs)["Scenes searched"].endswith(f"; {said}")
