"""`train`: a model from one's own pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from image_similarity.cli import account, options, output, train_progress
from image_similarity.cli.options import Talk
from image_similarity.cli.signals import Stop
from image_similarity.settings import BUILTIN
from image_similarity.training.recipe import LOSSES, Figures, Recipe, TrainingReport

DEFAULT = Recipe()


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
@click.option(
    "--groups",
    type=options.PATH,
    metavar="CSV",
    help="Groups from a file with the columns path and group, not from the first folders in DIR.",
)
@click.option(
    "--unlabelled", is_flag=True, help="No groups: learn to find edited copies of each picture."
)
@click.option(
    "--head",
    type=int,
    metavar="N",
    help="Keep the model as it is and train only a linear map to N numbers; fast.",
)
@click.option("--from-scratch", is_flag=True, help="The model's network, from random weights.")
@click.option("--loss", type=click.Choice(LOSSES), default=DEFAULT.loss, show_default=True)
@click.option("--margin", type=float, metavar="X", default=DEFAULT.margin, show_default=True)
@click.option("--epochs", type=int, metavar="N", default=DEFAULT.epochs, show_default=True)
@click.option("--batch-size", type=int, metavar="N", default=DEFAULT.batch_size, show_default=True)
@click.option(
    "--pictures-per-group",
    type=int,
    metavar="N",
    default=DEFAULT.pictures_per_group,
    show_default=True,
    help="How many pictures of a batch come from one group.",
)
@click.option(
    "--learning-rate",
    type=float,
    metavar="X",
    help="The highest.  [default: 0.001 for a head or from scratch, else 0.0001]",
)
@click.option("--size", type=int, metavar="N", help="Side of the pictures.  [default: the model's]")
@click.option("--seed", type=int, metavar="N", default=DEFAULT.seed, show_default=True)
@click.option(
    "--distil-from",
    "teacher",
    metavar="MODEL",
    type=options.ModelName(),
    help="Also learn which pictures this model finds alike.",
)
@click.option(
    "--distil-weight",
    "teacher_weight",
    type=float,
    metavar="X",
    default=DEFAULT.teacher_weight,
    show_default=True,
)
@click.option(
    "--validation-share",
    type=float,
    metavar="X",
    default=DEFAULT.validation_share,
    show_default=True,
    help="Share of the groups that is never trained on.",
)
@click.option(
    "--near-duplicate",
    type=float,
    metavar="X",
    default=DEFAULT.near_duplicate,
    show_default=True,
    help="Leave out validation pictures with this cosine to one that is trained on.",
)
@click.option("--name", metavar="NAME", help="The model's name.  [default: the file's]")
@click.option("--licence", default="", metavar="TEXT", help="The model's licence, for its card.")
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
    skipped = sum(report.skipped.values())
    output.line(
        f"{output.count(report.training, 'picture')} to train on and {report.validation} to "
        f"validate on, of {output.count(report.groups, 'group')}; left out of the validation "
        f"{report.left_out} as copies or near-duplicates, of all {report.copies} as exact copies; "
        f"unreadable {len(report.failures)}, skipped {skipped}"
    )
    if report.start is None:
        return
    rows: list[tuple[object, ...]] = [("start", None, *_shares(report.start), "")]
    for epoch in report.epochs:
        best = "best" if epoch.number == report.best_epoch else ""
        rows.append((str(epoch.number), epoch.loss, *_shares(epoch.figures), best))
    output.table(("epoch", "loss", "recall@1", "MAP@R", ""), rows)
    if report.model is not None:
        output.line(f"wrote {report.model} and {report.split}")


def _shares(figures: Figures) -> tuple[float, float]:
    return figures.recall_at_1, figures.map_at_r
