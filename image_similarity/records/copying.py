"""A database copied whole, to a file or to a server: with its ids, its history and its audit chain, checked at the end.

An unfinished copy is refused by every command but the same copy, which goes on where it was broken off.
"""

from __future__ import annotations

from contextlib import closing

from image_similarity.errors import VerificationFailed
from image_similarity.events import Listener, Progress, Started, ignore
from image_similarity.pictures.names import to_text
from image_similarity.records.merge import refuse_writing
from image_similarity.store import audit, chain, copying, runs, unfinished
from image_similarity.store.catalog import Catalog
from image_similarity.store.unfinished import Copying, Original
from image_similarity.values import CopyReport, KeptHead, Location


def copy_whole(catalog: Catalog, target: Location, *, on_event: Listener = ignore) -> CopyReport:
    """Copy a database; see `Case.copy`."""
    with catalog.reading() as source:
        running = [run.run_id for run in runs.reports(source) if run.status == "running"]
        refuse_writing(running, catalog.path)
        original = unfinished.original_of(source, to_text(str(catalog.path.absolute())))
        copy = unfinished.begin(original, target, on_event)
        on_event(Started(to_text(catalog.path.name), original.source, original.rows, "rows"))
        with closing(unfinished.opened(copy.place)) as made:
            with made.reading() as connection:
                resumed = done = sum(copying.count(connection).values())
            for portion in copying.move(source, lambda: copy.writing(made)):
                done += portion
                on_event(Progress(done, original.rows, 0, 0))
    _check(copy, original, on_event)
    copy = unfinished.move_into_place(copy, target)
    head = {"number": original.number, "digest": original.digest} if original.number else None
    detail = {"source": original.source, "head": head, "counts": dict(original.counts)}
    with closing(unfinished.opened(target)) as made, copy.writing(made) as connection:
        entry = audit.append(connection, "copied", detail)
        unfinished.end(connection)
    return CopyReport(
        source=str(catalog.path),
        database=str(target),
        entry=entry.number,
        chain=(original.number, original.digest) if original.number else None,
        rows=original.rows,
        resumed=resumed > 0,
        counts=dict(original.counts),
    )


def _check(copy: Copying, original: Original, on_event: Listener) -> None:
    """Compare the counts, and check the audit chain and all that it seals, as `audit verify` does.

    Raises:
        VerificationFailed: The copy is taken away.
    """
    kept = KeptHead(original.number, original.digest) if original.number else None
    with closing(unfinished.opened(copy.place)) as made:
        with made.reading() as connection:
            counts = copying.count(connection)
        wrong = [
            f"{counts[name]} rows of {name} instead of {number}"
            for name, number in original.counts.items()
            if counts[name] != number
        ]
        if not wrong:
            findings = chain.check(made, kept, on_event=on_event).findings
            wrong = [finding.message for finding in findings]
    if wrong:
        unfinished.discard(copy)
        raise VerificationFailed(
            f"the copy of {original.source} does not agree with its audit chain: {wrong[0]}",
            hint="it was taken away; "
            f"see whether the original agrees: image-similarity audit verify -dp {original.source}",
        )
