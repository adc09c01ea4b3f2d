"""A contact sheet has its query first, its hits in order, and says what was searched and what it is not."""

from __future__ import annotations

import pytest

from image_similarity.errors import InvalidSetting
from image_similarity.reports import searches
from image_similarity.reports.lettering import font
from image_similarity.reports.sheet_layout import MARGIN, TITLE, Form, Page, Sheet, lay_out
from image_similarity.values import CaseFacts, Hit
from tests.reports.samples import (
    HOSTILE,
    on_disk,
    sample_about,
    sample_coverage,
    sample_hit,
    sample_result,
)


def sheet(*hits: Hit, **changes: object) -> Sheet:
    made = sample_result(*hits, k=len(hits) or 10)
    values: dict[str, object] = {
        "search": searches.from_result(made, on_disk),
        "about": sample_about(),
        "label": "disk-07:rooms/query.jpg",
        "stored": True,
    }
    return Sheet(**{**values, **changes})  # type: ignore[arg-type]


def hits(count: int) -> list[Hit]:
    return [
        sample_hit(rank, f"rooms/{rank}.jpg", distance=rank / 100) for rank in range(1, count + 1)
    ]


def drawn(page: Page) -> list[str]:
    return [line.drawn for line in page.lines]


def test_the_query_stands_first_and_marked_and_the_hits_in_rows_by_rank() -> None:
    (page,) = lay_out(sheet(*hits(7)), Form(columns=3, tile=150))
    assert [frame.picture for frame in page.frames] == list(range(8))
    query, *others = page.frames
    assert (query.left, query.side, query.ink) == (MARGIN, 150, "query")
    places = [(frame.top, frame.left) for frame in others]
    assert places == sorted(places), "from left to right, then down"
    assert len({frame.top for frame in others}) == 3
    assert len({frame.left for frame in others}) == 3
    assert query.top + query.side < others[0].top


def test_below_a_hit_stand_rank_distance_scene_path_and_hash() -> None:
    (page,) = lay_out(sheet(sample_hit(1, "rooms/a.jpg", distance=0.98765)), Form())
    frame = page.frames[1]
    below = [
        line.drawn for line in page.lines if frame.top + frame.side < line.top < frame.top + 300
    ]
    assert below[:5] == ["1", "0.9877", "bedroom (0.88)", "disk-07:rooms/a.jpg", "01" * 6]


def test_an_identical_hit_is_marked_with_a_word_and_a_border() -> None:
    (page,) = lay_out(sheet(sample_hit(1, identical=True, partial=True), sample_hit(2)), Form())
    assert [frame.ink for frame in page.frames] == ["query", "identical", "quiet"]
    assert drawn(page).count("identical, partial") == 1


def test_the_sheet_says_the_case_the_search_and_that_it_is_no_finding() -> None:
    (page,) = lay_out(sheet(*hits(2)), Form())
    for words in (
        "Case: 17/2026; examiner A. Examiner; exhibit EX-1",
        "Database: case.db; 50 contents at 52 places",
        f"Model: builtin, fingerprint {'f1' * 32}",
        "Search: exhaustive over 40 pictures, k 2",
        "left out 10 of 50 pictures; 2 of those would have ranked above the last hit",
        f"SHA-256 {'ab' * 32}, already indexed",
        "Documented leads for examination, never findings. Pictures are blurred on purpose.",
        "Written 2026-03-04T05:06:08Z by image_similarity",
        f"Audit head: entry 7 of 2026-03-04T05:06:07Z, SHA-256 {'d7' * 32}",
    ):
        assert words in page.text
    (page,) = lay_out(sheet(*hits(2)), Form(look="reveal"))
    assert "blurred" not in page.text


def test_what_was_not_said_of_a_case_is_not_made_up() -> None:
    about = sample_about(sample_coverage(facts=CaseFacts(), head=None))
    (page,) = lay_out(sheet(*hits(1), about=about), Form())
    assert "Case: number not stated\n" in page.text
    assert "Audit head: no audit entries" in page.text


def test_without_hits_the_sheet_says_so() -> None:
    (page,) = lay_out(sheet(), Form())
    assert "no picture found" in drawn(page)
    assert len(page.frames) == 1


def test_a_long_path_is_shortened_in_the_picture_and_whole_in_its_text() -> None:
    path = "deep/" * 60 + "IMG_0001.jpg"
    (page,) = lay_out(sheet(sample_hit(1, path)), Form())
    shown = next(line for line in page.lines if "IMG_0001" in line.full)
    assert shown.drawn.startswith("disk-07:deep") and shown.drawn.endswith("01.jpg")
    assert f"disk-07:{path} (/evidence/{path})" in page.text


@pytest.mark.parametrize("name", [HOSTILE, "\u202egpj.exe", "日本" * 90, "x" * 5000, "\udcff.jpg"])
@pytest.mark.parametrize("form", [Form(), Form(columns=1, tile=48), Form(20, 48, paged=True)])
def test_any_name_stays_within_its_column_and_deceives_nobody(name: str, form: Form) -> None:
    pages = lay_out(sheet(sample_hit(1, name), label=name), form)
    for page in pages:
        for line in page.lines:
            assert line.drawn.isprintable()
            assert line.left + font(line.size).getlength(line.drawn) <= page.width - MARGIN + 1
        assert "\u202e" not in page.text and "\x1b" not in page.text and "\udcff" not in page.text


def test_a_paged_sheet_is_broken_into_pages_of_a4() -> None:
    pages = lay_out(sheet(*hits(47), number=3, of=120), Form(paged=True))
    assert len(pages) > 1
    shown = [frame.picture for page in pages for frame in page.frames]
    assert shown == list(range(48)), "each hit once, in order"
    for at, page in enumerate(pages, start=1):
        assert page.height / page.width == pytest.approx(297 / 210, abs=0.01)
        assert f"query 3 of 120, page {at} of {len(pages)}" in drawn(page)
        assert max(frame.top + frame.side for frame in page.frames) < page.rules[-1]
        assert "Documented leads" in page.text
    continued = pages[1]
    assert continued.lines[0].drawn == "Contact sheet, continued"
    assert continued.lines[0].size == TITLE
    assert f"Query: disk-07:rooms/query.jpg, SHA-256 {'ab' * 32}" in continued.text


def test_nothing_stands_on_anything_else() -> None:
    for form in (Form(), Form(columns=2, tile=512), Form(columns=20, tile=48, paged=True)):
        for page in lay_out(sheet(*hits(21)), form):
            boxes = [
                (line.left, line.top, line.left + font(line.size).getlength(line.drawn), line.top + line.size)
                for line in page.lines
            ] + [
                (frame.left, frame.top, frame.left + frame.side, frame.top + frame.side)
                for frame in page.frames
            ]  # fmt: skip
            for number, (left, top, right, bottom) in enumerate(boxes):
                assert left >= 0 and right <= page.width and top >= 0 and bottom <= page.height
                for other in boxes[number + 1 :]:
                    apart = (
                        right <= other[0] + 1 or other[2] <= left + 1
                        or bottom <= other[1] + 1 or other[3] <= top + 1
                    )  # fmt: skip
                    assert apart, (boxes[number], other)


@pytest.mark.parametrize("form", [Form(), Form(1, 48), Form(1, 512), Form(20, 48)])
def test_hashes_of_query_model_and_audit_head_are_never_shortened(form: Form) -> None:
    (page,) = lay_out(sheet(*hits(2)), form)
    text = "\n".join(drawn(page))
    assert all(digest * 32 in text for digest in ("ab", "f1", "d7"))


@pytest.mark.parametrize(("columns", "tile"), [(0, 200), (21, 200), (5, 47), (5, 513)])
def test_a_form_out_of_range_is_refused(columns: int, tile: int) -> None:
    with pytest.raises(InvalidSetting, match=r"--(columns|tile) \d+"):
        Form(columns, tile)


@pytest.mark.parametrize("paged", [False, True])
def test_a_page_that_takes_much_memory_is_refused_and_says_what_to_do(paged: bool) -> None:
    with pytest.raises(InvalidSetting, match="100,000,000 in all") as caught:
        lay_out(sheet(*hits(400)), Form(columns=20, tile=512, paged=paged))
    assert "--columns" in caught.value.hint
    assert lay_out(sheet(*hits(400)), Form(columns=15, tile=512, paged=True))


def test_a_picture_too_tall_to_be_opened_is_refused_and_says_what_to_do() -> None:
    with pytest.raises(InvalidSetting, match="500 hits make a picture of") as caught:
        lay_out(sheet(*hits(500)), Form())
    assert "PDF" in caught.value.hint
    assert lay_out(sheet(*hits(500)), Form(paged=True))
