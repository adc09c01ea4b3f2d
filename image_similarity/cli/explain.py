"""`explain`: why two pictures came out as similar, as a picture."""

from __future__ import annotations

from pathlib import Path

import click

from image_similarity.case import Case
from image_similarity.cli import evidence, options, output, progress
from image_similarity.cli.options import Talk
from image_similarity.values import Location


@click.command(context_settings=options.CONTEXT)
@click.argument("query")
@click.argument("hit")
@click.option(
    "-o",
    "--output",
    "target",
    required=True,
    type=options.PATH,
    metavar="FILE.png",
    help="The picture to write.",
)
@options.database
@options.model()
@click.option(
    "--method",
    type=click.Choice(["auto", "points", "occlusion"]),
    default="auto",
    show_default=True,
    help="Matched points (needs the extra match) or a heat map; auto takes points where there are enough.",
)
@options.device
@options.runtime
@click.option("--force", is_flag=True, help="Replace an earlier explanation.")
@options.output_format("table", "json")
@options.talk
@click.pass_obj
def explain(
    talk: Talk,
    /,
    query: str,
    hit: str,
    target: Path,
    database: Location,
    model: str | None,
    method: str,
    device: str,
    runtime: str,
    force: bool,
    form: str,
) -> int:
    """Show side by side why two pictures came out as similar.

    QUERY and HIT are pictures on disk, places as hits print them, or the SHA-256 of indexed pictures.

    What is shown is a documented lead for examination, never a finding.
    """
    from image_similarity.explain.draw import MARK
    from image_similarity.explain.words import lines, side_lines
    from image_similarity.reports.target import refuse_existing

    with (
        progress.listener(talk) as on_event,
        Case.open(database, read_only=True, on_event=on_event) as case,
    ):
        evidence.refuse_inside_sources(target, [case])
        refuse_existing(target, mark=MARK, overwrite=force)
        found = case.explain(
            query,
            hit,
            target,
            model=model,
            method=method,
            device=device,
            runtime=runtime,
            on_event=on_event,
        )
        refused = case.record_export(
            "picture", target, query=found.query.sha256, hit=found.hit.sha256
        )
    if refused:
        output.note(refused)
    if form == "json":
        output.emit(found)
    else:
        for text in [
            *side_lines("query", found.query),
            *side_lines("hit", found.hit),
            *lines(found),
        ]:
            output.line(text)
    output.note(f"picture: {target}")
    return 0
