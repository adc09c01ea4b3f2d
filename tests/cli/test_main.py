"""The console scripts: errors become one line and an exit code, everything is documented, --help is light."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from image_similarity import __version__, errors
from image_similarity.case import Case
from image_similarity.cli import main
from tests.cli.conftest import ROOT, Made, Run, start

USAGE = (ROOT / "docs" / "usage.md").read_text("utf-8")


def commands(
    group: click.Group = main.cli, prefix: str = ""
) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, with its full name."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix}{name} ")
        else:
            yield prefix + name, command


COMMANDS = dict(commands())


def test_these_are_the_commands() -> None:
    assert sorted(COMMANDS) == [
        "analyse ann",
        "analyse codebook build",
        "analyse codebook encode",
        "analyse derive",
        "analyse map",
        "analyse neighbours",
        "analyse reduce",
        "audit head",
        "audit show",
        "audit verify",
        "calibrate",
        "case merge",
        "case new",
        "case purge-thumbnails",
        "case set",
        "case show",
        "case traces",
        "cluster index",
        "compare",
        "db backup",
        "db copy",
        "db import",
        "db index-vectors",
        "db status",
        "db upgrade",
        "db verify",
        "duplicates",
        "evaluate",
        "explain",
        "hashlist import",
        "hashlist list",
        "hashlist matches",
        "hashlist remove",
        "index",
        "models add",
        "models check",
        "models list",
        "models show",
        "predict",
        "query",
        "refresh",
        "relink",
        "replay",
        "report case-uco",
        "report csv",
        "report html",
        "report jsonl",
        "report sheet",
        "report vics",
        "review category",
        "review irrelevant",
        "review list",
        "review note",
        "review relevant",
        "review tag",
        "review withdraw",
        "runs close",
        "runs failures",
        "runs list",
        "runs show",
        "serve",
        "show",
        "train",
    ]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_has_help_and_is_documented(name: str) -> None:
    section = section_of(name) + section_of("Options of every command")
    assert f"image-similarity {name}" in USAGE
    assert COMMANDS[name].help
    for parameter in COMMANDS[name].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
            for spelling in parameter.opts:
                assert f"`{spelling}" in section, f"{spelling} is not documented under {name}"


def section_of(name: str) -> str:
    """The part of the documentation under the heading that begins with this name."""
    lines = USAGE.splitlines()
    begin = next(
        n for n, line in enumerate(lines) if line.lstrip("# ").startswith(name) and line[:1] == "#"
    )
    level = lines[begin].split()[0]
    ends = (n for n, line in enumerate(lines) if n > begin and line.startswith("#"))
    end = next((n for n in ends if len(lines[n].split()[0]) <= len(level)), len(lines))
    return "\n".join(lines[begin:end])


def test_every_exit_code_is_documented() -> None:
    table = section_of("Exit codes")
    classes = [each for each in vars(errors).values() if isinstance(each, type)]
    codes = {each.exit_code for each in classes if issubclass(each, errors.ImageSimilarityError)}
    for code in codes | {0, 3, main.INTERRUPTED, main.PIPE_CLOSED}:
        assert f"| {code}" in table, code


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_is_light_and_exits_with_0(name: str) -> None:
    code = f"""
import sys
from image_similarity.cli import main
code = main.run(main.cli, {[*name.split(), "--help"]!r}, "image-similarity")
print(sorted({{"torch", "sqlalchemy", "PIL", "numpy", "jinja2"}} & set(sys.modules)), code)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[0].startswith("Usage: image-similarity")
    assert done.stdout.splitlines()[-1] == "[] 0", done.stdout + done.stderr


def test_the_version_is_the_packages(run: Run) -> None:
    assert __version__ in run("--version").out


@pytest.mark.parametrize(
    "arguments", [["frobnicate"], ["query", "--frobnicate"], ["index"], ["query", "-k", "many"], []]
)
def test_wrong_usage_exits_with_2(run: Run, arguments: list[str]) -> None:
    outcome = run(*arguments)
    assert outcome.code == 2
    assert "Usage:" in outcome.err
    assert outcome.out == ""


def failing(error: BaseException) -> object:
    def fail(*args: object, **kwargs: object) -> None:
        raise error

    return fail


def test_an_error_of_ours_is_one_line_with_its_hint_and_code(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = errors.SchemaTooNew("the file \x1b[31m is newer", hint="update")
    monkeypatch.setattr(Case, "open", failing(error))
    outcome = run("db", "status", "-dp", "case.db")
    assert outcome.code == 12
    assert outcome.err == "Error: the file \\x1b[31m is newer\nHint: update\n"


def test_an_unexpected_error_is_one_line_and_with_v_a_trace(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Case, "open", failing(RuntimeError("the sky\nfell")))
    outcome = run("db", "status", "-dp", "case.db")
    assert outcome.code == 1
    assert outcome.err.startswith("Error: unexpected RuntimeError: the sky\\x0afell\n")
    assert "Traceback" not in outcome.err
    for arguments in (["-v", "db", "status"], ["db", "status", "-v"]):
        assert "Traceback" in run(*arguments, "-dp", "case.db").err


def test_an_error_of_the_system_names_the_file(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Case, "open", failing(PermissionError(13, "Permission denied", "case.db")))
    outcome = run("db", "status", "-dp", "case.db")
    assert (outcome.code, outcome.err) == (1, "Error: Permission denied: case.db\n")


def test_ctrl_c_outside_of_a_run_exits_with_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Case, "open", failing(KeyboardInterrupt()))
    outcome = run("db", "status", "-dp", "case.db")
    assert (outcome.code, outcome.err) == (130, "Interrupted.\n")


# Stands for a command that is in the middle of its file.
HALF_WRITTEN = """
import signal, sys, click
# What a shell runs in the background ignores Ctrl-C, and so does all that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
from pathlib import Path
from image_similarity.cli import main
from image_similarity.reports import target

@click.command()
@click.argument("path", type=Path)
@click.argument("number", type=int)
def command(path, number):
    with target.writing(path) as stream:
        stream.write("half")
        signal.raise_signal(number)

main._exit_with(command, "command")
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_no_half_written_file(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    given = [sys.executable, "-c", HALF_WRITTEN, tmp_path / "report.csv", str(number.value)]
    done = subprocess.run(given, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (code, "Interrupted.\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name == "nt", reason="pipes end differently there")
def test_a_reader_that_leaves_is_no_error(indexed: Made) -> None:
    process = start("query", indexed.first, "-dp", indexed.database, "--scene", "off")
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(timeout=60)
    assert process.returncode == main.PIPE_CLOSED
    assert err == ""


def test_the_database_and_the_model_may_come_from_the_environment(
    run: Run, indexed: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGE_SIMILARITY_DB", str(indexed.database))
    monkeypatch.setenv("IMAGE_SIMILARITY_MODEL", "tiny")
    assert run("query", indexed.first, "--format", "paths").code == 0
    monkeypatch.setenv("IMAGE_SIMILARITY_MODEL", "other")
    assert run("query", indexed.first).code == 13


def test_python_m_runs_the_same_command(indexed: Made) -> None:
    process = start("db", "status", "-dp", indexed.database, "--format", "json")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert json.loads(out)["images"] == 5


def test_colours_only_where_they_are_wanted(
    run: Run, indexed: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "\x1b[" not in run("--no-color", "runs", "list", "-dp", indexed.database).out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in run("runs", "list", "-dp", indexed.database).out


def test_a_path_of_a_database_that_is_a_folder_is_refused(run: Run, tmp_path: Path) -> None:
    assert run("db", "status", "-dp", tmp_path).code == 10
