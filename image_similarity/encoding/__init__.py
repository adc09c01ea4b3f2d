"""From decoded pictures to unit vectors and scene probabilities."""

from __future__ import annotations
