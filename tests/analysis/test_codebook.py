"""Codebooks: the same file however often a build was killed, and nothing lost whatever is wrong."""

from __future__ import annotations

import hashlib
import importlib
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from image_similarity.analysis import codebook_features, codebook_learning
from image_similarity.analysis.codebook import work_folder
from image_similarity.case import Case
from image_similarity.encoding import registry
from image_similarity.encoding.devices import OutOfMemory
from image_similarity.encoding.encoder import Encoder
from image_similarity.encoding.training_hashes import read_training_hashes
from image_similarity.errors import (
    DeviceUnavailable,
    ExtraMissing,
    FolderMissing,
    InvalidSetting,
    TrainingRefused,
    UsageError,
    WeightsChanged,
    WeightsRefused,
)
from image_similarity.events import Event, Failed, Notice, Progress
from image_similarity.settings import MAX_DIM, IndexOptions
from image_similarity.values import CodebookInfo
from tests.analysis import codebook_runner, forty

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
PICTURES = 20
CELLS = 64
# 5 pieces of features, then 5 steps of components, 25 of words, 5 of frequencies.
PIECES = 40


@dataclass(frozen=True)
class Made:
    """A database of twenty pictures, and the codebook that was built of it in one go."""

    database: Path
    folder: Path
    model: Path
    info: CodebookInfo
    content: bytes


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    base = tmp_path_factory.mktemp("codebook")
    database, folder, model = forty.make(base, PICTURES)
    target = base / "words.safetensors"
    with pytest.MonkeyPatch.context() as patch, Case.open(database, read_only=True) as case:
        patch.setattr(codebook_features, "CHUNK", codebook_runner.CHUNK)
        info = case.build_codebook(target, model=str(model), **codebook_runner.SETTINGS)
    assert info is not None
    return Made(database, folder, model, info, target.read_bytes())


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codebook_features, "CHUNK", codebook_runner.CHUNK)


@pytest.fixture
def target(tmp_path: Path, made: Made) -> Path:
    # The same name, which the card tells, with the model beside it.
    shutil.copy(made.model, tmp_path / made.model.name)
    return tmp_path / "words.safetensors"


def build(made: Made, target: Path, **changes: Any) -> CodebookInfo | None:
    with Case.open(changes.pop("database", made.database), read_only=True) as case:
        settings = {**codebook_runner.SETTINGS, "model": str(target.with_name(made.model.name))}
        return case.build_codebook(target, **{**settings, **changes})


def test_a_codebook_says_what_it_was_learned_from(made: Made) -> None:
    info = made.info
    assert (info.model, info.base, info.layer, info.cells) == ("words", "tiny", "pool", (8, 8))
    assert (info.words, info.dims, info.pictures, info.features) == (10, 2, PICTURES, 20 * CELLS)
    assert (info.changed, info.failures) == (0, ())
    assert 0.5 < info.explained <= 1
    assert info.size_bytes == len(made.content)
    assert not work_folder(Path(info.path)).exists()
    spec = registry.get(info.path)
    assert (spec.architecture, spec.dim, spec.config["base"]) == ("derived/words", 10, "tiny.safetensors")  # fmt: skip
    assert registry.info(spec).fingerprint == info.fingerprint


@pytest.mark.parametrize(
    ("pieces", "stage"),
    [(2, "features"), (7, "components"), (19, "words"), (36, "frequencies"), (None, "the end")],
)
def test_killed_in_any_stage_it_goes_on_and_ends_with_the_same_file(
    made: Made, target: Path, monkeypatch: pytest.MonkeyPatch, pieces: int | None, stage: str
) -> None:
    code = codebook_runner.build_killed(
        made.database, target, target.with_name("tiny.safetensors"), pieces=pieces
    )
    assert code == -9
    assert target.exists() == (pieces is None)
    assert list(work_folder(target).glob(f"{stage}*" if pieces else "plan.json"))
    taken: list[int] = []
    really_take = codebook_features._Taker.take

    def take(self: Any, number: int, *given: Any, careful: bool) -> Any:
        taken.append(number)
        # What killed the process may have been the next picture.
        assert careful == (len(taken) == 1)
        return really_take(self, number, *given, careful=False)

    monkeypatch.setattr(codebook_features._Taker, "take", take)
    assert build(made, target) is not None
    assert taken == ([2, 3, 4] if stage == "features" else [])
    assert target.read_bytes() == made.content
    assert not work_folder(target).exists()


@pytest.mark.parametrize("asked", [3, 8, 20, 38])
def test_asked_to_stop_it_keeps_what_is_finished_and_goes_on_next_time(
    made: Made, target: Path, asked: int
) -> None:
    assert build(made, target, stop=after(asked)) is None
    assert not target.exists()
    steps: list[int] = []

    def listen(event: Event) -> None:
        steps.extend([event.done] if isinstance(event, Progress) else [])

    assert build(made, target, on_event=listen) is not None
    assert target.read_bytes() == made.content
    # What was finished is not done again; pieces of features are only read, and count as pictures.
    assert len(steps) == 5 + PIECES - max(5, asked)


def after(calls: int) -> Callable[[], bool]:
    asked: list[None] = []

    def stop() -> bool:
        asked.append(None)
        return len(asked) > calls

    return stop


def test_other_options_begin_anew_and_say_so(made: Made, target: Path) -> None:
    notices: list[str] = []

    def listen(event: Event) -> None:
        notices.extend([event.text] if isinstance(event, Notice) else [])

    assert build(made, target, stop=after(8), seed=2) is None
    assert build(made, target, on_event=listen) is not None
    assert notices == [
        f"{work_folder(target)} was begun with other options or pictures: begun anew"
    ]
    assert target.read_bytes() == made.content


def test_a_damaged_piece_is_made_again(made: Made, target: Path) -> None:
    assert build(made, target, stop=after(20)) is None
    for name in ("features-00001.npz", "words.npz"):
        piece = work_folder(target) / name
        piece.write_bytes(piece.read_bytes()[:-200])
    assert build(made, target) is not None
    assert target.read_bytes() == made.content


def test_another_seed_and_another_norm_give_another_model(made: Made, target: Path) -> None:
    prints = {made.info.fingerprint}
    for changes in ({"seed": 2}, {"norm": "hellinger"}):
        info = build(made, target, force=True, **changes)
        assert info is not None
        prints.add(info.fingerprint)
    assert len(prints) == 3


def test_document_frequencies_are_counted_over_the_pictures(made: Made) -> None:
    spec = registry.get(made.info.path)
    with Case.open(made.database, read_only=True) as case:
        assert case.status().images == PICTURES
    encoder = Encoder.load(spec, device="cpu")
    from image_similarity.pictures.prepared import decode_for

    preprocess = spec.preprocess
    pixels = [
        decode_for(path.read_bytes(), {preprocess}, max_pixels=10**6)[1][preprocess]
        for path in sorted(made.folder.iterdir())
    ]
    vectors = encoder.encode(np.stack(pixels)).vectors
    assert vectors is not None
    df = (vectors > 0).sum(axis=0)
    np.testing.assert_allclose(
        load_file(made.info.path)["idf"], np.log(21 / (1 + df)) + 1, rtol=1e-6
    )


def test_of_large_maps_some_cells_are_drawn(
    made: Made, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codebook_features, "CELLS", 16)
    info = build(made, target)
    assert info is not None
    assert (info.pictures, info.features) == (PICTURES, PICTURES * 16)
    info = build(made, target, sample=100, force=True)
    assert info is not None
    assert (info.pictures, info.features) == (7, 7 * 16)


def test_changed_and_unreadable_pictures_are_left_out_and_named(
    made: Made, target: Path, tmp_path: Path
) -> None:
    folder, database = tmp_path / "evidence", tmp_path / "case.db"
    shutil.copytree(made.folder, folder)
    with Case.open(database) as case:
        case.index(folder, options=IndexOptions(models=(str(made.model),), scenes=None))
    shutil.copy(folder / "p00.png", folder / "p01.png")
    (folder / "p02.png").write_bytes(b"")
    (folder / "p03.png").unlink()
    failed: list[str] = []

    def listen(event: Event) -> None:
        failed.extend([event.failure.path] if isinstance(event, Failed) else [])

    info = build(made, target, database=database, on_event=listen)
    assert info is not None
    assert (info.pictures, info.changed) == (PICTURES - 3, 1)
    assert sorted(failed) == ["p02.png", "p03.png"]
    assert {each.path: each.error for each in info.failures} == {
        "p02.png": "Empty",
        "p03.png": "FileNotFoundError",
    }


@pytest.mark.parametrize("emptied", [False, True])
def test_a_source_that_is_unplugged_ends_the_build_and_costs_no_picture_once_it_is_back(
    made: Made, target: Path, tmp_path: Path, emptied: bool
) -> None:
    folder, database, away = tmp_path / "evidence", tmp_path / "case.db", tmp_path / "away"
    shutil.copytree(made.folder, folder)
    with Case.open(database) as case:
        case.index(folder, options=IndexOptions(models=(str(made.model),), scenes=None))

    def unplug(event: Event) -> None:
        # After the first piece; of what is mounted an empty folder may stay.
        if isinstance(event, Progress) and event.done == codebook_runner.CHUNK and folder.exists():
            folder.rename(away)
            if emptied:
                folder.mkdir()

    with pytest.raises(FolderMissing, match="the pictures of source evidence are not there"):
        build(made, target, database=database, on_event=unplug)
    assert [path.name for path in work_folder(target).glob("features-*")] == ["features-00000.npz"]
    if emptied:
        folder.rmdir()
    away.rename(folder)
    info = build(made, target, database=database)
    assert info is not None
    assert (info.pictures, info.failures, info.changed) == (PICTURES, (), 0)
    assert target.read_bytes() == made.content


def test_fewer_features_than_words_is_one_clear_line(made: Made, target: Path) -> None:
    with pytest.raises(TrainingRefused) as refused:
        build(made, target, words=2_000)
    assert refused.value.message == (
        "20 pictures give 1280 local features, fewer than the 2000 words asked for"
    )
    assert not target.exists()
    assert not work_folder(target).exists()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"words": 1}, "a codebook of 1 words"),
        ({"words": MAX_DIM + 1, "sample": 10**9}, f"a codebook of {MAX_DIM + 1} words"),
        ({"dims": 0}, "0 principal components"),
        ({"sample": 9}, "a sample of 9 local features for 10 words"),
        ({"norm": "l1"}, "no norm is called 'l1'"),
        ({"seed": -1}, "a seed of -1"),
        ({"layer": "conv9"}, "tiny has no layer conv9"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_read(
    made: Made, target: Path, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InvalidSetting, match=reason):
        build(made, target, **changes)
    assert not work_folder(target).exists()


def test_a_file_that_could_not_be_a_model_in_the_end_is_refused_before_anything_is_read(
    made: Made, target: Path
) -> None:
    with pytest.raises(InvalidSetting, match=r"must end in \.safetensors"):
        build(made, target.with_suffix(""), model=str(made.model))
    with pytest.raises(UsageError, match=r"The folder of .* does not exist"):
        build(made, target.parent / "none" / target.name, model=str(made.model))
    with pytest.raises(UsageError, match="would be written into the indexed folder"):
        build(made, made.folder / target.name, model=str(made.model))
    assert sorted(path.name for path in target.parent.iterdir()) == [made.model.name]


def test_the_network_below_is_never_replaced_by_what_goes_on_from_it(
    made: Made, target: Path
) -> None:
    base = target.with_name(made.model.name)
    with pytest.raises(UsageError, match="was not written by this command, and is not replaced"):
        build(made, base, force=True)
    assert base.read_bytes() == made.model.read_bytes()


def test_nothing_of_somebody_else_is_replaced(made: Made, target: Path) -> None:
    target.write_bytes(b"a letter")
    with pytest.raises(UsageError, match="exists already"):
        build(made, target)
    with pytest.raises(UsageError, match="was not written by this command"):
        build(made, target, force=True)
    assert target.read_bytes() == b"a letter"
    target.write_bytes(made.content)
    work = work_folder(target)
    work.mkdir()
    (work / "letter.txt").write_text("Dear Sir")
    with pytest.raises(UsageError, match="is no work folder of this program"):
        build(made, target, force=True)
    assert (work / "letter.txt").read_text() == "Dear Sir"
    (work / "letter.txt").unlink()
    assert build(made, target, force=True) is not None
    assert target.read_bytes() == made.content


def test_a_codebook_above_a_codebook_is_refused(made: Made, target: Path) -> None:
    with pytest.raises(InvalidSetting, match="words goes on from another model"):
        build(made, target, model=made.info.path)


def test_the_histograms_of_all_pictures_are_stored_and_searched(made: Made, tmp_path: Path) -> None:
    database, codebook = tmp_path / "case.db", made.info.path
    shutil.copy(made.database, database)
    with Case.open(database) as case:
        (report,) = case.encode_codebook(codebook)
        assert (report.kind, report.status, report.embedded) == ("refresh", "done", PICTURES)
        (again,) = case.encode_codebook(codebook)
        assert (again.status, again.embedded) == ("done", 0)
        # A later refresh goes on with both models.
        assert [len(run.models) for run in case.refresh()] == [2]
        result = case.search(made.folder / "p07.png", model="words", k=3, scene="off")
    assert result.hits[0].distance < 2
    assert len(result.hits) == 3
    stored = forty.vectors(database, made.info.fingerprint, 10)
    assert len(stored) == PICTURES
    assert all(abs(float(np.linalg.norm(each.astype(np.float32))) - 1) < 1e-2 for each in stored.values())  # fmt: skip


def test_a_codebook_that_was_built_anew_in_its_place_is_encoded_beside_the_earlier_one(
    made: Made, target: Path, tmp_path: Path
) -> None:
    database = tmp_path / "case.db"
    shutil.copy(made.database, database)
    target.write_bytes(made.content)
    with Case.open(database) as case:
        case.encode_codebook(target)
    assert build(made, target, seed=2, force=True) is not None
    with Case.open(database) as case:
        with pytest.raises(WeightsChanged):
            case.refresh()
        (report,) = case.encode_codebook(target)
        assert (report.status, report.embedded) == ("done", PICTURES)
        names = [info.name for info in case.models()]
        assert names.count("words") == 2
        assert [run.embedded for run in case.refresh()] == [0]


def test_a_source_that_cannot_be_reached_is_named_and_the_others_are_done(
    made: Made, tmp_path: Path
) -> None:
    database = tmp_path / "case.db"
    shutil.copy(made.database, database)
    gone = tmp_path / "gone"
    gone.mkdir()
    shutil.copy(made.folder / "p00.png", gone / "one.png")
    notices: list[str] = []

    def listen(event: Event) -> None:
        notices.extend([event.text] if isinstance(event, Notice) else [])

    with Case.open(database) as case:
        case.index(gone, options=IndexOptions(models=(str(made.model),), scenes=None))
        shutil.rmtree(gone)
        with pytest.raises(FolderMissing):
            case.encode_codebook(made.info.path, on_event=listen)
    assert any(text.startswith("source gone: no such folder") for text in notices)
    # One of the contents lies in both sources.
    stored = forty.vectors(database, made.info.fingerprint, 10)
    assert stored.keys() == {"one.png", *(path.name for path in made.folder.iterdir())}


def test_a_codebook_that_could_not_be_loaded_is_not_asked_for_by_later_refreshes(
    made: Made, target: Path, tmp_path: Path
) -> None:
    database = tmp_path / "case.db"
    shutil.copy(made.database, database)
    arrays = load_file(made.info.path)
    arrays["idf"][0] = np.nan
    with safe_open(made.info.path, "np") as file:
        save_file(arrays, target, metadata=file.metadata())
    with Case.open(database) as case:
        with pytest.raises(WeightsRefused, match="idf"):
            case.encode_codebook(target)
        (run,) = case.refresh()
        assert (run.status, len(run.models)) == ("done", 1)
        (run,) = case.encode_codebook(made.info.path)
        assert run.embedded == PICTURES


def test_only_a_codebook_can_encode(made: Made) -> None:
    with Case.open(made.database) as case:
        with pytest.raises(WeightsRefused, match="is no codebook"):
            case.encode_codebook(made.model)
        with pytest.raises(UsageError, match="there is no codebook at nowhere"):
            case.encode_codebook("nowhere")


def test_the_card_holds_no_place_and_no_time(made: Made) -> None:
    header = json.loads(made.content[8 : 8 + int.from_bytes(made.content[:8], "little")])
    card = json.loads(header["__metadata__"]["card"])
    assert str(made.folder.parent) not in json.dumps(card)
    assert card["codebook"]["features"] == PICTURES * CELLS


def test_a_codebook_is_never_measured_on_what_it_was_learned_from(made: Made) -> None:
    known = read_training_hashes(Path(made.info.path))
    assert known is not None
    assert {row.tobytes() for row in known} == {
        hashlib.sha256(path.read_bytes()).digest()[:8] for path in made.folder.iterdir()
    }


def test_too_little_memory_is_one_clear_line(
    made: Made, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: Any, **named: Any) -> None:
        raise OutOfMemory("no room")

    monkeypatch.setattr("image_similarity.analysis.codebook.load_maps", refuse)
    with pytest.raises(DeviceUnavailable, match="The memory of cpu does not hold"):
        build(made, target)


def test_without_scikit_learn_the_extra_is_named(
    made: Made, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ExtraMissing) as missing:
        build(made, target)
    assert missing.value.hint == 'pip install "image_similarity[analysis]"'
    assert codebook_learning.PASSES == 5


def test_searches_among_histograms_are_measured_against_a_ball_tree(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    database = tmp_path / "case.db"
    shutil.copy(made.database, database)
    with Case.open(database) as case:
        case.encode_codebook(made.info.path)
    monkeypatch.syspath_prepend(SCRIPTS)
    arguments = ["bench_words.py", str(database), "words", "--queries", "4", "-k", "3"]
    monkeypatch.setattr(sys, "argv", arguments)
    importlib.import_module("bench_words").main()
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if " | " in line]
    assert [row[0].strip("| ") for row in rows[2:]] == [
        "query, exhaustive",
        "one product in numpy, float32",
        "scikit-learn's BallTree",
    ]
    assert [row[3].strip("| ") for row in rows[2:]] == ["1.000", "1.000", "1.000"]
