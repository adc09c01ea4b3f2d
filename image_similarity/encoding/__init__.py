"""From decoded pictures to unit vectors and scene probabilities."""

from __future__ import annotations

from image_similarity.encoding.registry import model_names

__all__ = ["model_names"]
