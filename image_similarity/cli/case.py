"""`case`: the facts of a case: said once, printed on every report."""

from __future__ import annotations

import sys

import click

from image_similarity.case import Case, is_there
from image_similarity.cli import evidence, options, output, progress
from image_similarity.cli.merge import merge
from image_similarity.cli.options import Talk
from image_similarity.cli.traces import purge_thumbnails, traces
from image_similarity.errors import UsageError
from image_similarity.values import CaseFacts, Location

FACTS = {
    "number": "The number of the case.",
    "examiner": "Who examines.",
    "exhibit": "What is examined: an exhibit's number, a device.",
    "notes": "Anything else that should stand on reports.",
}

facts = options.together(
    *(click.option(f"--{name}", metavar="TEXT", help=text) for name, text in FACTS.items())
)


@click.group(context_settings=options.CONTEXT)
def case() -> None:
    """Say what a case is; reports print it."""


case.add_command(merge)
case.add_command(traces)
case.add_command(purge_thumbnails)


@case.command()
@options.created_database
@facts
@options.output_format("table", "json")
@options.talk
@click.pass_obj
def new(talk: Talk, /, database: Location, form: str, **said: str | None) -> None:
    """Create the database of a case and say its facts.

    On a terminal it asks for those that no option gives; Enter leaves one out.
    """
    if is_there(database):
        raise UsageError(f"{database} exists already", hint="image-similarity case set changes it")
    if sys.stdin.isatty():
        said = {
            name: click.prompt(name, default="", show_default=False, err=True)
            if value is None
            else value
            for name, value in said.items()
        }
    _set(talk, database, said, form)


@case.command("set")
@options.database
@facts
@options.output_format("table", "json")
@options.talk
@click.pass_obj
def set_facts(talk: Talk, /, database: Location, form: str, **said: str | None) -> None:
    """Change facts of a case.

    Those that are not named stay; "" takes one back. The audit chain keeps what stood before.
    """
    if all(value is None for value in said.values()):
        raise click.UsageError(f"Give at least one of --{', --'.join(FACTS)}.")
    evidence.require_database(database)
    _set(talk, database, said, form)


@case.command()
@options.database
@options.output_format("table", "json")
@options.talk
@click.pass_obj
def show(talk: Talk, /, database: Location, form: str) -> None:
    """Show the facts of a case."""
    with (
        progress.listener(talk) as on_event,
        Case.open(database, read_only=True, on_event=on_event) as opened,
    ):
        _print(opened.facts(), form)


def _set(talk: Talk, database: Location, said: dict[str, str | None], form: str) -> None:
    given = {name: value for name, value in said.items() if value is not None}
    with progress.listener(talk) as on_event, Case.open(database, on_event=on_event) as opened:
        _print(opened.set_facts(**given), form)


def _print(found: CaseFacts, form: str) -> None:
    if form == "json":
        output.emit(found)
    else:
        output.pairs([(name, getattr(found, name) or None) for name in FACTS])
