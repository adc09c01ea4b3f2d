"""The tasks of one evaluation of files, for all models together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from image_similarity.errors import InvalidSetting, NothingToEvaluate
from image_similarity.evaluation import reading, tasks
from image_similarity.evaluation.edits import edit_sets
from image_similarity.evaluation.embedders import Embedder
from image_similarity.evaluation.inputs import Input, labelled
from image_similarity.evaluation.measures import Ints, Outcomes
from image_similarity.evaluation.reading import Account, Embedded, EmbeddedCopies
from image_similarity.evaluation.request import EvaluationRequest
from image_similarity.evaluation.tasks import Copies


class Work:
    """The tasks of one evaluation of files, for all models together."""

    def __init__(
        self,
        request: EvaluationRequest,
        given: Input,
        embedders: Sequence[Embedder],
        account: Account,
    ) -> None:
        self.notes: list[str] = []
        self._request = request
        self._given = given
        self._embedders = embedders
        self._account = account
        self._sets = edit_sets(request.edits)
        self._unmatched = self._choose_unmatched()

    def outcomes(self) -> list[list[Outcomes]]:
        """Return what each model did."""
        done: list[list[Outcomes]] = [[] for _ in self._embedders]
        if self._given.pictures:
            found = self._embed_pictures()
            self._by_class(done, found)
            if self._sets:
                self._by_copies(done, found)
        if self._given.paired:
            self._by_pairs(done)
        if not any(each.queries for mine in done for each in mine):
            raise NothingToEvaluate(
                "too few pictures, or rows of the pairs file, are left that every model could embed"
            )
        return done

    def _choose_unmatched(self) -> frozenset[int]:
        """Which pictures are kept out of the gallery, so that their copies have no match there."""
        count = len(self._given.pictures)
        if not self._sets:
            return frozenset()
        wanted = self._request.unmatched
        wanted = round(count / 3) if wanted is None else wanted
        if wanted >= count:
            raise InvalidSetting(f"--unmatched is {wanted}, but there are {count} pictures in all")
        order = np.random.default_rng([self._request.seed, 7]).permutation(count)
        return frozenset(int(row) for row in order[:wanted])

    def _embed_pictures(self) -> EmbeddedCopies:
        files = [each.file for each in self._given.pictures]
        return reading.embed_copies(
            files,
            list(dict.fromkeys(name for names in self._sets.values() for name in names)),
            self._embedders,
            self._account,
            what="pictures",
            side=self._request.side,
            seed=self._request.seed,
            # No picture of a collage may be findable but the one asked for.
            others=[files[row] for row in sorted(self._unmatched)],
        )

    def _by_class(self, done: list[list[Outcomes]], found: EmbeddedCopies) -> None:
        files = [self._given.pictures[row].file for row in found.rows]
        chosen = np.array([file.label is not None for file in files], dtype=bool)
        if not chosen.any():
            return
        if not chosen.all():
            self.notes.append(
                f"{(~chosen).sum()} pictures without a class are in no figure of classes"
            )
        pictures = labelled(files)
        tasks.by_class(
            done,
            pictures,
            [
                (each.facts, mine.rows(chosen))
                for each, mine in zip(self._embedders, found.originals, strict=True)
            ],
            seed=self._request.seed,
            notes=self.notes,
        )

    def _by_copies(self, done: list[list[Outcomes]], found: EmbeddedCopies) -> None:
        files = [each.file for each in self._given.gallery]
        rows, distractors = reading.embed_files(
            files, self._embedders, self._account, what="gallery", side=self._request.side
        )
        kept = np.array([int(row) not in self._unmatched for row in found.rows], dtype=bool)
        owners = np.concatenate([found.rows[kept], np.full(len(rows), -1)])
        if kept.sum() == 0:
            raise NothingToEvaluate("no picture is left for the gallery")
        place = {int(row): at for at, row in enumerate(found.rows)}
        for name, edits in self._sets.items():
            task = self._copies(name, set(edits), found, owners)
            for number, embedder in enumerate(self._embedders):
                gallery = _joined(found.originals[number].rows(kept), distractors[number])
                copies = found.copies[number]
                done[number].append(tasks.copies(task, copies, gallery))
                originals = found.originals[number].scenes
                if embedder.facts.scenes and originals is not None and gallery.scenes is not None:
                    done[number].append(
                        tasks.scene_filter(
                            task, embedder.facts, copies, place, originals, gallery.scenes
                        )
                    )

    def _copies(self, name: str, edits: set[str], found: EmbeddedCopies, owners: Ints) -> Copies:
        rows = np.array(
            [at for at, edit in enumerate(found.edits) if edit in edits], dtype=np.int64
        )
        sources = found.sources[rows]
        names = [self._given.pictures[row].file.name for row in sources]
        chosen = tuple(found.edits[at] for at in rows)
        queries = tuple(f"{file} [{edit}]" for file, edit in zip(names, chosen, strict=True))
        return Copies(name, queries, chosen, sources, rows, owners)

    def _by_pairs(self, done: list[list[Outcomes]]) -> None:
        files = [each.file for each in self._given.paired]
        rows, found = reading.embed_files(
            files, self._embedders, self._account, what="pairs", side=self._request.side
        )
        names = [files[row].name for row in rows]
        tasks.by_pairs(done, names, self._given.pairs, found, notes=self.notes)


def _joined(one: Embedded, other: Embedded) -> Embedded:
    if len(other.vectors) == 0:
        return one
    scenes = None
    if one.scenes is not None and other.scenes is not None:
        scenes = np.concatenate([one.scenes, other.scenes])
    return Embedded(np.concatenate([one.vectors, other.vectors]), scenes)
