"""`evaluate`: how good models are, measured on labelled pictures, pairs or edited copies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from image_similarity.case import Case
from image_similarity.cli import account, evidence, options, output, progress
from image_similarity.cli.options import Talk
from image_similarity.cli.task_options import task_options
from image_similarity.reports.rows import plain
from image_similarity.settings import BUILTIN
from image_similarity.values import Location

if TYPE_CHECKING:
    from image_similarity.evaluation import Evaluation
    from image_similarity.evaluation.bootstrap import Figure


@click.command(context_settings=options.CONTEXT)
@click.argument("pictures", metavar="[DIR|LIST]", required=False, type=options.PATH)
@options.model(multiple=True)
@options.optional_database
@task_options
@click.option(
    "--json",
    "json_file",
    type=options.PATH,
    metavar="FILE",
    help="Write everything, also each query's outcome; `compare` reads it.",
)
@click.option("--plot", type=options.PATH, metavar="FILE.png", help="Draw the main figures.")
@options.output_format("table", "json")
@options.talk
@click.pass_obj
def evaluate(
    talk: Talk,
    /,
    pictures: Path | None,
    models: tuple[str, ...],
    json_file: Path | None,
    plot: Path | None,
    form: str,
    **given: Any,
) -> int:
    """Measure models and report with 95 % intervals.

    DIR has a folder for each class; LIST is a file with a path and a class on each line. With -dp the stored vectors of
    a database are measured. MODEL may also be histogram, pdq, or TorchScript files: a.ts, a.ts@160, a.ts+b.ts.

    A model that was trained on one of the pictures is refused.
    """
    from image_similarity.evaluation import EvaluationRequest, write_evaluation
    from image_similarity.evaluation import evaluate as measure
    from image_similarity.evaluation.plot import check_plot, write_plot

    if plot:
        check_plot()
    source = click.get_current_context().get_parameter_source("database")
    if (pictures or given["pairs"]) and source is click.core.ParameterSource.ENVIRONMENT:
        given["database"] = None  # the usual database is not meant where files are named
    # A database is measured with all that it holds, unless models are named.
    chosen = models or (() if given["database"] else (BUILTIN,))
    request = EvaluationRequest(models=chosen, pictures=pictures, **given)
    _check_targets((json_file, plot), given["database"])
    with progress.listener(talk) as on_event:
        evaluation = measure(request, on_event=on_event)
    if json_file:
        write_evaluation(evaluation, json_file)
    if plot:
        write_plot(evaluation, plot)
    if form == "json":
        for model in evaluation.models:
            for figure in model.figures:
                output.emit({"model": model.name, "training": model.training, **plain(figure)})
        for note in dict.fromkeys(evaluation.notes):
            output.note(f"note: {note}")
    else:
        show(evaluation)
    return account.say_not_evaluated(evaluation.failures)


def _check_targets(targets: tuple[Path | None, ...], database: Location | None) -> None:
    """Refuse a file that cannot be written, or not there, at once and not after an hour of measuring."""
    for target in targets:
        if target is None:
            continue
        if target.is_dir() or not target.parent.is_dir():
            raise click.UsageError(f"{target} cannot be written: it must be a file in a folder.")
        if database is not None:
            with Case.open(database, read_only=True) as case:
                evidence.refuse_inside_sources(target, [case])


def show(evaluation: Evaluation) -> None:
    """Print what was measured on, the figures of all models side by side, and what must be known of them."""
    setting = evaluation.setting
    shown = {
        key: value for key, value in setting.items() if value and key not in ("digest", "edits")
    }
    output.line(", ".join(f"{key} {value}" for key, value in shown.items()))
    names = [model.name for model in evaluation.models]
    rows: dict[tuple[str, str], dict[str, str]] = {}
    counts: dict[tuple[str, str], int] = {}
    for model in evaluation.models:
        for figure in model.figures:
            rows.setdefault((figure.task, figure.measure), {})[model.name] = percent(figure)
            counts[figure.task, figure.measure] = figure.queries
    output.table(
        ("task", "per cent", *names, "queries"),
        [[*key, *(row.get(name) for name in names), counts[key]] for key, row in rows.items()],
    )
    for model in evaluation.models:
        centred = ", centred" if model.centred else ""
        output.line(f"{model.name}: {model.training}{centred}")
    for note in dict.fromkeys(evaluation.notes):
        output.line(f"note: {note}")


def percent(figure: Figure) -> str:
    """Return a figure with its interval, in per cent."""
    if figure.value is None or figure.low is None or figure.high is None:
        return "-"
    return f"{100 * figure.value:.1f} [{100 * figure.low:.1f}, {100 * figure.high:.1f}]"
