"""`train`: a model from one's own pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from image_similarity.cli import account, options, output, train_options, train_progress
from image_similarity.cli.options import Talk
from image_similarity.cli.signals import Stop
from image_similarity.settings import BUILTIN
from image_similarity.training.recipe import Figures, Recipe, TrainingReport


@click.command(context_settings=options.CONTEXT)
@click.argument("folder", metavar="DIR", type=options.PATH)
@click.option(
    "-o",
    "--output",
    "target",
    metavar="FILE",
    required=True,
    type=options.PATH,
    help="The model's file, ending in .safetensors; -m takes it.",
)
@options.model()
@train_options.recipe_options
@click.option("--name", metavar="NAME", help="The model's name.  [default: the file's]")
@click.option(
    "--work", type=options.PATH, metavar="DIR", help="Checkpoints.  [default: FILE with .work]"
)
@click.option("--keep-anyway", is_flag=True, help="Write the best epoch even if none was better.")
@click.option("--force", is_flag=True, help="Let -o replace an earlier file.")
@options.device
@click.option("--threads", type=int, metavar="N", help="Threads that calculate.")
@options.output_format("table", "json")
@options.talk
@click.pass_obj
def train(
    talk: Talk,
    /,
    folder: Path,
    target: Path,
    model: str | None,
    form: str,
    name: str | None,
    work: Path | None,
    keep_anyway: bool,
    force: bool,
    device: str,
    threads: int | None,
    **given: Any,
) -> int:
    """Train a model on the pictures in DIR, one folder for each place or thing.

    Some groups are kept apart to validate on; the best epoch is kept, and only if it beats the start model. Stopped
    with Ctrl-C, the same command goes on where it was.
    """
    recipe = Recipe(model=model or BUILTIN, **given)
    recipe.check()  # before torch is loaded
    from image_similarity.training.own_training import train as train_model

    with (
        Stop(as_json=talk.progress == "json") as stop,
        train_progress.listener(talk) as on_event,
    ):
        report = train_model(
            folder,
            target,
            recipe,
            work=work,
            name=name,
            device=device,
            threads=threads,
            anyway=keep_anyway,
            force=force,
            on_event=on_event,
            stop=stop,
        )
    if form == "json":
        output.emit(report)
    else:
        _print(report)
    if report.status == "interrupted":
        output.note("Stopped; run the same command again to go on.")
        return stop.exit_code
    if report.status == "no better":
        output.note(
            "No epoch was better than the start model: no model was written. The same command with "
            "--keep-anyway writes the best epoch at once."
        )
        return 1
    return account.PARTIAL if report.failures else 0


def _print(report: TrainingReport) -> None:
    """Print the account: what was trained on, each epoch's figures, and what was written."""
    if report.groups == 0:  # stopped before anything was known
        return
    skipped = sum(report.skipped.values())
    output.line(
        f"{output.count(report.training, 'picture')} to train on and {report.validation} to "
        f"validate on, of {output.count(report.groups, 'group')}; left out of the validation "
        f"{report.left_out} as copies, near-duplicates or known to the start model, of all "
        f"{report.copies} as exact copies; "
        f"unreadable {len(report.failures)}, skipped {skipped}"
    )
    if report.start is None:
        return
    rows: list[tuple[object, ...]] = [("start", None, *_shares(report.start), "")]
    for epoch in report.epochs:
        best = "best" if epoch.number == report.best_epoch else ""
        rows.append((str(epoch.number), epoch.loss, *_shares(epoch.figures), best))
    output.table(("epoch", "loss", "recall@1", "MAP@R", ""), rows)
    if report.classes is not None:
        said = report.classes
        shares = "none could be held aside to measure them"
        if said.top_1 is not None and said.top_5 is not None:
            shares = (
                f"the right one first for {said.top_1:.1%} of {output.count(said.measured, 'picture')}"
                f" held aside, among five for {said.top_5:.1%}"
            )
        output.line(f"{said.classes} classes: {shares}")
    if report.model is not None:
        output.line(f"wrote {report.model} and {report.split}")


def _shares(figures: Figures) -> tuple[float, float]:
    return figures.recall_at_1, figures.map_at_r
