"""The one error of this room: a file that cannot be read or decoded, told in one line without its path."""

from __future__ import annotations

from image_similarity.values import Stage

_LONGEST = 500


class PictureError(Exception):
    """A file could not be read or decoded; the caller records it as a `values.Failure` and goes on.

    `error` is a short class name, `message` one printable line that does not name the file.
    """

    def __init__(self, stage: Stage, error: str, message: str) -> None:
        line = "".join(c if c.isprintable() else " " for c in message[:_LONGEST])
        self.stage: Stage = stage
        self.error = error
        self.message = " ".join(line.split()) or error
        super().__init__(self.message)
