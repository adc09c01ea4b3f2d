"""`analyse ann`: an index for approximate searches, beside the database."""

from __future__ import annotations

from pathlib import Path

import click

from image_similarity.case import Case
from image_similarity.cli import evidence, options, output, progress
from image_similarity.cli.options import Talk
from image_similarity.values import Location


@click.command(context_settings=options.CONTEXT)
@options.database
@options.model()
@click.option(
    "-o",
    "--output",
    "target",
    type=options.PATH,
    metavar="FILE",
    help="The index; an earlier one is replaced.  [default: DB.MODEL.ann]",
)
@click.option(
    "--recall",
    type=float,
    default=0.999,
    show_default=True,
    metavar="X",
    help="The recall@10 to aim at; more takes longer to search.",
)
@click.option(
    "--seed",
    type=int,
    default=1,
    show_default=True,
    metavar="N",
    help="Draws the vectors that are held aside to measure it.",
)
@options.output_format("table", "json")
@options.talk
@click.pass_obj
def ann(
    talk: Talk,
    /,
    database: Location,
    model: str | None,
    target: Path | None,
    recall: float,
    seed: int,
    form: str,
) -> int:
    """Build an index for approximate searches.

    For `query --index`. How often it finds what an exact search finds is measured with stored vectors that are held
    aside, and printed. It is of one state of the database: a search with it is refused once vectors were added.
    """
    with (
        progress.listener(talk) as on_event,
        Case.open(database, read_only=True, on_event=on_event) as case,
    ):
        # The default lies beside the database, which may itself lie anywhere but in evidence.
        written = target or database
        if isinstance(written, Path):
            evidence.refuse_inside_sources(written, [case])
        found = case.build_ann(target, model=model, recall=recall, seed=seed, on_event=on_event)
    if form == "json":
        output.emit(found)
        return 0
    output.pairs(
        [
            ("index", f"{found.path} ({output.size(found.size_bytes)})"),
            ("model", f"{found.model} ({found.fingerprint[:12]})"),
            ("vectors", f"{found.vectors} of {found.dim} numbers"),
            ("effort", found.effort),
            (
                "recall@10",
                f"{found.recall:.4f} against the exact search, over {found.queries} queries",
            ),
        ]
    )
    if found.recall < recall:
        output.note(f"the recall aimed at, {recall:g}, was not reached")
    return 0
