"""Contact sheets of a database: whose they are, in which order, and that nothing is held or lost on the way."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from image_similarity.case import Case
from image_similarity.errors import UnknownImage, UsageError
from image_similarity.events import Event, Progress, Started
from image_similarity.records import exports, previews
from image_similarity.reports.tiles import Tile
from image_similarity.settings import IndexOptions
from image_similarity.store import clock
from image_similarity.values import Selection
from tests.conftest import FolderFactory


@pytest.fixture
def database(tmp_path: Path, make_folder: FolderFactory, tiny_model: Path) -> Path:
    """A database of 7 contents at 8 places: picture-000.jpg has a copy."""
    made = tmp_path / "case.db"
    index(make_folder(n=7, duplicates=1), made, tiny_model)
    return made


def index(folder: Path, database: Path, model: Path) -> None:
    with Case.open(database) as case:
        case.index(folder, options=IndexOptions(models=(str(model),), scenes=str(model)))


def texts(folder: Path) -> list[str]:
    """What stands on each page of a folder."""
    found = []
    for path in sorted(folder.iterdir()):
        with Image.open(path) as image:
            found.append(image.info["Description"])
    return found


def pages(path: Path) -> int:
    return len(re.findall(rb"/Type /Page\b", path.read_bytes()))


def test_every_picture_gets_a_sheet_in_the_order_of_the_database(
    database: Path, tmp_path: Path
) -> None:
    events: list[Event] = []
    with Case.open(database, read_only=True) as case:
        written = case.sheet(
            tmp_path / "out", chosen=Selection(), k=3, scene="off", on_event=events.append
        )
    assert (written.pictures, written.chosen, written.notes) == (7, 7, ())
    assert list(written.paths) == [str(path) for path in sorted((tmp_path / "out").iterdir())]
    for number, text in enumerate(texts(tmp_path / "out"), start=1):
        assert f"query {number} of 7" in text
        assert len(re.findall(r"^hit \d+$", text, flags=re.MULTILINE)) == 3
        sha256 = re.findall(r"SHA-256 (\w{64}), already indexed", text)
        assert Path(written.paths[number - 1]).name == f"{number:04d}-{sha256[0][:12]}.png"
    assert next(each for each in events if isinstance(each, Started)).total == 7
    assert [each.done for each in events if isinstance(each, Progress)] == list(range(1, 8))


def test_the_place_that_a_sheet_is_of_is_no_hit_of_it_and_its_copy_is_identical(
    database: Path, tmp_path: Path
) -> None:
    with Case.open(database, read_only=True) as case:
        (first,) = case.images_at(f"{case.sources()[0].root}/picture-000.jpg")
        chosen = Selection(sha256s=(first.sha256[:10],))
        case.sheet(tmp_path / "one.png", chosen=chosen, k=20, scene="off")
        hits = 1 + 6
    with Image.open(tmp_path / "one.png") as image:
        text = image.info["Description"]
    assert len(re.findall(r"^hit \d+$", text, flags=re.MULTILINE)) == hits, "fewer than k"
    assert text.count("\nidentical") == 1
    assert "evidence:copies/copy-000.jpg" in text.split("hit 1\n")[0]
    assert "evidence:picture-000.jpg (" in text.split("hit 1\n")[1]


def test_a_pdf_has_a_page_for_each_query_and_more_where_the_hits_need_them(
    database: Path, tmp_path: Path
) -> None:
    with Case.open(database, read_only=True) as case:
        case.sheet(tmp_path / "few.pdf", chosen=Selection(), k=3, scene="off")
        case.sheet(tmp_path / "many.pdf", chosen=Selection(), k=7, scene="off", columns=1, tile=400)
    assert pages(tmp_path / "few.pdf") == 7
    assert pages(tmp_path / "many.pdf") > 2 * 7


def test_small_pictures_are_had_one_by_one_when_they_are_drawn(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    alive = 0

    class Counted(np.ndarray[Any, Any]):
        def __array_finalize__(self, _: object) -> None:
            nonlocal alive
            alive += 1

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def tile(catalogs: object, sha256: str, paths: object, *, side: int) -> Tile:
        assert alive == 0, "the one before is gone"
        asked.append(sha256)
        return Tile(np.zeros((side, side, 3), dtype=np.uint8).view(Counted))

    monkeypatch.setattr(previews, "tile", tile)
    with Case.open(database, read_only=True) as case:
        case.sheet(tmp_path / "all.pdf", chosen=Selection(), k=3, scene="off")
    assert len(asked) == 7 * (1 + 3)


def test_a_picture_without_a_vector_of_the_model_has_no_page_and_that_is_said(
    database: Path, tmp_path: Path, make_folder: FolderFactory, tiny_model: Path
) -> None:
    other = tmp_path / "other.safetensors"
    from tests.tiny_model import write_tiny_model

    write_tiny_model(other, seed=5)
    index(make_folder("second", n=2, seed=5, duplicates=0), database, other)
    with Case.open(database, read_only=True) as case:
        model = str(tiny_model)
        written = case.sheet(
            tmp_path / "all.pdf", chosen=Selection(), k=2, model=model, scene="off"
        )
        assert (written.pictures, written.chosen, pages(tmp_path / "all.pdf")) == (7, 9, 7)
        assert any(note.startswith("2 of 9 pictures have no page") for note in written.notes)
        with pytest.raises(UnknownImage, match="none of the pictures chosen"):
            case.sheet(
                tmp_path / "none.pdf",
                chosen=Selection(sources=("second",)),
                model=model,
                scene="off",
            )
    assert not (tmp_path / "none.pdf").exists()


def test_when_it_is_stopped_finished_pages_stay_in_a_folder_and_of_a_file_nothing(
    database: Path, tmp_path: Path
) -> None:
    done = [0]

    def count(event: Event) -> None:
        done[0] = event.done if isinstance(event, Progress) else 0

    with Case.open(database, read_only=True) as case:
        for name in ("folder", "one.pdf"):
            written = case.sheet(
                tmp_path / name,
                chosen=Selection(),
                scene="off",
                on_event=count,
                stop=lambda: done[0] >= 2,
            )
            assert any("stopped" in note for note in written.notes)
            assert written.pictures == (3 if name == "folder" else 0)
        assert len(texts(tmp_path / "folder")) == 3
        assert not list(tmp_path.glob("*one.pdf*"))
        recorded = [trace.state for trace in case.traces().files]
    assert recorded == ["as written"] * 3, "the pages that there are, and no others"


def test_no_transaction_is_held_while_pages_are_drawn(database: Path, tmp_path: Path) -> None:
    """Or a run that stores its batch would wait for as long as the sheets take."""

    def write(event: Event) -> None:
        with Case.open(database) as writer:
            writer.set_facts(notes=f"while {event}")

    with Case.open(database, read_only=True) as case:
        case.sheet(tmp_path / "all.pdf", chosen=Selection(), scene="off", on_event=write)
        assert case.facts().notes.startswith("while Progress(done=7")


@pytest.mark.parametrize("name", ["all.pdf", "folder"])
def test_the_same_state_gives_the_same_bytes(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Apart from the date that is printed, and from the audit head, which each recorded sheet moves on."""
    monkeypatch.setattr(clock, "now", lambda: "2026-03-04T05:06:07Z")
    monkeypatch.setattr(exports, "record", lambda *_, **__: None)

    def made(folder: Path) -> list[bytes]:
        folder.mkdir()
        with Case.open(database, read_only=True) as case:
            case.sheet(folder / name, chosen=Selection(), k=3)
        return [path.read_bytes() for path in sorted(folder.rglob("*.p*")) if path.is_file()]

    assert made(tmp_path / "once") == made(tmp_path / "again")


def test_nothing_chosen_is_an_error_and_an_unknown_name_too(database: Path, tmp_path: Path) -> None:
    with Case.open(database, read_only=True) as case:
        with pytest.raises(UsageError, match="no picture was chosen"):
            case.sheet(tmp_path / "a.pdf", chosen=Selection(tags=("nobody",)))
        with pytest.raises(UsageError, match="no source"):
            case.sheet(tmp_path / "a.pdf", chosen=Selection(sources=("disk-99",)))
    assert not (tmp_path / "a.pdf").exists()
