"""The README says what is true: its commands parse, its exit codes are all that exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from image_similarity import errors
from image_similarity.cli.index import index
from image_similarity.cli.main import cli
from image_similarity.cli.options import Talk

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")


def commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    lines = [line.partition("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith(("generate_embeddings", "image-similarity"))]


def parse(line: str) -> click.Command:
    """Parse a command as the shell would hand it over, without running it; return what would run."""
    name, *arguments = shlex.split(line)
    command: click.Command = index if name == "generate_embeddings" else cli
    while isinstance(command, click.Group):
        name = arguments.pop(0)
        inner = command.get_command(click.Context(command), name)
        assert inner is not None, f"no command {name}"
        command = inner
    command.make_context(name, arguments, obj=Talk()).close()
    return command


@pytest.mark.parametrize("line", commands())
def test_every_command_of_the_readme_exists_with_its_options(line: str) -> None:
    assert parse(line).help


def test_the_readme_shows_every_command() -> None:
    shown = {shlex.split(line)[1] for line in commands() if line.startswith("image-similarity")}
    # `index` is shown under the name that it is installed with.
    assert shown | {"index"} == set(cli.list_commands(click.Context(cli)))


def test_the_readme_lists_every_exit_code() -> None:
    listed = {
        int(code)
        for row in re.findall(r"^\| ([\d, ]+) \|", README, flags=re.MULTILINE)
        for code in row.split(",")
    }
    raised = {
        value.exit_code
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.ImageSimilarityError)
    }
    assert listed == raised | {0, 3, 130, 143}


def test_the_glossary_has_its_nine_words() -> None:
    table = README.partition("## Nine words")[2].partition("##")[0]
    words = re.findall(r"^\| (\w+) \| ", table, flags=re.MULTILINE)
    assert words[1:] == [
        "source", "file", "image", "model", "embedding", "scene", "run", "failure", "hit",
    ]  # fmt: skip


def test_every_path_of_the_tree_exists() -> None:
    root = Path(__file__).resolve().parent.parent
    tree = README.partition("## Where things are")[2].split("```")[1]
    for line in tree.strip().splitlines():
        inside = line.startswith("  ")
        for name in re.findall(r"^\s*((?:[\w.]+(?:/|\.py) )+)", f"{line} ")[0].split():
            assert (root / ("image_similarity" if inside else "") / name).exists(), name
