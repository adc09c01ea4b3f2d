#!/usr/bin/env python3
"""Fetch the published weights of a torchvision model into the weights folder.

    python scripts/fetch_weights.py torchvision/resnet50

This is the only place that uses the network, and it is never called by the program. The address
comes from torchvision itself; the file's SHA-256 is printed, and must begin as its name promises.
Copy the file to an isolated machine, into the folder that is printed.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from image_similarity.encoding import registry, weights
from image_similarity.encoding.torchvision_import import import_torchvision
from image_similarity.errors import ImageSimilarityError


def published_address(name: str) -> str:
    """Return torchvision's address of exactly the file that the model's spec was written for."""
    spec = registry.describe(name)
    family, _, trunk = spec.architecture.partition("/")
    if family != "torchvision":
        raise SystemExit(f"{name} is no model of torchvision; there is nothing to fetch.")
    for entry in import_torchvision().models.get_model_weights(trunk):
        if spec.origin.endswith(PurePosixPath(entry.url).name):
            return str(entry.url)
    raise SystemExit(f"This torchvision does not know the file of {name}: {spec.origin}")


def fetch(name: str, folder: Path, opener: Callable[[str], Any] = urllib.request.urlopen) -> Path:
    """Download a model's weights into the folder and return the path; a wrong file is removed."""
    address = published_address(name)
    promised = re.search(r"-([0-9a-f]{8,})\.pth$", address)
    if promised is None or not address.startswith("https://"):
        raise SystemExit(f"The address carries no hash to check: {address}")
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{registry.weights_file_name(name)}.pth"
    part = target.with_suffix(".part")
    try:
        print(f"Fetching {address}", file=sys.stderr)
        with opener(address) as answer, part.open("wb") as file:
            shutil.copyfileobj(answer, file, 2**20)
        digest = weights.sha256_of(part)
        print(f"{digest}  {target}")
        if not digest.startswith(promised[1]):
            raise SystemExit(f"Not the file that its name promises ({promised[1]}): removed.")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return target


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", metavar="torchvision/NAME")
    parser.add_argument("--folder", type=Path, default=weights.weights_folder())
    chosen = parser.parse_args(arguments)
    for name in chosen.models:
        try:
            fetch(name, chosen.folder)
        except (ImageSimilarityError, OSError) as error:
            raise SystemExit(f"{name}: {error} {getattr(error, 'hint', '')}".rstrip()) from error


if __name__ == "__main__":
    main()
