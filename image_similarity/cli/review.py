"""`review`: what examiners decide of pictures and hits; each decision is an entry of the audit chain."""

from __future__ import annotations

import sys
from typing import Any

import click

from image_similarity.case import Case
from image_similarity.cli import evidence, options, output, progress
from image_similarity.cli.options import Talk
from image_similarity.reports.rows import plain, write_csv
from image_similarity.values import Decision, Location

COLUMNS = (
    "name",
    "kind",
    "value",
    "sha256",
    "at",
    "actor",
    "query_sha256",
    "withdrawn_at",
    "place",
)


@click.group(context_settings=options.CONTEXT)
def review() -> None:
    """Tag pictures, note and categorise them, and judge hits.

    A decision is of a content: it holds for every copy, also for one that is found later. PICTURE and HIT are a path on
    disk, a path as hits print it, or a SHA-256, of an indexed picture.
    """


def _decide(talk: Talk, database: Location, picture: str, kind: Any, *values: str) -> None:
    evidence.require_database(database)
    with progress.listener(talk) as on_event, Case.open(database, on_event=on_event) as case:
        for value in values:
            _say(case.decide(picture, kind, value), f"{kind} {value!r}")


def _say(decision: Decision | None, what: str) -> None:
    if decision is None:
        output.line(f"{what} was said before")
    else:
        pair = f" for query {decision.query_sha256[:12]}" if decision.query_sha256 else ""
        said = f"{decision.kind} {decision.value!r} of {decision.sha256[:12]}{pair}"
        output.line(f"{decision.name}: {said}")


@review.command("tag")
@click.argument("picture")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@options.database
@options.talk
@click.pass_obj
def tag(talk: Talk, /, picture: str, names: tuple[str, ...], database: Location) -> None:
    """Give PICTURE one or more tags."""
    _decide(talk, database, picture, "tag", *names)


@review.command("note")
@click.argument("picture")
@click.argument("text")
@options.database
@options.talk
@click.pass_obj
def note(talk: Talk, /, picture: str, text: str, database: Location) -> None:
    """Write a note on PICTURE, one line of text."""
    _decide(talk, database, picture, "note", text)


@review.command("category")
@click.argument("picture")
@click.argument("value")
@options.database
@options.talk
@click.pass_obj
def category(talk: Talk, /, picture: str, value: str, database: Location) -> None:
    """Put PICTURE into a category.

    A picture has one; a new one takes the place of the one before.
    """
    _decide(talk, database, picture, "category", value)


def _judge(talk: Talk, database: Location, query: str, hit: str, verdict: Any) -> None:
    evidence.require_database(database)
    with progress.listener(talk) as on_event, Case.open(database, on_event=on_event) as case:
        _say(case.judge(query, hit, verdict), f"verdict {verdict!r}")


@review.command("relevant")
@click.argument("query")
@click.argument("hit")
@options.database
@options.talk
@click.pass_obj
def relevant(talk: Talk, /, query: str, hit: str, database: Location) -> None:
    """Judge HIT relevant for QUERY.

    QUERY is a picture on disk, which need not be indexed, or is named as HIT is.
    """
    _judge(talk, database, query, hit, "relevant")


@review.command("irrelevant")
@click.argument("query")
@click.argument("hit")
@options.database
@options.talk
@click.pass_obj
def irrelevant(talk: Talk, /, query: str, hit: str, database: Location) -> None:
    """Judge HIT irrelevant for QUERY.

    It does not come back for this query; each answer says how many were left out so. QUERY is a picture on disk, which
    need not be indexed, or is named as HIT is.
    """
    _judge(talk, database, query, hit, "irrelevant")


@review.command("withdraw")
@click.argument("names", metavar="DECISION...", nargs=-1, required=True)
@options.database
@options.talk
@click.pass_obj
def withdraw(talk: Talk, /, names: tuple[str, ...], database: Location) -> None:
    """Withdraw decisions.

    DECISION is its name in `review list`, such as m7 or p2. It stays on record, with the time; all are withdrawn, or
    none.
    """
    evidence.require_database(database)
    with progress.listener(talk) as on_event, Case.open(database, on_event=on_event) as case:
        for decision in case.withdraw(*names):
            output.line(f"{decision.name}: {decision.kind} {decision.value!r} withdrawn")


@review.command("list")
@options.database
@click.option("--tag", metavar="NAME", help="Only of pictures with this tag.")
@click.option("--withdrawn", is_flag=True, help="Also decisions that were withdrawn.")
@options.output_format("table", "json", "csv")
@options.talk
@click.pass_obj
def list_decisions(
    talk: Talk, /, database: Location, tag: str | None, withdrawn: bool, form: str
) -> None:
    """List decisions, of pictures first, oldest first."""
    with (
        progress.listener(talk) as on_event,
        Case.open(database, read_only=True, on_event=on_event) as case,
    ):
        found = case.decisions(tag=tag, withdrawn=withdrawn)
    if form == "json":
        for each in found:
            output.emit(each)
    elif form == "csv":
        write_csv(map(plain, found), sys.stdout, COLUMNS)
    else:
        columns = ["name", "decision", "value", "query", "picture", "at", "by"]
        columns += ["withdrawn"] if withdrawn else []
        output.table(columns, [_cells(each)[: len(columns)] for each in found])


def _cells(decision: Decision) -> list[object]:
    return [
        decision.name,
        decision.kind,
        decision.value,
        decision.query_sha256[:12] or None,
        decision.place,
        decision.at,
        decision.actor,
        decision.withdrawn_at,
    ]
