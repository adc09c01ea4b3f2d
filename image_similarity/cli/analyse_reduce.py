"""`analyse reduce`: a model's vectors in fewer numbers, as a model of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from image_similarity.case import Case
from image_similarity.cli import account, evidence, options, output, progress
from image_similarity.cli.options import Talk
from image_similarity.cli.signals import Stop
from image_similarity.values import Location, ReductionInfo


@click.command(context_settings=options.CONTEXT)
@click.argument("kind", metavar="pca|autoencoder", type=click.Choice(["pca", "autoencoder"]))
@options.database
@options.model()
@click.option(
    "-o",
    "--output",
    "path",
    required=True,
    type=options.PATH,
    metavar="FILE",
    help="The new model, ending in .safetensors; -m takes it.",
)
@click.option(
    "--dim", type=int, default=64, show_default=True, metavar="N", help="Numbers in a vector."
)
@click.option("--whiten", is_flag=True, help="pca: divide each coordinate by its deviation.")
@click.option(
    "--epochs",
    type=int,
    default=40,
    show_default=True,
    metavar="N",
    help="autoencoder: rounds over the vectors, at most.",
)
@click.option(
    "--seed",
    type=int,
    default=1,
    show_default=True,
    metavar="N",
    help="Draws what is held aside, and the autoencoder's beginning.",
)
@click.option("--name", metavar="NAME", help="The new model's name.  [default: the file's]")
@click.option("--no-store", is_flag=True, help="Only write the model, no vectors.")
@click.option("--force", is_flag=True, help="Let -o replace an earlier reduction.")
@options.output_format("table", "json")
@options.talk
@click.pass_obj
def reduce(
    talk: Talk, /, database: Location, path: Path, no_store: bool, form: str, **given: Any
) -> int:
    """Learn to say a model's vectors in fewer numbers.

    By principal axes (pca) or a small network (autoencoder), on the vectors in the database. What it loses is measured
    on pictures that are held aside, and printed. Every stored picture then gets its vector of the new model.
    """
    evidence.require_database(database)
    with (
        Stop(as_json=talk.progress == "json") as stop,
        progress.listener(talk) as on_event,
        Case.open(database, read_only=no_store, on_event=on_event) as case,
    ):
        info = case.reduce(path=path, on_event=on_event, stop=stop, **given)
        if info is None:
            output.note("Stopped; nothing was written.")
            return stop.exit_code
        _print(info, form)
        if no_store:
            return 0
        reports = case.derive(path, on_event=on_event, stop=stop)
        if form != "json":
            for report in reports:
                output.line(account.derived_line(report))
        if stop():
            output.note(f"Stopped; image-similarity analyse derive {path} -dp {database} goes on.")
            return stop.exit_code
        return account.exit_code(reports, stop.exit_code)


def _print(info: ReductionInfo, form: str) -> None:
    if form == "json":
        output.emit(info)
        return
    apart = f"{info.error_held_aside:.2%} of the variance on {info.held_aside} held aside"
    output.pairs(
        [
            ("model", f"{info.model} ({info.fingerprint[:12]})"),
            ("file", f"{info.path} ({output.size(info.size_bytes)})"),
            ("vectors", f"{info.dim} numbers of {info.base_dim} of {info.base}"),
            ("lost", f"{apart}, {info.error_learned:.2%} on the {info.learned_on} learned on"),
            *([("epoch kept", info.epochs)] if info.kind == "autoencoder" else []),
            (
                "recall@10",
                f"{info.recall:.4f} against the full vectors, over {info.queries} queries held aside"
                f" among {info.gallery}",
            ),
        ]
    )
