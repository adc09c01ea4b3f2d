"""From decoded pictures to unit vectors and scene probabilities."""

from __future__ import annotations

from pathlib import Path

# Here and not in a module: a search looks for what lies beside these weights, and needs nothing else of this room.
BUILTIN_WEIGHTS = Path(__file__).parent / "weights" / "builtin.safetensors"
