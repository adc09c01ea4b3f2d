"""The versions of what a result may depend on."""

from __future__ import annotations

import platform
import sqlite3
from importlib.metadata import PackageNotFoundError, version

PACKAGES = (
    "onnxruntime",
    "torch",
    "torchvision",
    "numpy",
    "pillow",
    "pi-heif",
    "pdqhash",
    "sqlalchemy",
    "simsimd",
)


def installed() -> dict[str, str]:
    """The versions of Python, the system, SQLite and the packages that are installed; none is imported for it."""
    found = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "sqlite": sqlite3.sqlite_version,
    }
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
