"""`calibrate`: learn what a model's distances are worth from groups of pictures that the user knows."""

from __future__ import annotations

from pathlib import Path

import click

from image_similarity.case import Case
from image_similarity.cli import evidence, options, output, progress
from image_similarity.cli.options import Talk
from image_similarity.errors import CalibrationRefused
from image_similarity.reports import meaning
from image_similarity.values import Location


@click.command(context_settings=options.CONTEXT)
@click.option(
    "--groups",
    required=True,
    type=options.PATH,
    metavar="CSV",
    help='A list with the header "path,group"; 200 groups of two or more pictures at least.',
)
@options.database
@options.model()
@click.option(
    "--same",
    metavar="TEXT",
    help='What the pictures of a group have in common: "both pictures show the same room".',
)
@click.option(
    "-o",
    "--output",
    "target",
    required=True,
    type=options.PATH,
    metavar="FILE.json",
    help="The calibration, a new file, for `query --calibration`.",
)
@options.output_format("table", "json")
@options.talk
@click.pass_obj
def calibrate(
    talk: Talk,
    /,
    groups: Path,
    database: Location,
    model: str | None,
    same: str | None,
    target: Path,
    form: str,
) -> int:
    """Learn likelihood ratios from groups of pictures.

    The groups are your own: pictures of which you know that they show one room, one object, one scene of crime. All
    must be indexed. The result belongs to one model, and says nothing of collections unlike yours.
    """
    from image_similarity.calibration.files import write_calibration

    if same is not None and not (0 < len(same) <= 500 and same.isprintable()):
        raise click.UsageError("--same takes one line of at most 500 characters.")
    with (
        progress.listener(talk) as on_event,
        Case.open(database, read_only=True, on_event=on_event) as case,
    ):
        evidence.refuse_inside_sources(target, [case])
        if target.exists():
            raise CalibrationRefused(f"{target} exists already", hint="name a new file")
        found = case.calibrate(groups, model=model, same=same)
    write_calibration(target, found)
    if form == "json":
        output.emit(found)
        return 0
    output.pairs(
        [
            ("model", f"{found.model} ({found.fingerprint[:12]})"),
            ("groups", f"{found.groups}, of {found.pictures} pictures"),
            (
                "pairs",
                f"{found.same_pairs} of one group, {found.different_pairs} of different ones",
            ),
            ("C_llr", f"{found.cllr:.3f} ({found.cllr_low:.3f} to {found.cllr_high:.3f})"),
            ("C_llr_min", f"{found.cllr_min:.3f}"),
            ("log10 LR", f"{found.intercept:.3f} {found.slope:+.3f} x distance"),
            ("bounds", f"{-found.bound:.2f} to {found.bound:.2f}"),
        ]
    )
    output.line(meaning.calibration_text(found))
    output.note(f"calibration: {target}")
    return 0
