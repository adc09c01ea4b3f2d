"""What is made of a case as a whole."""

from __future__ import annotations

from image_similarity.case.record import Record


class Analysing(Record):
    """Neighbours of everything, codebooks, reductions, maps."""
