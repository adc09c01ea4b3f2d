"""What a picture is, where it was found, and why a file could not be taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Stage = Literal["walk", "stat", "read", "decode", "embed"]


@dataclass(frozen=True, slots=True)
class Digests:
    """The three hashes of a file's bytes, lower-case hexadecimal, taken from the same read that is decoded."""

    sha256: str
    sha1: str
    md5: str


@dataclass(frozen=True, slots=True)
class PictureFacts:
    """What the decoder learned of a picture; width and height in pixels after EXIF orientation."""

    width: int
    height: int
    format: str
    mime: str
    partial: bool = False
    exif: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that could not be taken, and why. `path` is relative to the source, in text form.

    `sha256` is that of its bytes, where they could be read.
    """

    path: str
    stage: Stage
    error: str
    message: str
    source: str = ""
    size: int | None = None
    mtime_ns: int | None = None
    run_id: int | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file left out by a rule (not a picture, excluded, a special file); `kind` says what it seemed to be."""

    path: str
    rule: str
    kind: str
    size: int | None = None
    mtime_ns: int | None = None


@dataclass(frozen=True, slots=True)
class SceneScore:
    """A scene label with its probability in [0, 1]."""

    name: str
    probability: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model says that a picture shows: its classes, the most probable first. No database need hold it."""

    path: str
    sha256: str
    partial: bool
    labels: tuple[SceneScore, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a content was found: a source, its root folder, and the path below it in text form.

    Times are those of the file system before the file was opened, `atime_ns` as far as it was read from the database.
    """

    source: str
    root: str
    path: str
    first_seen: str
    mtime_ns: int | None = None
    gone_since: str | None = None
    atime_ns: int | None = None

    @property
    def full_path(self) -> str:
        """The path on disk, in text form."""
        return f"{self.root.rstrip('/')}/{self.path}"


@dataclass(frozen=True, slots=True)
class Decision:
    """What an examiner said of a content, or of a query and a hit; it holds for identical content wherever it lies.

    `kind` is "tag", "note", "category", or "verdict" of a pair, whose `value` is "relevant" or "irrelevant" and whose
    query is `query_sha256`. `name` is what `review` calls it by: "m7", of a pair "p7". `withdrawn_at` is None while
    it stands. `place` is where the content lies, "source:path"; in lists of decisions only.
    """

    name: str
    kind: str
    value: str
    sha256: str
    at: str
    actor: str
    query_sha256: str = ""
    withdrawn_at: str | None = None
    place: str = ""


@dataclass(frozen=True, slots=True)
class KnownHash:
    """A list of known files that holds one of the hashes of a content.

    `algorithm` is "sha256", "sha1" or "md5", the strongest that the list has of it; other files can be made with the
    MD5, and at some cost with the SHA-1, of a given one. `category` is the list's own word; empty if it has none.
    """

    list: str
    algorithm: str
    category: str = ""


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One content, with every place that holds or held it; the first place is the one to show.

    `decisions` are those that stand, oldest first; `known` are the hash lists that hold it.
    """

    sha256: str
    sha1: str
    md5: str
    size: int
    width: int
    height: int
    format: str
    mime: str
    partial: bool
    exif: Mapping[str, Any]
    places: tuple[Place, ...] = ()
    scenes: tuple[SceneScore, ...] = ()
    decisions: tuple[Decision, ...] = ()
    known: tuple[KnownHash, ...] = ()

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags that stand, in alphabetical order."""
        return tuple(sorted(each.value for each in self.decisions if each.kind == "tag"))

    @property
    def category(self) -> str:
        """The examiner's category, or an empty text."""
        return next((each.value for each in self.decisions if each.kind == "category"), "")


@dataclass(frozen=True, slots=True)
class Mount:
    """How evidence was mounted during a run: where, whether read-only, and when access times are written.

    "off" never, "relative" seldom (relatime), "on" at every reading; on a read-only mount never, whatever it says.
    """

    point: str
    read_only: bool
    access_times: str


@dataclass(frozen=True, slots=True)
class Source:
    """A folder that was indexed, by name, with the number of its live places, contents and open failures."""

    name: str
    root: str
    created_at: str
    files: int
    images: int
    failures: int
    gone: int
