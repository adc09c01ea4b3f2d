"""`db`: the state of a database, its upgrade, verification and copy."""

from __future__ import annotations

from pathlib import Path

import click

from image_similarity.case import Case
from image_similarity.cli import evidence, options, output, progress, verification
from image_similarity.cli.copy import copy
from image_similarity.cli.earlier import import_earlier
from image_similarity.cli.index_vectors import index_vectors
from image_similarity.cli.options import Talk
from image_similarity.errors import VerificationFailed
from image_similarity.values import DatabaseStatus, Location


@click.group(context_settings=options.CONTEXT)
def db() -> None:
    """Look after a database."""


db.add_command(copy)
db.add_command(import_earlier, "import")
db.add_command(index_vectors)


@db.command()
@options.database
@options.output_format("table", "json")
@options.talk
@click.pass_obj
def status(talk: Talk, /, database: Location, form: str) -> None:
    """Show what the database holds."""
    with (
        progress.listener(talk) as on_event,
        Case.open(database, read_only=True, on_event=on_event) as case,
    ):
        found = case.status()
    if form == "json":
        output.emit(found)
    else:
        _print_status(found)


@db.command()
@options.database
@click.option("--repair", is_flag=True, help="Make packs anew that differ from their rows.")
@options.talk
@click.pass_obj
def upgrade(talk: Talk, /, database: Location, repair: bool) -> None:
    """Bring an older database up to date.

    A copy of the old file is kept beside it. Packs that are missing are made, too.
    """
    evidence.require_database(database)
    with (
        progress.listener(talk) as on_event,
        Case.open(database, upgrade=True, on_event=on_event) as case,
    ):
        case.pack(repair=repair)
        found = case.status()
    output.line(f"{found.path}: schema {found.revision}, up to date")


@db.command()
@options.database
@click.option("--rehash", is_flag=True, help="Read every file again and compare its hash.")
@click.option(
    "--against",
    metavar="FILE",
    type=options.PATH,
    help="Compare with the hashes of the acquisition: hashdeep, md5sum and its kin, or bare hashes.",
)
@click.option(
    "--source",
    "sources",
    multiple=True,
    metavar="NAME",
    help="The source that the list of --against is of; may be repeated.",
)
@options.output_format("table", "json")
@options.talk
@click.pass_obj
def verify(
    talk: Talk,
    /,
    database: Location,
    rehash: bool,
    against: Path | None,
    sources: tuple[str, ...],
    form: str,
) -> int:
    """Check the records, or the files as well.

    With --rehash every file is compared with the hash of the time it was first indexed, with --against what is recorded
    is compared with a list of hashes that was made when the evidence was acquired.
    """
    if sources and against is None:
        raise click.UsageError("--source says what --against is of; give both.")
    with (
        progress.listener(talk) as on_event,
        Case.open(database, read_only=True, on_event=on_event) as case,
    ):
        report = case.verify(rehash=rehash, on_event=on_event)
        compared = None if against is None else case.verify_against(against, sources=sources)
    verification.show(report, compared, form)
    clean = report.clean and (compared is None or compared.clean)
    return 0 if clean else VerificationFailed.exit_code


@db.command()
@click.argument("destination", metavar="DEST", type=options.PATH)
@options.database
@options.talk
@click.pass_obj
def backup(talk: Talk, /, destination: Path, database: Location) -> None:
    """Copy the database to a new file.

    The copy is consistent even while a run writes. DEST must not exist.
    """
    with (
        progress.listener(talk) as on_event,
        Case.open(database, read_only=True, on_event=on_event) as case,
    ):
        evidence.refuse_inside_sources(destination, [case])
        output.line(str(case.backup(destination)))


def _print_status(found: DatabaseStatus) -> None:
    last = found.last_run
    skipped = ", ".join(f"{kind} {number}" for kind, number in sorted(found.skipped.items()))
    output.pairs(
        [
            ("database", found.path),
            ("schema", f"{found.revision} (this program: {found.head})"),
            ("size", output.size(found.size)),
            ("pictures", found.images),
            ("places", f"{found.files}, and {found.gone} where they are no longer"),
            ("failures", found.failures),
            ("not searched", skipped or "nothing"),
            (
                "last run",
                f"{last.run_id} ({last.status}) over {last.source}, {last.started_at}"
                if last
                else None,
            ),
        ]
    )
    output.line()
    output.table(
        ("model", "fingerprint", "dim", "vectors", "scenes"),
        [
            (
                m.name,
                m.fingerprint[:12],
                m.dim,
                found.embeddings.get(m.fingerprint, 0),
                len(m.scenes),
            )
            for m in found.models
        ],
    )
    output.line()
    output.table(
        ("source", "places", "pictures", "failures", "gone", "folder"),
        [(s.name, s.files, s.images, s.failures, s.gone, s.root) for s in found.sources],
    )
