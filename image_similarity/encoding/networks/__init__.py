"""Networks that this project defines itself."""

from __future__ import annotations
