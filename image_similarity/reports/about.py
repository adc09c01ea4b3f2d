"""What every report says beside its pictures: the case, what was searched and what was not, and the audit head."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from image_similarity import __version__
from image_similarity.values import CaseFacts, Coverage, RunReport, Selection

CAUTION = "Documented leads for examination, never findings."

# The newest of them stand in a report; the database has them all.
RUNS_SHOWN = 20
# More hashes that were chosen are counted, not listed.
HASHES_SHOWN = 20

_KINDS = {
    "archive": "Archives, not opened",
    "video": "Videos, no frame of which was looked at",
    "document": "Documents; pictures inside them were not looked at",
    "audio": "Sound files",
    "empty": "Empty files",
    "folder": "Folders that were excluded, with all below them",
    "file": "Files that were excluded",
    "link": "Links to folders, and links that lead nowhere; not followed",
    "special": "Special files, such as pipes and devices",
    "database": "Our own database",
    "other": "Files that are no pictures",
}
# These are said also where there were none: whoever reads must not have to guess.
_ALWAYS = ("archive", "video", "document")

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Part:
    """A titled list of names and values; a name may be empty, where it is that of the line before."""

    title: str
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True)
class About:
    """All that a report says beside its pictures.

    `what` is "search", "selection" or "whole case", `asked` what was asked for, `strength` the lines that explain
    statements of strength and name their reference set, `extent` how many pictures the report holds of how many.
    `written` is a time as ISO 8601.
    """

    what: str
    asked: tuple[Pair, ...]
    extent: str
    coverages: tuple[Coverage, ...]
    written: str
    strength: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The heading of the report."""
        return f"Report of a {self.what}"


def parts(about: About) -> list[Part]:
    """Return the parts in the order in which they are read; the audit head is the last."""
    return [
        Part("Case", tuple(_case(about.coverages))),
        Part("This report", tuple(_report(about))),
        *_of_each(about.coverages, "What was searched", _searched),
        *_of_each(about.coverages, "What was not searched", _not_searched),
        *_of_each(about.coverages, "Audit chain", _audit),
    ]


def lines(about: About) -> list[str]:
    """Return the parts as lines of text, for formats that hold no more than that."""
    said = []
    for part in parts(about):
        said.append(f"{part.title}:")
        name = ""
        for label, value in part.pairs:
            name = label or name
            said.append(f"{name}: {value}")
    return said


def selection_pairs(selection: Selection) -> tuple[Pair, ...]:
    """Return what was chosen, as names and values."""
    chosen = (
        ("Tag", " or ".join(selection.tags)),
        ("Source", " or ".join(selection.sources)),
        ("Below", selection.under or ""),
        ("Most probable scene", " or ".join(selection.scenes)),
        ("SHA-256", _hashes(selection.sha256s)),
        ("Places that are gone", "included" if selection.include_gone else "left out"),
    )
    return tuple(pair for pair in chosen if pair[1])


def _hashes(sha256s: Sequence[str]) -> str:
    """The hashes that were chosen; of many their number, as each picture has its own in the report."""
    if len(sha256s) > HASHES_SHOWN:
        return f"one of {len(sha256s)} that were chosen one by one"
    return " or ".join(sha256s)


def _of_each(
    coverages: Sequence[Coverage], title: str, said: Callable[[Coverage], Iterator[Pair]]
) -> Iterator[Part]:
    """One part for each database, which is named where there are several."""
    for each in coverages:
        where = f": {each.status.path}" if len(coverages) > 1 else ""
        yield Part(title + where, tuple(said(each)))


def _case(coverages: Sequence[Coverage]) -> Iterator[Pair]:
    """The facts of each case once; where they differ, each says of which databases it is."""
    paths: dict[CaseFacts, list[str]] = {}
    for each in coverages:
        paths.setdefault(each.facts, []).append(each.status.path)
    said = False
    for facts, of in paths.items():
        where = f" ({', '.join(of)})" if len(paths) > 1 else ""
        for label, value in (
            ("Number", facts.number),
            ("Examiner", facts.examiner),
            ("Exhibit", facts.exhibit),
            ("Notes", facts.notes),
        ):
            if value:
                said = True
                yield label + where, value
    if not said:
        yield "Number", "not stated"


def _report(about: About) -> Iterator[Pair]:
    yield "Holds", f"a {about.what}: {about.extent}"
    yield from about.asked
    for number, text in enumerate(about.strength):
        yield ("" if number else "What a distance means"), text
    yield "Written", f"{about.written} by image_similarity {__version__}"
    yield "Caution", CAUTION


def _searched(coverage: Coverage) -> Iterator[Pair]:
    status = coverage.status
    yield "Database", f"{status.path}, schema {status.revision}"
    yield "Pictures", f"{status.images} contents at {status.files} places"
    for number, source in enumerate(status.sources):
        yield (
            "" if number else "Source",
            f"{source.name}: {source.root}; {source.images} contents at {source.files} places, "
            f"{source.failures} failures, {source.gone} places gone",
        )
    for number, model in enumerate(status.models):
        vectors = status.embeddings.get(model.fingerprint, 0)
        scenes = f", {len(model.scenes)} scenes" if model.scenes else ""
        yield (
            "" if number else "Model",
            f"{model.name}, fingerprint {model.fingerprint}; {vectors} vectors{scenes}",
        )
    for number, run in enumerate(coverage.runs[:RUNS_SHOWN]):
        yield ("" if number else "Run"), _run(run)
    if len(coverage.runs) > RUNS_SHOWN:
        yield "", f"and {len(coverage.runs) - RUNS_SHOWN} earlier ones (`runs list`)"


def _run(run: RunReport) -> str:
    return (
        f"{run.run_id} ({run.kind}) over {run.source}, {run.started_at} to {run.finished_at or '?'}, {run.status}: "
        f"{run.seen} files seen, {run.new} new contents, {run.duplicate} copies, {run.unchanged} unchanged, "
        f"{run.failed} failed, {sum(run.skipped.values())} left out" + _mount(run)
    )


def _mount(run: RunReport) -> str:
    """How the evidence was mounted, where the system said it."""
    if run.mount is None:
        return ""
    return f"; evidence mounted {'read-only' if run.mount.read_only else 'writable'}"


def _not_searched(coverage: Coverage) -> Iterator[Pair]:
    status = coverage.status
    yield "Deleted data", "never: only files that the file system lists were read"
    yield from _left_out(status.skipped)
    stages = _counts(coverage.failed)
    yield "Could not be read", f"{status.failures}" + (f" ({stages})" if stages else "")
    yield "Decoded only in part", f"{coverage.partial}; what could be decoded was compared"
    several = _counts(coverage.several_frames)
    yield (
        "Later frames and pages",
        "never: of each picture the first one was looked at. Formats that can hold several: "
        + (f"{several} (how many do is not recorded)" if several else "none"),
    )
    yield "Places that are gone", f"{status.gone}"


def _left_out(skipped: Mapping[str, int]) -> Iterator[Pair]:
    for kind in dict.fromkeys([*_ALWAYS, *_KINDS, *sorted(skipped)]):
        if kind in _ALWAYS or skipped.get(kind):
            yield _KINDS.get(kind, f"Left out: {kind}"), f"{skipped.get(kind, 0)}"


def _counts(of: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(of.items()))


def _audit(coverage: Coverage) -> Iterator[Pair]:
    head = coverage.head
    if head is None:
        yield "Audit head", "no audit entries"
    else:
        yield "Audit head", f"entry {head.number} of {head.at}, SHA-256 {head.digest}"
