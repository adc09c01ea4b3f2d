"""`models`: which models can be used, which are stored, whether one works as recorded, and a card for one more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from image_similarity.case import Case
from image_similarity.cli import model_check, options, output
from image_similarity.cli.models_add import add
from image_similarity.cli.options import Talk
from image_similarity.errors import ModelError, WeightsMissing
from image_similarity.reports import meaning
from image_similarity.reports.rows import plain
from image_similarity.settings import BUILTIN
from image_similarity.values import DistanceTable, Location, ModelInfo


@click.group(context_settings=options.CONTEXT)
def models() -> None:
    """List, describe, check and add models."""


models.add_command(add)


@models.command("list")
@options.optional_database
@options.output_format("table", "json")
@options.talk
@click.pass_obj
def list_models(talk: Talk, /, database: Location | None, form: str) -> None:
    """List the models that can be named.

    With -dp also those that the database holds vectors of.
    """
    found = _registered() + ([] if database is None else _stored(database))
    if form == "json":
        for each in found:
            output.emit(each)
        return
    columns = ("name", "dim", "scenes", "weights", "fingerprint", "licence")
    output.table(columns, [[each[column] for column in columns] for each in found])


@models.command()
@click.argument("name")
@click.option(
    "--weights", type=options.PATH, metavar="FILE", help="Its weights file, if not the usual one."
)
@options.output_format("table", "json")
@options.talk
@click.pass_obj
def show(talk: Talk, /, name: str, weights: Path | None, form: str) -> None:
    """Show all that is recorded of a model.

    NAME may be a weights file that carries its card.
    """
    from image_similarity.encoding import registry

    try:
        spec = registry.get(name, weights=weights)
        fingerprint = registry.info(spec).fingerprint
    except WeightsMissing:
        spec, fingerprint = registry.describe(name), None
    table = _distances(spec, fingerprint)
    card = {**_card(spec), "fingerprint": fingerprint, "distances": plain(table)}
    if reduction := _reduction(spec):
        card["reduction"] = reduction
    if form == "json":
        output.emit(card)
        return
    scenes = card.pop("scenes")
    if reduction:
        card["reduction"] = ", ".join(f"{key} {value}" for key, value in reduction.items())
    shown = card | {
        "centre": "yes" if card["centre"] else "no",
        "scenes": len(scenes),
        "golden": ", ".join(card["golden"]) or "none",
        "distances": f"pairs: {meaning.table_text(table)}" if table else "no reference table",
    }
    output.pairs(list(shown.items()))
    for scene in scenes:
        output.line(f"  {scene}")


@models.command()
@click.argument("name", default=BUILTIN)
@click.option(
    "--weights", type=options.PATH, metavar="FILE", help="Its weights file, if not the usual one."
)
@options.optional_database
@options.device
@options.runtime
@options.talk
@click.pass_obj
def check(
    talk: Talk,
    /,
    name: str,
    weights: Path | None,
    database: Location | None,
    device: str,
    runtime: str,
) -> None:
    """Load a model and try it.

    Its weights are as recorded, its vectors have length 1, and one picture gives the same answer twice, also alone;
    pictures that are shipped for the purpose come out, pixels and vectors, as its card records. NAME is builtin unless
    given. With -dp its fingerprint is also compared with the one stored under its name.
    """
    passed = model_check.check(name, weights=weights, device=device, runtime=runtime)
    info = passed.info
    if database is not None:
        model_check.compare(info, _models_of(database))
    output.line(f"ok: {info.name} ({info.fingerprint[:12]}), weights SHA-256 {info.weights_sha256}")
    output.line(f"ran in: {passed.runtime} on {passed.device}")
    said = f"{passed.golden} pictures as recorded" if passed.golden else "none in its card"
    output.line(f"golden record: {said}")


def _registered() -> list[dict[str, Any]]:
    from image_similarity.encoding import registry

    return [_row(name, registry) for name in registry.model_names()]


def _row(name: str, registry: Any) -> dict[str, Any]:
    """One registered model; whether its weights are there is a column, not an error."""
    row = {
        "name": name,
        "dim": None,
        "scenes": 0,
        "weights": "missing",
        "fingerprint": None,
        "licence": "",
    }
    try:
        spec = registry.describe(name)
        row |= {"dim": spec.dim, "scenes": len(spec.scenes), "licence": spec.licence}
        info = registry.info(registry.get(name))
        row |= {"weights": "present", "fingerprint": info.fingerprint[:12]}
    except WeightsMissing:
        pass
    except ModelError as error:
        row["weights"] = str(error)
    return row


def _stored(database: Location) -> list[dict[str, Any]]:
    return [
        {
            "name": info.name,
            "dim": info.dim,
            "scenes": len(info.scenes),
            "weights": f"stored in {database}",
            "fingerprint": info.fingerprint[:12],
            "licence": info.licence,
        }
        for info in _models_of(database)
    ]


def _models_of(database: Location) -> list[ModelInfo]:
    with Case.open(database, read_only=True) as case:
        return case.models()


def _distances(spec: Any, fingerprint: str | None) -> DistanceTable | None:
    """The reference table beside the weights, if it is of these weights."""
    from image_similarity.calibration.files import read_table, table_path

    table = read_table(table_path(spec.weights)) if spec.weights else None
    return table if table is not None and table.fingerprint == fingerprint else None


def _reduction(spec: Any) -> dict[str, Any]:
    """What `analyse reduce` measured of a reduction; empty for any other model."""
    from image_similarity.encoding import reductions

    return reductions.described(spec.weights) if reductions.kind_of(spec) else {}


def _card(spec: Any) -> dict[str, Any]:
    card: dict[str, Any] = plain(spec)
    del card["build"]  # the function of a plug-in
    card["golden"] = [
        picture["name"] for picture in card["golden"]
    ]  # their numbers tell a reader nothing
    return card
