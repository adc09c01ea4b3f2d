"""Write the figures of `image-similarity evaluate --json FILE` into the card of a model file.

    image-similarity evaluate MINIPLACES/val.txt --class-names MINIPLACES/categories.txt -m MODEL --json val.json
    python scripts/evaluate_builtin.py val=val.json copies=copies.json [--model MODEL]

They stand in the card under the names given. All must be given at once: another card is another fingerprint, and
figures of another fingerprint are refused.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from image_similarity.encoding import registry  # noqa: E402
from image_similarity.encoding.card import read_card  # noqa: E402
from image_similarity.evaluation import read_evaluation  # noqa: E402
from image_similarity.training.export import rewrite_card  # noqa: E402

WEIGHTS = ROOT / "image_similarity" / "encoding" / "weights" / "builtin.safetensors"


def figures_of(result: Path, fingerprint: str) -> dict[str, list[float]]:
    """Return value, low and high of every figure of one model."""
    found = [each for each in read_evaluation(result).models if each.fingerprint == fingerprint]
    if not found:
        sys.exit(f"{result} has no figures of a model with fingerprint {fingerprint[:12]}")
    return {
        f"{each.task}: {each.measure}": [round(v, 4) for v in (each.value, each.low, each.high)]
        for each in found[0].figures
        if each.value is not None and each.low is not None and each.high is not None
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", nargs="+", metavar="PART=FILE", help="a name and its result")
    parser.add_argument("--model", type=Path, default=WEIGHTS)
    arguments = parser.parse_args()
    fingerprint = registry.info(registry.get(str(arguments.model))).fingerprint
    card = read_card(arguments.model) or {}
    figures = dict(card.get("figures", {}))
    for each in arguments.results:
        part, _, result = each.partition("=")
        figures[part] = figures_of(Path(result), fingerprint)
        print(f"{part}: {len(figures[part])} figures, each with its interval")
    rewrite_card(arguments.model, card | {"figures": figures})


if __name__ == "__main__":
    main()
