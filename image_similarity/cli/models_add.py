"""`models add`: the card for a weights file that carries none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from image_similarity.cli import model_check, options, output
from image_similarity.cli.options import Talk
from image_similarity.reports import target

NUMBERS = (float, float, float)


@click.command(context_settings=options.CONTEXT)
@click.argument("weights", metavar="FILE|NAME")
@click.option(
    "--architecture",
    metavar="NAME",
    help="torchvision/NAME or timm/NAME; an .onnx file needs none.",
)
@click.option("--layer", metavar="NAME", help="The layer to take; of an .onnx file the output.")
@click.option(
    "--pool", metavar="gap|gem|flatten", help="How a map becomes a vector; gap if a layer is named."
)
@click.option(
    "--normalisation",
    type=click.Choice(["l2", "none"]),
    default="l2",
    show_default=True,
    help="Vectors of length 1, or as the network gives them.",
)
@click.option(
    "--metric",
    type=click.Choice(["euclidean", "cosine"]),
    default="euclidean",
    show_default=True,
    help="What is recorded of how they are compared.",
)
@click.option(
    "--name", metavar="NAME", help="What the model is called.  [default: the file's name]"
)
@click.option("--size", type=int, metavar="N", help="The side of its pictures.")
@click.option("--fit", type=click.Choice(["squash", "crop"]), help="Squash them, or cut them out.")
@click.option("--resize", type=int, metavar="N", help="With crop: the short side before the cut.")
@click.option(
    "--interpolation", type=click.Choice(["bicubic", "bilinear"]), help="How they shrink."
)
@click.option("--mean", type=NUMBERS, metavar="R G B", help="Taken off values from 0 to 1.")
@click.option("--std", type=NUMBERS, metavar="R G B", help="What they are then divided by.")
@click.option(
    "-o",
    "--output",
    "copy",
    type=options.PATH,
    metavar="FILE.safetensors",
    help="Write a copy of the weights with the card inside, instead of a card beside them.",
)
@click.option("--force", is_flag=True, help="Replace an earlier card, or copy.")
@options.output_format("table", "json")
@options.talk
@click.pass_obj
def add(
    talk: Talk, /, weights: str, copy: Path | None, force: bool, form: str, **wishes: Any
) -> None:
    """Write the card that makes a weights file a model.

    FILE is one of torchvision's or timm's (.pth, .safetensors) or a network (.onnx); NAME a network whose weights lie
    in the weights folder. It is loaded and tried on pictures before anything is written; the length of its vectors is
    measured.
    """
    from image_similarity.encoding import new_card, registry
    from image_similarity.encoding.card import card_path

    wishes["name"] = wishes["name"] or (copy.stem if copy else None)
    spec = new_card.propose(weights, new_card.Wishes(**wishes))
    written = copy or card_path(spec.weights)  # type: ignore[arg-type]
    if copy:
        new_card.refuse_copy(spec.weights, copy)  # type: ignore[arg-type]
    else:
        new_card.refuse_read_only(spec.weights)  # type: ignore[arg-type]
    target.refuse_existing(written, mark="architecture", overwrite=force)
    model_check.check_spec(spec, device="cpu", runtime="auto")
    if copy:
        spec = new_card.write_copy(spec, copy)
    else:
        new_card.write_beside(spec)
    info = registry.info(spec)
    preprocess = info.preprocess
    found = {
        "name": info.name,
        "fingerprint": info.fingerprint,
        "architecture": info.architecture,
        "layer": spec.layer,
        "dim": info.dim,
        "normalisation": info.normalisation,
        "metric": info.metric,
        "pictures": f"{preprocess.size} x {preprocess.size}, {preprocess.fit}, {preprocess.interpolation}",
        "mean": " ".join(f"{each:g}" for each in preprocess.mean),
        "std": " ".join(f"{each:g}" for each in preprocess.std),
        "weights": str(spec.weights),
        "written": str(written),
    }
    if form == "json":
        output.emit(found)
        return
    output.pairs([*found.items(), ("use it with", f"-m {spec.weights}")])
