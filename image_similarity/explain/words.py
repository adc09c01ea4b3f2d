"""An explanation in words: the same below its picture and on the terminal."""

from __future__ import annotations

from image_similarity import __version__
from image_similarity.matching.pdq import MAX_DISTANCE, MIN_QUALITY
from image_similarity.reports.meaning import as_close_text
from image_similarity.values import ExplainedPicture, Explanation

# How many scenes are named of one picture, and of both.
_SCENES, _SHARED = 3, 5


def side_lines(which: str, picture: ExplainedPicture) -> list[str]:
    """Return what is said of one of the two pictures: its name, its beginning of SHA-256, size and scenes."""
    scenes = ", ".join(f"{each.name} ({each.probability:.2f})" for each in picture.scenes[:_SCENES])
    known = "already indexed" if picture.indexed else "not indexed"
    return [
        f"{which}: {picture.label}",
        f"SHA-256 {picture.sha256[:12]}, {picture.width} x {picture.height}, {known}",
        f"scenes: {scenes or 'none known'}",
    ]


def lines(found: Explanation) -> list[str]:
    """Return what was measured of the pair, by which method it is explained, and how that is to be read."""
    model = f"{found.model.name} ({found.model.fingerprint[:12]})"
    reference = f" (reference pairs: {found.reference})" if found.as_close else ""
    alike = "" if found.similarity is None else f", similarity {found.similarity:.4f}"
    return [
        f"distance {found.distance:.4f}{alike}; model {model}",
        *([f"{as_close_text(found.as_close)}{reference}"] if found.as_close else []),
        f"identical content: {'yes' if found.identical else 'no'}; {_pdq(found)}",
        f"scenes that both may show: {_shared(found)}",
        f"method: {_method(found)}",
        f"A lead for examination, never a finding. image_similarity {__version__}",
    ]


def _pdq(found: Explanation) -> str:
    if found.pdq_distance is None:
        return "PDQ distance: not known (needs the extra pdq)"
    said = f"PDQ distance {found.pdq_distance} of 256 bits"
    if (found.pdq_quality or 0) < MIN_QUALITY:
        return f"{said}, of no weight: a quality of {found.pdq_quality} is too low"
    return f"{said}, {'a' if found.pdq_distance <= MAX_DISTANCE else 'not a'} near duplicate"


def _shared(found: Explanation) -> str:
    both = found.shared_scenes
    named = ", ".join(
        f"{name} ({here:.2f} and {there:.2f})" for name, here, there in both[:_SHARED]
    )
    return (named or "none") + (f", and {len(both) - _SHARED} more" if len(both) > _SHARED else "")


def _method(found: Explanation) -> str:
    if found.method == "matched points":
        return (
            f"matched points; {len(found.points)} local features of both are explained by one {found.geometry}. "
            "The model's distance does not rest on them: they are a second opinion"
        )
    hottest = [
        max((cell for row in each.heat for cell in row), default=0.0)
        for each in (found.query, found.hit)
    ]
    side = len(found.query.heat)
    why = f" ({found.note})" if found.note else ""
    return (
        f"occlusion{why}; each of {side} x {side} parts was hidden in turn: the redder, the more the distance to "
        f"the other picture rises, by at most {hottest[0]:+.3f} (query) and {hottest[1]:+.3f} (hit). It says what the "
        "model used, not what that shows"
    )
