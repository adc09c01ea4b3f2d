"""What a case is asked."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from image_similarity.case.record import Record
from image_similarity.events import Listener, ignore

if TYPE_CHECKING:
    from image_similarity.pictures.region import Region
    from image_similarity.search.choice import Shared
    from image_similarity.values import (
        AnnInfo,
        Calibration,
        Comparison,
        Duplicates,
        Explanation,
        SearchResult,
        ServerIndex,
    )


class Searching(Record):
    """From a query to ranked pictures, and what distances are worth."""

    def search(
        self,
        query: str | Path | None = None,
        *,
        sha256: str | None = None,
        model: str | None = None,
        k: int = 5,
        max_distance: float | None = None,
        scene: str | Sequence[str] = "auto",
        sources: Sequence[str] = (),
        under: str | None = None,
        include_gone: bool = False,
        include_partial: bool = True,
        device: str = "auto",
        runtime: str = "auto",
        calibration: Calibration | None = None,
        approximate: bool = False,
        exact: bool = False,
        index: str | Path | None = None,
        region: Region | None = None,
        strength: bool = False,
        max_expected_false: float | None = None,
        near: bool = False,
        turned: bool = False,
        verify: bool = False,
        by_inliers: bool = False,
        candidates: int = 200,
        known: Literal["mark", "hide", "only"] = "mark",
        include_irrelevant: bool = False,
        tags: Sequence[str] = (),
        taken_from: str | None = None,
        taken_to: str | None = None,
        on_event: Listener = ignore,
    ) -> SearchResult:
        """Rank the pictures of this database by their distance to one query. See `image_similarity.search.search`.

        With an `index`, a file that `build_ann` wrote, the search is approximate; so may one among very many pictures
        be on a server that keeps an index (`index_vectors`), unless it is to be `exact`. From the second search on the
        compact codes of the vectors are kept in memory, up to 4 GiB, until the database changes. A `region` searches
        with part of the picture. `near` (with `turned` in any orientation) also finds near duplicates; `verify` counts
        the local features that one geometry explains, and `by_inliers` orders the `candidates` nearest by them.
        `strength`, implied by `max_expected_false`, adds how many unrelated pictures are expected. `known` says what
        becomes of pictures of hash lists, `include_irrelevant` brings back what was judged so, `tags` are those of
        which a picture must have one. Only pictures taken from `taken_from` to `taken_to`, a year, month or day each,
        are searched.
        """
        from image_similarity.search import SearchRequest, search

        request = SearchRequest(
            query=None if query is None else Path(query),
            sha256=sha256,
            model=model,
            k=k,
            max_distance=max_distance,
            scene=(scene,) if isinstance(scene, str) else tuple(scene),
            sources=tuple(sources),
            under=under,
            include_gone=include_gone,
            include_partial=include_partial,
            device=device,
            runtime=runtime,
            calibration=calibration,
            approximate=approximate or index is not None,
            exact=exact,
            index=None if index is None else Path(index),
            region=region,
            strength=strength or max_expected_false is not None,
            max_expected_false=max_expected_false,
            near=near,
            turned=turned,
            verify=verify or by_inliers,
            by_inliers=by_inliers,
            candidates=candidates,
            known=known,
            include_irrelevant=include_irrelevant,
            tags=tuple(tags),
            taken_from=taken_from,
            taken_to=taken_to,
        )
        return search([self._catalog], request, on_event=on_event)

    def file_of(self, sha256: str) -> Path:
        """The first file that still holds a content, for a search with part of it.

        Raises:
            UnknownImage.
            ImageUnreadable: None does; the message says why.
        """
        from image_similarity.records import previews

        return previews.file_of(self._catalog.image(sha256))

    def duplicates(
        self,
        *,
        near: bool = False,
        turned: bool = False,
        sources: Sequence[str] = (),
        on_event: Listener = ignore,
    ) -> Duplicates:
        """Stacks of pictures that are copies: one content at several places, and with `near` contents near by PDQ.

        Pictures that are no longer there do not count. All pairs of hashes are compared: time grows with the square of
        their number.

        Args:
            near: Also stacks of near duplicates, of the pictures that a run with `IndexOptions.pdq` hashed.
            turned: Also where one is turned or mirrored, in any of eight orientations.
            sources: Only pictures of these.
            on_event: Gets `Started` and `Progress`, counted in pictures.

        Raises:
            UnknownSource, DatabaseDamaged.
        """
        from image_similarity.search.stacks import duplicates

        return duplicates(
            self._catalog, near=near, turned=turned, sources=sources, on_event=on_event
        )

    def calibrate(
        self, groups: str | Path, *, model: str | None = None, same: str | None = None
    ) -> Calibration:
        """Learn likelihood ratios for a model's distances from 200 or more groups of stored pictures.

        Args:
            groups: CSV with a header "path,group": pictures as hits print them, or by SHA-256.
            model: Whose vectors; not needed where the database holds those of one.
            same: What the pictures of a group have in common, as a sentence: "both pictures show the same room".

        Raises:
            CalibrationRefused: The list is unsound, names an unknown picture, or has too few groups.
            TrainingPicturesMet: The model was trained on one of the pictures.
            AmbiguousModel, UnknownModel.
        """
        from image_similarity.calibration.calibrate import calibrate
        from image_similarity.calibration.groups import read_groups
        from image_similarity.search.grouped import gather

        listed = read_groups(Path(groups))
        grouped, info = gather(self._catalog, listed, model)
        return calibrate(grouped, listed, info, same=same)

    def build_ann(
        self,
        path: str | Path | None = None,
        *,
        model: str | None = None,
        recall: float = 0.999,
        seed: int = 1,
        on_event: Listener = ignore,
    ) -> AnnInfo:
        """Build an index for approximate searches and measure how often it finds the true nearest pictures.

        Args:
            path: The file; DB.MODEL.ann beside the database unless given. An earlier index there is replaced.
            model: Whose vectors; not needed where the database holds those of one.
            recall: The recall@10 to aim at, in (0, 1]; what was reached is in the result.
            seed: Draws the vectors that are held aside to measure it.
            on_event: Gets `Started` and `Progress`, counted in vectors.

        Raises:
            UsageError: Another file lies there.
            InvalidSetting: The recall is no share.
            IndexRefused: There are fewer than 1,000 vectors.
            ExtraMissing, AmbiguousModel, UnknownModel, OSError.
        """
        from image_similarity.search import ann_file

        info = ann_file.make(
            self._catalog,
            None if path is None else Path(path),
            model=model,
            target=recall,
            seed=seed,
            on_event=on_event,
        )
        self.record_export("index", info.path, model=info.model, vectors=info.vectors)
        return info

    def index_vectors(
        self,
        *,
        model: str | None = None,
        links: int = 16,
        effort: int = 64,
        memory: str | None = None,
        on_event: Listener = ignore,
    ) -> ServerIndex:
        """Have a server build an index of a model's vectors in the database, and measure how often it is right.

        Searches among very many pictures use it from then on, and say that they are approximate. Pictures that are
        added later are in it, too. Others may search and index meanwhile; an earlier index is replaced.

        Args:
            model: Whose vectors; not needed where the database holds those of one.
            links: Of each vector to near ones, pgvector's `m`.
            effort: With which these are sought, pgvector's `ef_construction`.
            memory: What the build may take, "4GB"; the server's maintenance_work_mem unless given.
            on_event: Gets `Started` and `Progress`, counted in vectors.

        Raises:
            UsageError: The database is a file; see `build_ann`.
            InvalidSetting: The links, the effort or the memory cannot be.
            IndexRefused: The vectors are too long for an index there.
            AmbiguousModel, UnknownModel, DatabaseError.
        """
        from image_similarity.search import server_index

        return server_index.make(
            self._catalog,
            model=model,
            links=links,
            effort=effort,
            memory=memory,
            on_event=on_event,
        )

    def drop_vector_index(self, *, model: str | None = None) -> str | None:
        """Drop the index that `index_vectors` built; gives its name, or None if there is none.

        Raises:
            UsageError: The database is a file.
            AmbiguousModel, UnknownModel, DatabaseError.
        """
        from image_similarity.search import server_index

        return server_index.drop(self._catalog, model=model)

    def compare(
        self,
        query: str | Path,
        hit: str,
        *,
        model: str | None = None,
        shared: Shared | None = None,
    ) -> Comparison:
        """Measure two pictures against each other, as a search would; see `image_similarity.search.pair.compare`.

        Args:
            query: The SHA-256 of a stored picture, or a `Path` on disk.
            hit: The SHA-256 of a stored picture.
            model: Whose vectors; not needed where the database holds those of one.
            shared: What the searches of several threads have in common; see `sharing`.

        Raises:
            UnknownImage, ImageUnreadable, AmbiguousModel, UnknownModel, ModelError.
        """
        from image_similarity.search.pair import compare

        return compare(self._catalog, query, hit, model=model, shared=shared)

    def explain(
        self,
        query: str | Path,
        hit: str | Path,
        target: str | Path | None = None,
        *,
        model: str | None = None,
        method: str = "auto",
        device: str = "auto",
        runtime: str = "auto",
        shared: Shared | None = None,
        on_event: Listener = ignore,
    ) -> Explanation:
        """Say why two pictures came out as similar, and draw it; see `image_similarity.explain.pair.explain`.

        Args:
            query: A path on disk, a SHA-256, or a place as hits print it.
            hit: Likewise.
            target: A PNG to write, which shows both side by side; an existing file is replaced.
            model: Whose vectors; not needed where the database holds those of one.
            method: "auto", "points" or "occlusion".
            device: Where the network runs.
            runtime: What runs it.
            shared: What the searches of several threads have in common; see `sharing`.
            on_event: Gets `Started` and `Progress`, counted in views.

        Raises:
            InvalidSetting, UnknownImage, ImageUnreadable, ExtraMissing, AmbiguousModel, ModelError, OSError.
        """
        from image_similarity.explain.pair import explain

        pair = explain(
            self._catalog,
            os.fspath(query),
            os.fspath(hit),
            model=model,
            method=method,
            device=device,
            runtime=runtime,
            shared=shared,
            on_event=on_event,
        )
        if target is not None:
            from image_similarity.explain.draw import write

            write(pair, Path(target))
        return pair.explanation
