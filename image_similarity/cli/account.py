"""The account of a run: what was seen, what became of it, and what was not searched."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from image_similarity.cli.output import count, emit, line, note, size
from image_similarity.cli.progress import failure_line
from image_similarity.values import Failure, Location, Mount, RunReport

FAILURES_SHOWN = 20

PARTIAL = 3
_EXIT_CODES = {"done": 0, "running": 0, "partial": PARTIAL, "failed": 1}

# Kinds that may well hold pictures.
_NOT_SEARCHED = ("document", "video", "archive")


def show(report: RunReport, database: Location, form: str) -> None:
    """Print a run that ended, as JSON or as `print_account`."""
    if form == "json":
        emit(report)
    else:
        print_account(report, database)


def print_account(report: RunReport, database: Location) -> None:
    """Print the account of one run, its first failures, and how to see the others."""
    line(f"{report.source}: {report.status}", bold=True)
    line(f"  run {report.run_id} ({report.kind}) over {report.root}")
    line(f"  {sum_line(report)}")
    line(
        f"  of these partly decoded {report.partial}, moved {report.moved}; no longer there {report.gone}"
    )
    line(f"  {_work_line(report)}")
    if report.mount is not None:
        line(f"  {mount_line(report.mount)}")
    if report.skipped:
        line(f"  skipped by rule: {_by_kind(report.skipped.items())}")
    if apart := [
        (kind, report.skipped[kind]) for kind in _NOT_SEARCHED if report.skipped.get(kind)
    ]:
        line(f"  NOT searched: {_by_kind(apart)}. Pictures inside them are not in this database.")
    if not report.accounted:
        line("  The account does not add up: please report this as an error of the program.")
    _print_failures(report, database)
    if report.status == "interrupted":
        line("  Interrupted: what was finished is saved; run the same command again to go on.")


def sum_line(report: RunReport) -> str:
    """Return the sum in which every file seen stands exactly once."""
    return (
        f"{report.seen} seen = {report.new} new + {report.duplicate} duplicate + {report.unchanged} unchanged"
        f" + {report.failed} failed + {sum(report.skipped.values())} skipped by rule"
    )


def derived_line(report: RunReport) -> str:
    """Return how many pictures of a source got a vector without being read, and how."""
    again = "" if report.status == "done" else f" ({report.status})"
    return f"{report.source}: {_work_line(report)}{again}"


def mount_line(mount: Mount) -> str:
    """Return how the evidence was mounted, and on a writable mount what may have changed."""
    if mount.read_only:
        return f"evidence mounted read-only: yes ({mount.point})"
    times = {
        "off": "which keeps no access times",
        "relative": "which may have written access times, at most once a day each",
        "on": "which may have written access times",
    }[mount.access_times]
    return f"evidence mounted read-only: no ({mount.point}, {times})"


def exit_code(reports: Iterable[RunReport], stopped: int, *, heeded: bool = False) -> int:
    """Return the worst exit code of the runs: stopped by a signal, then failed, then partial, then done.

    With `heeded` the signal also counts that kept a run from being begun.
    """
    codes = [stopped] if heeded else []
    codes += [
        stopped if report.status == "interrupted" else _EXIT_CODES[report.status]
        for report in reports
    ]
    return max(codes, key=[0, PARTIAL, 1, stopped].index, default=0)


def say_not_evaluated(failures: Sequence[Failure], *, done: str = "evaluated") -> int:
    """Say on stderr which files are in no figure (or what else could not be `done`), and return the exit code."""
    for failure in failures[:FAILURES_SHOWN]:
        note(f"not {done}: {failure_line(failure)}")
    if failures:
        note(f"{count(len(failures), 'file')} could not be {done}")
    return PARTIAL if failures else 0


def _work_line(report: RunReport) -> str:
    rate = (
        f" ({report.embedded / report.seconds:.1f} a second)"
        if report.seconds and report.embedded
        else ""
    )
    by = "of" if report.kind == "import" else "with"
    models = f" {by} {', '.join(report.models)}" if report.models else ""
    done = {"import": "with vectors taken over", "derive": "given a vector"}.get(
        report.kind, "embedded"
    )
    return (
        f"{count(report.embedded, 'picture')} {done}{models} in {report.seconds:.1f} s{rate}, "
        f"{size(report.bytes_read)} read"
    )


def _by_kind(kinds: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{kind} {number}" for kind, number in sorted(kinds))


def _print_failures(report: RunReport, database: Location) -> None:
    for failure in report.failures[:FAILURES_SHOWN]:
        line(f"  not taken: {failure_line(failure)}")
    if (more := len(report.failures) - FAILURES_SHOWN) > 0:
        line(
            f"  ... and {more} more: image-similarity runs failures {report.run_id} -dp {database}"
        )
    # A file that failed before and did not change is not read again, and its failure belongs to that earlier run.
    if (earlier := report.failed - len(report.failures)) > 0:
        line(
            f"  {earlier} of the failures are of an earlier run; --retry-failed tries those files again"
        )
        line(f"  and `image-similarity runs failures -dp {database}` lists them")
