"""`case merge`: two databases become one."""

from __future__ import annotations

import click

from image_similarity.case import Case
from image_similarity.cli import evidence, options, output, progress
from image_similarity.cli.options import Talk
from image_similarity.values import Location, MergeReport


@click.command(context_settings=options.CONTEXT)
@click.argument("other", metavar="OTHER", type=options.DATABASE)
@options.database
@click.option(
    "--prefix", default="", metavar="TEXT", help="Put before the names of the sources of OTHER."
)
@click.option(
    "--allow-models",
    is_flag=True,
    help="Take over also the vectors of models that DB lacks; they cannot be compared with its own.",
)
@options.output_format("table", "json")
@options.talk
@click.pass_obj
def merge(
    talk: Talk, /, other: Location, database: Location, prefix: str, allow_models: bool, form: str
) -> None:
    """Take the database OTHER into DB.

    All or nothing: every picture, place, run, failure and decision comes, and the audit chain of OTHER is kept whole.
    OTHER is only read. Both must have the same schema, and the same models unless --allow-models is given.
    """
    evidence.require_database(database)
    with progress.listener(talk) as on_event, Case.open(database, on_event=on_event) as case:
        report = case.merge(other, prefix=prefix, allow_models=allow_models, on_event=on_event)
    if form == "json":
        output.emit(report)
    else:
        _print(report)


def _print(report: MergeReport) -> None:
    output.line(
        f"{report.other}: merged into {report.database}, entry {report.entry} of its audit chain"
    )
    renamed = ", ".join(
        name if name == named else f"{name} as {named}" for name, named in report.sources
    )
    chain = f"up to entry {report.chain[0]}, head {report.chain[1]}" if report.chain else "none"
    output.pairs(
        [
            ("SHA-256", report.other_sha256),
            ("audit chain", chain),
            ("sources", renamed or "none"),
            ("runs", report.runs),
            ("pictures", f"{report.pictures} new, {report.pictures_in_both} in both"),
            ("places", report.places),
            ("failures", report.failures),
            ("vectors", _kept(report.vectors, report.vectors_otherwise)),
            ("scene labels", _kept(report.labels, report.labels_otherwise)),
            ("models", f"{report.models} new"),
            ("PDQ hashes", report.pdq),
            ("thumbnails", report.thumbnails),
            (
                "decisions",
                f"{report.decisions}, of them contradicting ours and withdrawn: {report.decisions_withdrawn}",
            ),
            ("hash lists", report.hash_lists),
        ]
    )


def _kept(new: int, otherwise: int) -> str:
    return f"{new} new" + (f"; {otherwise} that differ stay as they were" if otherwise else "")
