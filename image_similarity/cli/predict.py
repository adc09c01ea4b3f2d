"""`predict`: which classes a model sees in pictures, with their probabilities; no database is needed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from image_similarity.cli import account, options, output, progress
from image_similarity.cli.options import Talk
from image_similarity.cli.progress import failure_line
from image_similarity.cli.signals import Stop
from image_similarity.reports import rows
from image_similarity.settings import BUILTIN
from image_similarity.values import Failure, ModelInfo, Prediction, Skipped

COLUMNS = ("path", "sha256", "rank", "label", "probability", "partial", "model", "fingerprint")


@click.command(context_settings=options.CONTEXT)
@click.argument("pictures", metavar="IMAGE|DIR...", nargs=-1, required=True, type=options.PATH)
@options.model()
@click.option(
    "-k", "k", type=int, default=5, show_default=True, metavar="N", help="Classes for each picture."
)
@options.device
@options.runtime
@options.output_format("table", "json", "csv")
@options.talk
@click.pass_obj
def predict(
    talk: Talk,
    /,
    pictures: tuple[Path, ...],
    model: str | None,
    k: int,
    device: str,
    runtime: str,
    form: str,
) -> int:
    """Say which classes a model predicts for pictures.

    Each IMAGE, and each picture in DIR, with the most probable classes: the scenes of builtin, or the folders that
    a model was trained on with `train --classes`.

    A class is predicted by the model; it is a lead for examination, never a finding.
    """
    from image_similarity.analysis.predict import Predictor

    failures, skipped, shown = 0, 0, _Shown(form)
    with Stop(as_json=talk.progress == "json") as stop, progress.listener(talk) as on_event:
        predictor = Predictor(model or BUILTIN, device=device, runtime=runtime)
        for said in predictor.predict(pictures, k=k, on_event=on_event, stop=stop):
            if isinstance(said, Failure):
                failures += 1
                output.note(f"not predicted: {failure_line(said)}")
            elif isinstance(said, Skipped):
                skipped += 1
            else:
                shown.show(said, predictor.info)
        name = f"{predictor.info.name} ({predictor.info.fingerprint[:12]})"
        left = f", {skipped} skipped by rule" if skipped else ""
        output.note(
            f"predicted by the model {name}: {output.count(shown.number, 'picture')},"
            f" {failures} failed{left}"
        )
        if stop():
            return stop.exit_code
    return account.PARTIAL if failures or not shown.number else 0


class _Shown:
    """Writes one prediction after the other."""

    def __init__(self, form: str) -> None:
        self.number = 0
        self._form = form

    def show(self, said: Prediction, info: ModelInfo) -> None:
        """Write the classes of one picture."""
        if self._form == "json":
            output.emit({**rows.plain(said), "model": info.name, "fingerprint": info.fingerprint})
        elif self._form == "csv":
            rows.write_csv(_rows(said, info), sys.stdout, COLUMNS, header=not self.number)
        else:
            labels = ", ".join(f"{each.name} ({each.probability:.2f})" for each in said.labels)
            output.line(f"{said.path}: {labels}{' (partly decoded)' if said.partial else ''}")
        self.number += 1


def _rows(said: Prediction, info: ModelInfo) -> Iterator[dict[str, Any]]:
    for rank, label in enumerate(said.labels, 1):
        yield {
            "path": said.path,
            "sha256": said.sha256,
            "rank": rank,
            "label": label.name,
            "probability": label.probability,
            "partial": said.partial,
            "model": info.name,
            "fingerprint": info.fingerprint,
        }
