"""Training, distilling and measuring the built-in multiscale network."""

from __future__ import annotations
