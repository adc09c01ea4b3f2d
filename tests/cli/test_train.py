"""`train`."""

from __future__ import annotations

import itertools
import json
import signal
from pathlib import Path

import pytest

from tests.cli.conftest import Run, start
from tests.training.own_pictures import make_places


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_places(tmp_path_factory.mktemp("own") / "places", places=6)


@pytest.fixture
def arguments(places: Path, tiny_model: Path, tmp_path: Path) -> list[object]:
    """A short training of a small head that is written whatever comes of it."""
    target = tmp_path / "own.safetensors"
    return [
        "train", places, "-o", target, "-m", tiny_model, "--head", 8, "--epochs", 2,
        "--near-duplicate", 1.01, "--keep-anyway", "--device", "cpu",
    ]  # fmt: skip


def test_what_is_trained_can_be_indexed_with(
    run: Run, arguments: list[object], places: Path, tmp_path: Path
) -> None:
    outcome = run(*arguments)
    assert outcome.code == 0, outcome.err
    assert "wrote" in outcome.out and "recall@1" in outcome.out
    assert outcome.err == ""
    model, database = tmp_path / "own.safetensors", tmp_path / "case.db"
    assert run("models", "check", model).code == 0
    indexed = run("index", "-m", model, "--scenes", model, "-ip", places, "-dp", database)
    assert indexed.code == 0
    assert run("query", places / "place-00/0.png", "-dp", database).code == 0


def test_as_json_the_whole_account_comes_in_one_object(run: Run, arguments: list[object]) -> None:
    (account,) = run(*arguments, "--format", "json").objects()
    assert account["status"] == "done"
    assert (account["training"], account["validation"]) == (16, 8)
    assert [epoch["number"] for epoch in account["epochs"]] == [1, 2]


def test_files_that_cannot_be_read_are_named_and_exit_with_3(
    run: Run, arguments: list[object], places: Path, tmp_path: Path
) -> None:
    folder = make_places(tmp_path / "places", places=6)
    (folder / "place-00" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    arguments[1] = folder
    outcome = run(*arguments)
    assert outcome.code == 3
    assert "place-00/broken.jpg" in outcome.err
    assert "unreadable 1" in outcome.out


def test_if_no_file_can_be_read_each_is_named_with_its_reason(
    run: Run, arguments: list[object], tmp_path: Path
) -> None:
    table = tmp_path / "groups.csv"
    table.write_text("path,group\nplace-99/0.png,a\n")
    outcome = run(*arguments, "--groups", table)
    assert outcome.code == 1
    assert "place-99/0.png  FileNotFoundError" in outcome.err
    assert "1 failed" in outcome.err


def test_a_list_of_groups_or_no_groups_at_all_will_do(
    run: Run, arguments: list[object], places: Path, tmp_path: Path
) -> None:
    table = tmp_path / "groups.csv"
    rows = [f"{file.relative_to(places)},{file.parent.name}" for file in places.rglob("*.png")]
    table.write_text("\n".join(["path,group", *sorted(rows)]))
    assert run(*arguments, "--groups", table).code == 0
    assert run(*arguments, "--unlabelled", "--force").code == 0


def test_when_nothing_is_gained_it_says_so_writes_no_model_and_exits_with_1(
    run: Run, arguments: list[object], tmp_path: Path
) -> None:
    arguments.remove("--keep-anyway")
    arguments[arguments.index("--head") : arguments.index("--head") + 2] = []
    outcome = run(*arguments, "--learning-rate", "1e-9")
    assert outcome.code == 1
    assert "No epoch was better than the start model: no model was written." in outcome.err
    assert [each.name for each in tmp_path.iterdir()] == ["own.work"]


def test_wrong_settings_exit_with_2_and_too_few_groups_with_1(
    run: Run, arguments: list[object], tmp_path: Path
) -> None:
    assert run(*arguments, "--epochs", 0).code == 2
    assert run(*arguments, "--loss", "nonsense").code == 2
    assert run(*arguments, "-m", "nonsense").code == 13
    arguments[1] = make_places(tmp_path / "few", places=2)
    outcome = run(*arguments)
    assert outcome.code == 1
    assert "too few" in outcome.err


def test_progress_shows_loss_rate_and_time_left(run: Run, arguments: list[object]) -> None:
    bar = run(*arguments, "--progress", "bar").err
    assert "training: 100%" in bar
    assert "loss=" in bar and "pictures/s" in bar
    assert "epoch 2: loss" in bar
    events = run(*arguments, "--force", "--progress", "json").err.splitlines()
    kinds = {json.loads(line)["event"] for line in events}
    assert kinds == {"advance", "epoch"}


def test_ctrl_c_leaves_a_checkpoint_from_which_the_same_command_goes_on(
    run: Run, arguments: list[object], tmp_path: Path
) -> None:
    arguments[arguments.index("--epochs") + 1] = 3000
    process = start(*arguments, "--progress", "json")
    assert any('"stage": "training"' in line for line in process.stderr or ())
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130
    assert "run the same command again" in err
    assert (tmp_path / "own.work" / "checkpoint.pt").is_file()
    assert not (tmp_path / "own.safetensors").exists()
    again = start(*arguments, "--progress", "json")
    try:
        said = iter(again.stderr or ())
        before = list(itertools.takewhile(lambda line: '"stage": "training"' not in line, said))
    finally:
        again.kill()
        again.communicate()
    assert any("going on from" in line for line in before)


def test_with_classes_new_pictures_are_given_the_folders_names(
    run: Run, arguments: list[object], places: Path, tmp_path: Path
) -> None:
    outcome = run(*arguments, "--classes")
    assert outcome.code == 0, outcome.err
    assert "6 classes: the right one first for " in outcome.out
    assert " of 6 pictures held aside, among five for " in outcome.out
    model, database = tmp_path / "own.safetensors", tmp_path / "case.db"
    (said,) = run("predict", places / "place-03/1.png", "-m", model, "--format", "json").objects()
    assert said["labels"][0]["name"].startswith("place-0")
    indexed = run("index", "-m", model, "--scenes", model, "-ip", places, "-dp", database)
    assert indexed.code == 0
    (shown,) = run("show", places / "place-03/1.png", "-dp", database, "--format", "json").objects()
    assert shown["scenes"][0]["name"] == said["labels"][0]["name"]
    (account,) = run(*arguments, "--classes", "--force", "--format", "json").objects()
    assert account["classes"]["measured"] == 6
    assert run(*arguments, "--classes", "--unlabelled", "--force").code == 2
