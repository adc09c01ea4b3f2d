"""The vectors of a derived model are stored without reading a picture, and stay as well kept as any others."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from image_similarity import Case
from image_similarity.analysis import derive as deriving
from image_similarity.encoding import derived
from image_similarity.encoding.card import read_card
from image_similarity.encoding.weights import load_arrays
from image_similarity.errors import InvalidSetting, UnknownModel, WeightsRefused
from image_similarity.events import Event, Notice, Progress
from image_similarity.settings import IndexOptions
from image_similarity.store.schema import APPLICATION_ID, PAGE_SIZE
from tests.analysis.forty import make, vectors
from tests.conftest import draw_picture
from tests.tiny_model import tiny_card

DUMPS = Path(__file__).resolve().parents[1] / "data" / "db"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path, Path]:
    """Database, folder, model, and a reduction of it of which no vector is stored."""
    base = tmp_path_factory.mktemp("derive")
    database, folder, model = make(base)
    with Case.open(database) as case:
        case.reduce("pca", base / "small.safetensors", dim=4)
    return database, folder, model, base / "small.safetensors"


@pytest.fixture
def database(made: tuple[Path, Path, Path, Path], tmp_path: Path) -> Path:
    return Path(shutil.copyfile(made[0], tmp_path / "case.db"))


@pytest.fixture
def small(made: tuple[Path, Path, Path, Path]) -> Path:
    return made[3]


def fingerprint(database: Path, name: str = "small") -> str:
    with Case.open(database, read_only=True) as case:
        return next(info.fingerprint for info in case.models() if info.name == name)


def after(batches: int) -> Callable[[], bool]:
    """Return what says stop after so many questions."""
    asked = iter(range(1_000))
    return lambda: next(asked) >= batches


def test_every_picture_gets_its_vector_once(database: Path, small: Path) -> None:
    with Case.open(database) as case:
        (report,) = case.derive(small)
        assert (report.embedded, report.source, report.bytes_read) == (40, "evidence", 0)
        assert case.derive(small) == []
        assert [run.kind for run in case.runs()] == ["derive", "index"]


def test_what_an_interrupted_call_stored_stays_and_the_next_goes_on(
    database: Path, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deriving, "AT_ONCE", 8)
    with Case.open(database) as case:
        (stopped,) = case.derive(small, stop=after(3))
        assert (stopped.status, stopped.embedded) == ("interrupted", 16)
        assert len(vectors(database, fingerprint(database), 4)) == 16
        (rest,) = case.derive(small)
        assert (rest.status, rest.embedded) == ("done", 24)
    assert len(vectors(database, fingerprint(database), 4)) == 40


def test_an_interrupted_derivation_ends_with_the_vectors_of_an_undisturbed_one(
    made: tuple[Path, Path, Path, Path], database: Path, small: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    whole = Path(shutil.copyfile(made[0], tmp_path / "whole.db"))
    with Case.open(whole) as case:
        case.derive(small)
    monkeypatch.setattr(deriving, "AT_ONCE", 8)
    with Case.open(database) as case:
        case.derive(small, stop=after(2))
        case.derive(small)
    one, other = (vectors(each, fingerprint(each), 4) for each in (whole, database))
    assert one.keys() == other.keys()
    for path, vector in one.items():
        assert np.abs(vector.astype("f4") - other[path].astype("f4")).max() <= 2**-10


def test_ctrl_c_in_the_middle_closes_the_run_and_keeps_what_was_stored(
    database: Path, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deriving, "AT_ONCE", 8)

    def press(event: Event) -> None:
        if isinstance(event, Progress):
            raise KeyboardInterrupt

    with Case.open(database) as case:
        with pytest.raises(KeyboardInterrupt):
            case.derive(small, on_event=press)
        assert [run.status for run in case.runs()] == ["interrupted", "done"]
        assert case.runs()[0].embedded == 8
        (rest,) = case.derive(small)
        assert rest.embedded == 32
        assert case.verify_audit().findings == ()


def test_a_derivation_that_was_killed_is_completed_by_the_next(database: Path, small: Path) -> None:
    killed = """
import os, sys
from image_similarity import Case
from image_similarity.analysis import derive
from image_similarity.events import Progress
derive.AT_ONCE = 8
with Case.open(sys.argv[1]) as case:
    case.derive(sys.argv[2], on_event=lambda e: isinstance(e, Progress) and os._exit(9))
"""
    done = subprocess.run([sys.executable, "-c", killed, database, small], check=False)
    assert done.returncode == 9
    with Case.open(database) as case:
        (rest,) = case.derive(small)
        assert rest.embedded == 32
        assert [run.status for run in case.runs()] == ["done", "interrupted", "done"]
        assert case.verify().findings == ()
        assert case.verify_audit().findings == ()


def test_pictures_indexed_later_get_theirs_from_either_command(
    tmp_path: Path,
) -> None:
    database, folder, model = make(tmp_path)
    with Case.open(database) as case:
        info = case.reduce("pca", tmp_path / "small.safetensors", dim=4)
        assert info is not None
        case.derive(info.path)
        draw_picture(100, (48, 40)).save(folder / "late.png")
        case.index(folder, options=IndexOptions(models=(str(model),)))
        (report,) = case.derive(info.path)
        assert report.embedded == 1
        derived_one = vectors(database, info.fingerprint, 4)["late.png"]
    other = tmp_path / "other.db"
    with Case.open(other) as case:
        # Both networks from the picture itself.
        case.index(folder, options=IndexOptions(models=(info.path,)))
    fresh = vectors(other, info.fingerprint, 4)["late.png"]
    assert np.abs(fresh.astype("f4") - derived_one.astype("f4")).max() <= 2**-10


def test_a_refresh_does_not_walk_a_derivation(tmp_path: Path) -> None:
    database, folder, _ = make(tmp_path)
    with Case.open(database) as case:
        info = case.reduce("pca", tmp_path / "small.safetensors", dim=4)
        assert info is not None
        case.derive(info.path)
        draw_picture(100, (48, 40)).save(folder / "late.png")
        (report,) = case.refresh()
        assert (report.kind, report.seen, report.new, report.gone) == ("refresh", 41, 1, 0)
        assert [Path(name).name for name in report.models] == ["tiny.safetensors"]


def test_rows_that_were_derived_are_verified_sealed_and_merged_like_any_other(
    database: Path, small: Path, tmp_path: Path
) -> None:
    with Case.open(database) as case:
        case.derive(small)
        assert case.verify().findings == ()
        assert case.verify_audit().findings == ()
        assert [entry.action for entry in case.audit(3)] == ["run", "batch", "end"]
    with Case.open(tmp_path / "merged.db") as merged:
        merged.merge(database)
        assert merged.verify().findings == ()
        assert merged.verify_audit().findings == ()
    one, other = (vectors(path, fingerprint(path), 4) for path in (database, merged.path))
    assert {path: each.tobytes() for path, each in one.items()} == {
        path: each.tobytes() for path, each in other.items()
    }


@pytest.mark.parametrize("schema", ["0001", "0002", "0003"])
def test_a_database_of_an_earlier_version_takes_derived_vectors_once_upgraded(
    tmp_path: Path, schema: str
) -> None:
    old = tmp_path / "old.db"
    with closing(sqlite3.connect(old)) as connection:
        connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.executescript((DUMPS / f"{schema}.sql").read_text(encoding="utf-8"))
    with Case.open(old) as case:
        base = next(info for info in case.models() if info.dim is not None)
        card = tiny_card() | {
            "name": "first",
            "architecture": "derived/pca",
            "scenes": [],
            "dim": 1,
            "preprocess": json.loads(json.dumps(asdict(base.preprocess))),
            "config": {
                "base": base.name,
                "base_fingerprint": base.fingerprint,
                "base_dim": base.dim,
            },
        }
        axis = np.eye(1, base.dim, dtype=np.float32)
        arrays = {"mean": np.full(base.dim or 0, 0.5, np.float32), "components": axis}
        path = tmp_path / "first.safetensors"
        save_file(arrays, path, metadata={"card": json.dumps(card)})
        reports = case.derive(path)
        assert sum(report.embedded for report in reports) > 5
        assert {report.kind for report in reports} == {"derive"}
        assert case.verify().findings == ()
        assert case.verify_audit().findings == ()


def test_an_altered_vector_is_found(database: Path, small: Path) -> None:
    with Case.open(database) as case:
        case.derive(small)
    with sqlite3.connect(database) as connection:
        connection.execute(
            "UPDATE embedding SET vector = zeroblob(8) WHERE image_id = 3 AND length(vector) = 8"
        )
    connection.close()
    with Case.open(database, read_only=True) as case:
        assert case.verify_audit().findings != ()


def test_a_search_with_the_derived_model_finds_stored_and_new_pictures(
    made: tuple[Path, Path, Path, Path], database: Path, small: Path, tmp_path: Path
) -> None:
    draw_picture(7, (48, 40)).save(tmp_path / "copy.webp", lossless=True)
    with Case.open(database) as case:
        case.derive(small)
        for query in (made[1] / "p07.png", tmp_path / "copy.webp"):
            for name in ("small", str(small)):
                hits = case.search(query, model=name, k=3, scene="off").hits
                paths = [hit.place.path for hit in hits]
                # The query's own place is left out; the same pixels in another file are found first.
                assert (
                    paths[0] == "p07.png" if query.name == "copy.webp" else "p07.png" not in paths
                )


def test_a_picture_whose_vector_is_no_number_is_left_out_and_told(
    database: Path, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = derived.as_stored

    def flawed(*given: object) -> np.ndarray:
        found = whole(*given)  # type: ignore[arg-type]
        found[5] = np.nan
        return found

    monkeypatch.setattr(derived, "as_stored", flawed)
    told: list[str] = []
    with Case.open(database) as case:
        (report,) = case.derive(
            small,
            on_event=lambda event: told.append(event.text) if isinstance(event, Notice) else None,
        )
    assert report.embedded == 39
    assert told == ["1 pictures got no vector of small: not finite"]


def test_models_that_do_not_go_on_from_stored_vectors_are_refused(
    made: tuple[Path, Path, Path, Path], database: Path, small: Path, tmp_path: Path
) -> None:
    with Case.open(database) as case, pytest.raises(InvalidSetting, match="does not go on from"):
        case.derive(made[2])
    with (
        Case.open(tmp_path / "empty.db") as case,
        pytest.raises(UnknownModel, match="no vectors of"),
    ):
        case.derive(small)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        # A network's vectors are centred, stored ones are not: one fingerprint would mean two vectors.
        ({"centre": [0.1] * 4}, "card entry centre"),
        ({"scenes": ["a", "b"]}, "card entry scenes"),
        ({"config": {"base": None}}, "names no model below"),
        ({"config": {"base_fingerprint": None}}, "names no model below"),
        ({"preprocess": {"size": 64}}, "prepares pictures otherwise"),
    ],
)
def test_a_card_by_which_a_new_picture_would_get_another_vector_is_refused_before_any_is_stored(
    database: Path, small: Path, tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    card = read_card(small) or {}
    for key, value in changed.items():
        card[key] = {**card[key], **value} if isinstance(value, dict) else value
    del card["golden"]
    target = tmp_path / "changed.safetensors"
    save_file(load_arrays(small), target, metadata={"card": json.dumps(card)})
    with Case.open(database) as case:
        with pytest.raises(WeightsRefused, match=said):
            case.derive(target)
        assert [info.name for info in case.models()] == ["tiny", "builtin"]
