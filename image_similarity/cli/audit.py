"""`audit`: the chain of what was done to a database: shown, its head to be kept elsewhere, and checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from image_similarity.case import Case
from image_similarity.cli import evidence, options, output, progress
from image_similarity.cli.options import Talk
from image_similarity.errors import VerificationFailed
from image_similarity.values import AuditEntry, AuditReport, Location

# Of what an entry tells, a table shows this much.
SHOWN = 160


@click.group(context_settings=options.CONTEXT)
def audit() -> None:
    """Show and check what was done to a database."""


@audit.command()
@options.database
@click.option("--last", type=click.IntRange(min=1), metavar="N", help="Only the last N entries.")
@options.output_format("table", "json")
@options.talk
@click.pass_obj
def show(talk: Talk, /, database: Location, last: int | None, form: str) -> None:
    """Show the entries of the audit chain, oldest first.

    The list of the rows that a batch wrote is left out, but for their count and digest.
    """
    with (
        progress.listener(talk) as on_event,
        Case.open(database, read_only=True, on_event=on_event) as case,
    ):
        found = case.audit(last)
    if form == "json":
        for entry in found:
            output.emit(_row(entry))
        return
    output.table(
        ("entry", "at", "actor", "action", "what"),
        [(e.number, e.at, e.actor, e.action, _told(e.detail)) for e in found],
    )


@audit.command()
@options.database
@click.option("-o", "--output", "target", type=options.PATH, metavar="FILE", help="A new file.")
@options.talk
@click.pass_obj
def head(talk: Talk, /, database: Location, target: Path | None) -> None:
    """Give the head of the chain, to be kept elsewhere.

    A cut end, or a chain that was written anew, is found only against a head that was out of reach of whoever did it:
    on another machine, on paper, in a report that was handed over.
    """
    from image_similarity.records import heads

    with (
        progress.listener(talk) as on_event,
        Case.open(database, read_only=True, on_event=on_event) as case,
    ):
        kept = case.kept_head()
        if target is None:
            output.emit(kept)
            return
        evidence.refuse_inside_sources(target, [case])
        output.line(str(heads.write_head(kept, target)))
        refused = case.record_export("head", target, number=kept.number)
    if refused:
        output.note(refused)


@audit.command()
@options.database
@click.option(
    "--head",
    "kept",
    type=options.PATH,
    metavar="FILE",
    help="A head that was kept elsewhere, as `audit head` gave it.",
)
@options.output_format("table", "json")
@options.talk
@click.pass_obj
def verify(talk: Talk, /, database: Location, kept: Path | None, form: str) -> int:
    """Check the chain, every row that it seals, and that no row stands beside it.

    Without --head a cut end and a chain that was written anew look like any other.
    """
    with (
        progress.listener(talk) as on_event,
        Case.open(database, read_only=True, on_event=on_event) as case,
    ):
        report = case.verify_audit(head=kept, on_event=on_event)
    if form == "json":
        output.emit({"consistent": report.consistent, "report": report})
    else:
        _print(report)
    return 0 if report.consistent else VerificationFailed.exit_code


def _print(report: AuditReport) -> None:
    for each in report.findings:
        output.line(f"{each.kind:8}  {each.message}")
    for run_id in report.open_runs:
        output.line(f"run {run_id} has not ended; what it closed is not sealed yet")
    entries = "1 entry" if report.entries == 1 else f"{report.entries} entries"
    counted = f"{entries}, {output.count(report.rows, 'sealed row')}"
    if not report.consistent:
        output.line(f"NOT consistent: {output.count(len(report.findings), 'finding')}; {counted}")
        return
    output.line(f"internally consistent: {counted}")
    if report.kept is None:
        output.line(
            "No head was given (--head): a cut end or a chain written anew would not have been found."
        )
    else:
        since = f" of {report.kept.at}" if report.kept.at else ""
        output.line(
            f"It holds entry {report.kept.number}{since}, the head that was kept elsewhere."
        )
    if report.head is not None:
        output.line(f"head: entry {report.head.number}, {report.head.digest}")


def _row(entry: AuditEntry) -> dict[str, Any]:
    names = ("number", "at", "actor", "action")
    told = {name: getattr(entry, name) for name in names}
    return {
        **told,
        "detail": _short(entry.detail),
        "previous": entry.previous,
        "digest": entry.digest,
    }


def _short(detail: str) -> Any:
    """What an entry tells, without the list of rows."""
    try:
        said = json.loads(detail)
        for each in said.get("rows", ()):
            each.pop("rows", None)
    except (ValueError, TypeError, AttributeError):
        return detail
    return said


def _told(detail: str) -> str:
    said = _short(detail)
    if isinstance(said, dict) and "rows" in said:
        said["rows"] = ", ".join(f"{each['count']} {each['table']}" for each in said["rows"])
    text = said if isinstance(said, str) else json.dumps(said, ensure_ascii=True)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
