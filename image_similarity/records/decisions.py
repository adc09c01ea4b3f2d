"""Decisions of examiners: tags, notes and categories of contents, and whether a hit belongs to a query.

They are bound to a content, not to a place, and so hold for every copy, also for one that a later run finds. Each is
one short transaction, which waits while a run writes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from image_similarity.errors import ImageUnreadable, InvalidSetting, UnknownImage, UsageError
from image_similarity.pictures.picture_error import PictureError
from image_similarity.pictures.read import Left, read_file
from image_similarity.reports.text import visible
from image_similarity.store import catalog as stored
from image_similarity.store import gallery, marks
from image_similarity.store.catalog import Catalog
from image_similarity.store.marks import Asked
from image_similarity.store.schema import VERDICTS
from image_similarity.values import Decision, ImageRecord

# What can be said of a content, and how long it may be, in characters.
LONGEST = {"tag": 100, "category": 100, "note": 2000}

TextForms = Callable[[str], Sequence[str]]


def checked(text: str, what: str, longest: int, *, hint: str = "") -> str:
    """The text as it is stored: without blanks around it, composed characters, so that equal ones are equal.

    Raises:
        InvalidSetting: It is empty, too long, of several lines, or holds characters that steer a terminal or turn text.
    """
    told = marks.spelled(text)
    if not told or visible(told) != told:
        raise InvalidSetting(
            f"{what} is one line of text, without control or direction characters: {text[:50]!r}",
            hint=hint,
        )
    if len(told) > longest:
        raise InvalidSetting(f"{what} has at most {longest} characters, not {len(told)}", hint=hint)
    return told


def _said(kind: str, value: str) -> str:
    """What is said of a content, as it is stored."""
    if kind not in LONGEST:
        raise InvalidSetting(f"{kind!r} cannot be said of a picture", hint=f"{', '.join(LONGEST)}")
    return checked(value, f"a {kind}", LONGEST[kind])


def decide(catalog: Catalog, picture: ImageRecord, kind: str, value: str) -> Decision | None:
    """Say something of a content; see `Case.decide`."""
    told = _said(kind, value)
    with catalog.writing() as connection:
        image_id = gallery.id_of(connection, picture.sha256)
        assert image_id is not None  # noqa: S101 - contents are never deleted
        return marks.mark(connection, image_id, picture.sha256, kind, told)


def decide_all(catalog: Catalog, sha256s: Sequence[str], kind: str, value: str) -> list[Decision]:
    """Say the same of several contents; see `Case.decide_all`."""
    told = _said(kind, value)
    wanted = tuple(dict.fromkeys(sha256s))
    with catalog.writing() as connection:
        ids = gallery.ids_of(connection, wanted)
        missing = [each for each in wanted if each not in ids]
        if missing:
            raise UnknownImage(
                f"{catalog.path} does not hold {len(missing)} of the pictures, such as {missing[0]}"
            )
        made = (marks.mark(connection, ids[each], each, kind, told) for each in wanted)
        return [each for each in made if each is not None]


def judge(
    catalog: Catalog, query_sha256: str, picture: ImageRecord, verdict: str
) -> Decision | None:
    """Say whether a hit belongs to a query; see `Case.judge`."""
    if verdict not in VERDICTS:
        raise InvalidSetting(f"no verdict is called {verdict!r}", hint=f"{' or '.join(VERDICTS)}")
    with catalog.writing() as connection:
        image_id = gallery.id_of(connection, picture.sha256)
        assert image_id is not None  # noqa: S101 - contents are never deleted
        return marks.judge(connection, query_sha256, image_id, picture.sha256, verdict)


def withdraw(catalog: Catalog, names: Sequence[str]) -> list[Decision]:
    """Withdraw decisions, all or none; see `Case.withdraw`."""
    with catalog.writing() as connection:
        found = []
        for name in dict.fromkeys(names):
            decision = marks.named(connection, name.strip().lower())
            if decision is None or decision.withdrawn_at is not None:
                what = "was withdrawn" if decision else "is not there"
                when = f" at {decision.withdrawn_at}" if decision else ""
                raise UsageError(
                    f"decision {name!r} {what}{when}", hint="see: image-similarity review list"
                )
            found.append(marks.withdraw(connection, decision))
        return found


def listed(catalog: Catalog, *, tag: str | None = None, withdrawn: bool = False) -> list[Decision]:
    """The decisions; see `Case.decisions`."""
    with catalog.reading() as connection:
        found = marks.decisions(connection, withdrawn=withdrawn)
    if tag is None:
        return found
    those = {
        each.sha256 for each in found if (each.kind, each.value) == ("tag", marks.spelled(tag))
    }
    return [each for each in found if each.sha256 in those]


def latest(
    catalog: Catalog, asked: Asked, *, limit: int, before: str = ""
) -> tuple[list[Decision], int]:
    """The latest decisions; see `Case.latest_decisions`."""
    with catalog.reading() as connection:
        last = marks.named(connection, before) if before else None
        if before and last is None:
            raise InvalidSetting(f"{before!r} is no decision")
        return marks.latest(connection, asked, limit, last)


def picture_named(catalog: Catalog, named: str, text_forms: TextForms) -> ImageRecord:
    """The one content that a text names: a path as for `Case.images_at`, "source:path", or a SHA-256 or prefix of it.

    Of several that a path held over time it is the one that is there now.

    Raises:
        UnknownImage: It names none, or several.
    """
    if re.fullmatch("[0-9A-Fa-f]{64}", named):
        return catalog.image(named)
    if "\0" in named:
        raise UnknownImage(f"{catalog.path} knows no picture at {named!r}")
    try:
        found = _at(catalog, named, text_forms)
    except UnknownImage:
        if re.fullmatch("[0-9A-Fa-f]{6,}", named):
            return catalog.image(named)
        raise
    if len(found) > 1:
        several = ", ".join(each.sha256[:12] for each in found)
        raise UnknownImage(
            f"{catalog.path} knows several pictures at {named}: {several}",
            hint="name one as source:path or by its SHA-256",
        )
    return found[0]


def _at(catalog: Catalog, named: str, text_forms: TextForms) -> list[ImageRecord]:
    try:
        texts, source = [*text_forms(named)], None
        found = catalog.images_at(texts)
    except UnknownImage:
        # As hits print it; but a path may hold a colon, too, so this comes second.
        source, colon, rest = named.partition(":")
        if not colon or not _is_source(catalog, source):
            raise
        texts = [rest]
        found = [
            each
            for each in catalog.images_at(texts)
            if any((place.source, place.path) == (source, rest) for place in each.places)
        ]
        if not found:
            raise
    live = [each for each in found if _is_live(each, texts, source)]
    return live or found


def _is_live(image: ImageRecord, texts: Sequence[str], source: str | None) -> bool:
    return any(
        place.gone_since is None
        and source in (None, place.source)
        and (place.path in texts or place.full_path in texts)
        for place in image.places
    )


def _is_source(catalog: Catalog, name: str) -> bool:
    with catalog.reading() as connection:
        return stored.find_source(connection, name) is not None


def query_named(catalog: Catalog, named: str, text_forms: TextForms) -> str:
    """The SHA-256 of a query: a picture on disk, one that is stored, or 64 digits. A query need not be stored.

    Raises:
        ImageUnreadable: The file cannot be read, or is no picture.
        UnknownImage: There is no such file, and it names no stored picture.
    """
    if re.fullmatch("[0-9A-Fa-f]{64}", named):
        return named.lower()
    path = Path(named)
    if "\0" in named or not path.is_file():
        return picture_named(catalog, named, text_forms).sha256
    try:
        contents = read_file(str(path))
    except PictureError as error:
        raise ImageUnreadable(f"cannot read {path}: {error.message}") from error
    if isinstance(contents, Left):
        raise ImageUnreadable(f"{path} is no picture ({contents.kind.rule})")
    return contents.digests.sha256
