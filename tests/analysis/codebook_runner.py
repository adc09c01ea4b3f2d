"""Builds of codebooks in processes that kill themselves; the imports are made once, by a server that forks."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

from image_similarity.analysis import codebook_features, codebook_work
from image_similarity.case import Case

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    ["__main__", __name__, "image_similarity.analysis.codebook", "sklearn.cluster"]
)

# Pictures in a piece, so that twenty of them make five.
CHUNK = 4
SETTINGS: dict[str, Any] = {"words": 10, "dims": 2, "device": "cpu"}


def _build(database: Path, target: Path, model: Path, pieces: int | None) -> None:
    codebook_features.CHUNK = CHUNK
    really_put = codebook_work.Work.put
    written: list[str] = []

    def put(self: codebook_work.Work, name: str, arrays: codebook_work.Arrays) -> None:
        if len(written) == pieces:
            os.kill(os.getpid(), signal.SIGKILL)
        really_put(self, name, arrays)
        written.append(name)

    def remove(self: codebook_work.Work) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    codebook_work.Work.put = put  # type: ignore[method-assign]
    codebook_work.Work.remove = remove  # type: ignore[method-assign]
    with Case.open(database, read_only=True) as case:
        case.build_codebook(target, model=str(model), **SETTINGS)


def build_killed(database: Path, target: Path, model: Path, *, pieces: int | None) -> int | None:
    """Build until so many pieces are written, or until the file is; give the exit code of the killed process."""
    process = _context.Process(target=_build, args=(database, target, model, pieces))
    process.start()
    process.join(120)
    code = process.exitcode
    process.kill()
    return code
