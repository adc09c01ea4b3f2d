"""The time as it is recorded."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> str:
    """The time in UTC as ISO 8601 text with Z, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
