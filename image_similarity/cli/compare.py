"""`compare`: two models on the same queries, with paired differences."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from image_similarity.cli import account, options, output, progress
from image_similarity.cli.options import Talk
from image_similarity.cli.task_options import task_options
from image_similarity.reports.rows import plain

if TYPE_CHECKING:
    from image_similarity.evaluation.bootstrap import Difference
    from image_similarity.evaluation.compare import Comparison
    from image_similarity.evaluation.results import Evaluation, ModelResult


@click.command(context_settings=options.CONTEXT)
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option(
    "--on",
    "pictures",
    type=options.PATH,
    metavar="DIR|LIST",
    help="A and B are models: measure both on these pictures first.",
)
@task_options
@options.output_format("table", "json")
@options.talk
@click.pass_obj
def compare(
    talk: Talk, /, first: str, second: str, pictures: Path | None, form: str, **given: Any
) -> int:
    """Compare model B with model A, measured on the same queries.

    A and B are results of `evaluate --json`: FILE.json, or FILE.json#MODEL if it holds several. With --on or --pairs
    they are models, which are measured first.

    A difference is B less A. Queries that B does better are won; p is that of a randomisation test.
    """
    from image_similarity.evaluation.compare import check_same_task
    from image_similarity.evaluation.compare import compare as paired

    code = 0
    if pictures or given["pairs"]:
        one, other, code = _measured(talk, first, second, pictures, given)
    else:
        _refuse_idle(given)
        one_run, one = _read(first)
        other_run, other = _read(second)
        check_same_task(one_run, other_run)
    found = paired(one, other, resamples=given["resamples"], seed=given["seed"])
    if form == "json":
        for each in (*found.differences, *found.regressions):
            output.emit({"first": found.first, "second": found.second, **plain(each)})
    else:
        _show(found)
    return code


def _refuse_idle(given: dict[str, Any]) -> None:
    """Refuse options that say what to measure on where results are given: they would change nothing."""
    context = click.get_current_context()
    for name in given.keys() - {"seed", "resamples"}:
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            option = "--" + name.replace("_", "-")
            raise click.UsageError(f"{option} goes with --on or --pairs; A and B are results.")


def _measured(
    talk: Talk, first: str, second: str, pictures: Path | None, given: dict[str, Any]
) -> tuple[ModelResult, ModelResult, int]:
    """Both models, measured, and the exit code for files that could not be."""
    from image_similarity.evaluation import EvaluationRequest, evaluate

    request = EvaluationRequest(models=(first, second), pictures=pictures, **given)
    with progress.listener(talk) as on_event:
        evaluation = evaluate(request, on_event=on_event)
    for model in evaluation.models:
        output.note(f"{model.name}: {model.training}")
    for note in dict.fromkeys(evaluation.notes):
        output.note(f"note: {note}")
    return (
        evaluation.models[0],
        evaluation.models[-1],
        account.say_not_evaluated(evaluation.failures),
    )


def _read(argument: str) -> tuple[Evaluation, ModelResult]:
    """A result file and the model in it that is meant."""
    from image_similarity.evaluation import read_evaluation

    path, mark, name = argument.partition(".json#")
    evaluation = read_evaluation(Path(f"{path}.json" if mark else argument))
    if not mark and len(evaluation.models) != 1:
        names = ", ".join(f"{argument}#{each.name}" for each in evaluation.models)
        raise click.UsageError(f"{argument} holds several models; name one: {names}")
    return evaluation, evaluation.model(name) if mark else evaluation.models[0]


def _show(found: Comparison) -> None:
    output.line(f"A: {found.first}    B: {found.second}", bold=True)
    columns = ("task", "per cent", "A", "B", "B - A", "p", "won", "lost", "tied")
    output.table(columns, [_row(each) for each in found.differences])
    tasks = dict.fromkeys(each.task for each in found.regressions)
    for task in tasks:
        output.line(f"{task}: where B is worse than A", bold=True)
        for each in found.regressions:
            if each.task == task:
                output.line(f"  {100 * each.loss:5.1f}  {each.query}")


def _row(each: Difference) -> list[Any]:
    if each.first is None or each.second is None or each.difference is None:
        return [each.task, each.measure, *[None] * 7]
    interval = ""
    if each.low is not None and each.high is not None:
        interval = f" [{100 * each.low:+.1f}, {100 * each.high:+.1f}]"
    return [
        each.task,
        each.measure,
        f"{100 * each.first:.1f}",
        f"{100 * each.second:.1f}",
        f"{100 * each.difference:+.1f}{interval}",
        None if each.p is None else f"{each.p:.2g}",
        each.won,
        each.lost,
        each.tied,
    ]
