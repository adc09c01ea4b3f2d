"""What a verification found, in words."""

from __future__ import annotations

from collections.abc import Iterable

from image_similarity.cli import output
from image_similarity.values import AgainstReport, Finding, VerifyReport

# Lists of an acquisition name millions of files; all are in the JSON form.
MOST_LINES = 20


def show(report: VerifyReport, compared: AgainstReport | None, form: str) -> None:
    """Write the account of a verification and, if there was one, of the comparison with a list."""
    if form == "json":
        output.emit(report)
        if compared is not None:
            output.emit(compared)
        return
    print_findings(report.findings)
    checked = f"{output.count(report.images, 'picture')}, {output.count(report.embeddings, 'vector')} checked"
    output.line(f"{checked}; {output.count(len(report.findings), 'finding')}")
    if report.rehashed:
        output.line(
            f"{output.count(report.files, 'file')}{_since(report.since)}: {report.unchanged} unchanged / "
            f"{report.changed} changed / {report.missing} missing / {report.unreadable} unreadable"
        )
        if report.not_checked:
            output.line(
                f"{output.count(report.not_checked, 'file')} not checked: in an object store"
            )
    elif compared is None:
        output.line("The files themselves were not read; --rehash does that.")
    output.line("The audit chain was not checked; `audit verify` does that.")
    if compared is not None:
        _print_comparison(compared)


def print_findings(findings: Iterable[Finding]) -> None:
    """Write one line for each."""
    for each in findings:
        place = f"{each.source}:{each.path}" if each.source else each.path
        hashes = (("recorded", each.expected), ("found", each.found))
        was = ", ".join(f"{word} {value}" for word, value in hashes if value)
        output.line(f"{each.kind:10}  {place}  {each.message}{f' ({was})' if was else ''}")


def _since(times: tuple[str, str] | None) -> str:
    if times is None:
        return ""
    first, last = times
    return (
        f" since first indexed at {first}"
        if first == last
        else f" since first indexed at {first} to {last}"
    )


def _print_comparison(report: AgainstReport) -> None:
    for kind in ("contradicted", "gone", "failed", "unknown", "unlisted"):
        found = [each for each in report.findings if each.kind == kind]
        # What contradicts is named in full, however much it is.
        shown = found if kind == "contradicted" else found[:MOST_LINES]
        for each in shown:
            place = f"{each.source}:{each.path}" if each.source else each.path
            hashes = (
                f" (listed {each.expected}, recorded {each.found})"
                if kind == "contradicted"
                else ""
            )
            output.line(f"{kind:12}  {place}  {each.message}{hashes}")
        if len(found) > len(shown):
            output.line(f"{kind:12}  and {len(found) - len(shown)} more; --format json names all")
    skipped = ", ".join(f"{kind} {number}" for kind, number in sorted(report.skipped.items()))
    output.line(
        f"{report.path}: {output.count(report.entries, 'hash') if report.entries == 1 else f'{report.entries} hashes'}"
        f" ({', '.join(report.hashes)}), SHA-256 {report.sha256}"
    )
    output.pairs(
        [
            ("confirmed", report.confirmed),
            ("at another path", report.elsewhere),
            ("contradicted", report.contradicted),
            ("no longer there", report.gone),
            ("not taken", report.failed),
            ("not searched", skipped or "nothing"),
            ("not in the database", report.unknown),
            ("not on the list", report.unlisted),
            ("copies not on the list", report.copies),
        ]
    )
    if report.sources:
        output.line(f"Paths were compared for: {', '.join(report.sources)}.")
    else:
        output.line("Only contents were compared, no paths.")
