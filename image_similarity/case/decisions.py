"""What is known of a case's pictures, and what was decided."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from image_similarity.case.base import OpenedCase
from image_similarity.events import Listener, ignore

if TYPE_CHECKING:
    from image_similarity.values import Decision, HashList, HashListReport, KnownPlace


class Decisions(OpenedCase):
    """Known files, and what examiners decided."""

    def import_hash_list(
        self,
        path: str | Path,
        *,
        name: str | None = None,
        form: Literal["plain", "csv", "nsrl", "vics"] | None = None,
        on_event: Listener = ignore,
    ) -> HashListReport:
        """Import a file of known hashes: plain, CSV, NSRL-like or VICS-style; a picture that it holds is known.

        The file is read first, with little memory, and stored in one transaction at the end: all of it, or nothing.

        Args:
            path: The file, in UTF-8 or with a byte order mark.
            name: What the list is called; the file's name without its suffix by default.
            form: What it is; told from its beginning by default.
            on_event: Gets `Started` and `Progress`, counted in megabytes that were read, then in hashes stored.

        Raises:
            HashListRefused: It is not of the form, damaged, or holds no hash that could be used.
            InvalidSetting: The name is taken or is no line of text.
            DatabaseLocked, DatabaseNotWritable, OSError.
        """
        from image_similarity.records import hash_lists

        return hash_lists.import_list(
            self._catalog, Path(path), name=name, form=form, on_event=on_event
        )

    def remove_hash_list(self, name: str) -> HashList:
        """Remove a hash list; the audit chain keeps that it was there.

        Raises:
            UsageError: There is none of this name.
        """
        from image_similarity.records import hash_lists

        return hash_lists.remove_list(self._catalog, name)

    def hash_lists(self) -> list[HashList]:
        """The hash lists, by name."""
        from image_similarity.records import hash_lists

        return hash_lists.all_lists(self._catalog)

    def known_places(self, name: str | None = None) -> Iterator[KnownPlace]:
        """Every place whose content a hash list holds, or this one, also of files that could not be taken.

        Raises:
            UsageError: There is no list of this name.
        """
        from image_similarity.records import hash_lists

        return hash_lists.known_places(self._catalog, name)

    def decide(
        self, picture: str | Path, kind: Literal["tag", "note", "category"], value: str
    ) -> Decision | None:
        """Say something of a content, for every place where it lies and will be found; None if it was said before.

        A content has any number of tags and notes, and one category: a new one takes the place of the one before.

        Args:
            picture: A path as for `images_at`, "source:path", or a SHA-256 or prefix of it.
            kind: What is said.
            value: One line of text, a note up to 2,000 characters, the others up to 100.

        Raises:
            UnknownImage: No picture, or several, are meant.
            InvalidSetting: The text is none that can be stored.
        """
        from image_similarity.pictures.names import text_forms
        from image_similarity.records import decisions

        meant = decisions.picture_named(self._catalog, os.fspath(picture), text_forms)
        return decisions.decide(self._catalog, meant, kind, value)

    def decide_all(
        self, sha256s: Sequence[str], kind: Literal["tag", "note", "category"], value: str
    ) -> list[Decision]:
        """Say the same of several contents in one transaction; gives the decisions that did not stand before.

        Args:
            sha256s: The contents, by their whole SHA-256.
            kind: What is said; see `decide`.
            value: One line of text.

        Raises:
            UnknownImage: One of them is not stored; nothing is said then.
            InvalidSetting: The text is none that can be stored.
        """
        from image_similarity.records import decisions

        return decisions.decide_all(self._catalog, sha256s, kind, value)

    def judge(
        self, query: str | Path, hit: str | Path, verdict: Literal["relevant", "irrelevant"]
    ) -> Decision | None:
        """Say whether a hit belongs to a query; an irrelevant one is no hit of this query any more.

        A verdict takes the place of the one before; None if it was said before.

        Args:
            query: A picture on disk, which need not be stored, or a stored one, named as for `decide`.
            hit: A stored picture.
            verdict: For the two contents, wherever they lie.

        Raises:
            UnknownImage: No picture, or several, are meant.
            ImageUnreadable: The query cannot be read.
        """
        from image_similarity.pictures.names import text_forms
        from image_similarity.records import decisions

        query_sha256 = decisions.query_named(self._catalog, os.fspath(query), text_forms)
        meant = decisions.picture_named(self._catalog, os.fspath(hit), text_forms)
        return decisions.judge(self._catalog, query_sha256, meant, verdict)

    def withdraw(self, *names: str) -> list[Decision]:
        """Withdraw decisions by their names, all or none; they stay on record, with the time, as given back.

        Raises:
            UsageError: There is none of a name, or it was withdrawn before.
        """
        from image_similarity.records import decisions

        return decisions.withdraw(self._catalog, names)

    def tags(self) -> list[str]:
        """The tags that any content has now, in order."""
        from image_similarity.store import marks

        with self._catalog.reading() as connection:
            return marks.tags(connection)

    def decisions(self, *, tag: str | None = None, withdrawn: bool = False) -> list[Decision]:
        """The decisions that stand, or with `withdrawn` all; with a `tag` those of contents that have it."""
        from image_similarity.records import decisions

        return decisions.listed(self._catalog, tag=tag, withdrawn=withdrawn)

    def latest_decisions(
        self,
        *,
        sha256: str = "",
        kind: str = "",
        value: str = "",
        query_sha256: str = "",
        tag: str = "",
        withdrawn: bool = False,
        before: str = "",
        limit: int = 100,
    ) -> tuple[list[Decision], int]:
        """The latest decisions that meet every choice made, and how many there are in all.

        Args:
            sha256: Of this content.
            kind: "tag", "note", "category" or "verdict".
            value: What was said.
            query_sha256: Verdicts on hits of this query.
            tag: All decisions on contents that have this tag.
            withdrawn: Also those that were withdrawn.
            before: Go on behind the decision of this name, the last one of the page before.
            limit: At most so many.

        Raises:
            InvalidSetting: No decision is called `before`.
        """
        from image_similarity.records import decisions
        from image_similarity.store.marks import Asked

        return decisions.latest(
            self._catalog,
            Asked(sha256, kind, value, query_sha256, tag, withdrawn),
            limit=limit,
            before=before,
        )
