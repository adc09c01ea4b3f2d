"""Give every stored picture the vector of a derived model, computed from its stored one: no file is read."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from image_similarity.encoding import derived, registry
from image_similarity.encoding.derived import Transform
from image_similarity.encoding.spec import ModelSpec
from image_similarity.errors import (
    DatabaseError,
    InvalidSetting,
    UnknownModel,
    WeightsMissing,
    WeightsRefused,
)
from image_similarity.events import Finished, Listener, Notice, Progress, Started
from image_similarity.indexing import packing
from image_similarity.pictures.names import to_text
from image_similarity.store import audit, derivation, models, packs, runs, sealing, versions
from image_similarity.store.catalog import Catalog
from image_similarity.values import RunReport, RunStatus

# Contents whose vectors are written in one transaction.
AT_ONCE = 4096

Stop = Callable[[], bool]


def derive_named(catalog: Catalog, name: str, *, on_event: Listener, stop: Stop) -> list[RunReport]:
    """Store the vectors of a derived model that is named by its file; see `derive`.

    Raises:
        InvalidSetting: It does not go on from another model.
    """
    spec = registry.get(name)
    if not derived.is_derived(spec):
        raise InvalidSetting(
            f"{spec.name} does not go on from the vectors of another model",
            hint=f"index with it: image-similarity index -m {name} -ip DIR -dp DB",
        )
    return derive(catalog, spec, on_event=on_event, stop=stop)


def derive(catalog: Catalog, spec: ModelSpec, *, on_event: Listener, stop: Stop) -> list[RunReport]:
    """Store the vectors of a derived model for all contents that have one of the model below, a run for each source.

    What an interrupted call stored stays, and the next one goes on from there.

    Raises:
        UnknownModel: The database holds no vectors of the model below.
        WeightsRefused, WeightsMissing: The model's file is not sound, or not there.
        DatabaseLocked, DatabaseNotWritable.
    """
    if spec.weights is None:
        raise WeightsMissing(f"{spec.name} has no weights file")
    transform = derived.transform_of(spec, spec.weights)
    info = registry.info(spec)
    with catalog.writing() as connection:
        runs.refuse_open(connection)
        stored = {known.fingerprint: key for key, known in models.stored(connection).items()}
        base_id = stored.get(str(spec.config["base_fingerprint"]))
        if base_id is None:
            raise UnknownModel(
                f"{catalog.path} holds no vectors of {spec.config['base']}, from which {spec.name} goes on",
                hint="choose the database that it was made with, or index with that model first",
            )
        if models.stored(connection)[base_id].preprocess != spec.preprocess:
            raise WeightsRefused(
                f"{spec.weights}: its card prepares pictures otherwise than {spec.config['base']}"
            )
        model_id = models.register(connection, info)
        waiting = derivation.lacking(connection, base_id, model_id)
    reports = []
    for source_id, image_ids in waiting.items():
        if stop():
            break
        work = _Derivation(catalog, spec, transform, base_id, model_id, source_id, on_event)
        reports.append(work.take_all(image_ids, stop))
    packing.pack(catalog)
    return reports


class _Derivation:
    """One run, over the contents of one source."""

    def __init__(
        self,
        catalog: Catalog,
        spec: ModelSpec,
        transform: Transform,
        base_id: int,
        model_id: int,
        source_id: int,
        on_event: Listener,
    ) -> None:
        self._catalog, self._spec, self._transform = catalog, spec, transform
        self._base_id, self._model_id = base_id, model_id
        self._on_event = on_event
        self._began = time.monotonic()
        self._embedded = self._refused = 0
        options = {"models": [to_text(str(spec.weights.absolute()))]} if spec.weights else {}
        start = runs.RunStart("derive", source_id, options, versions.installed())
        with catalog.writing() as connection:
            self._run_id = runs.begin(connection, start)
            self._base_dim = models.stored(connection)[base_id].dim or 0

    def take_all(self, image_ids: Sequence[int], stop: Stop) -> RunReport:
        """Take all contents, some in each transaction, and close the run."""
        self._on_event(Started(self._spec.name, "", len(image_ids), "vectors"))
        stopped = False
        try:
            for start in range(0, len(image_ids), AT_ONCE):
                stopped = stop()
                if stopped:
                    break
                self._take(image_ids[start : start + AT_ONCE])
                done = min(len(image_ids), start + AT_ONCE)
                self._on_event(Progress(done, len(image_ids), self._embedded, self._refused))
            self._close("interrupted" if stopped else "done")
        except BaseException as error:
            self._give_up("interrupted" if isinstance(error, KeyboardInterrupt) else "failed")
            raise
        if self._refused:
            self._on_event(
                Notice(f"{self._refused} pictures got no vector of {self._spec.name}: not finite")
            )
        report = self._catalog.run(self._run_id)
        self._on_event(Finished(report))
        return report

    def _take(self, image_ids: Sequence[int]) -> None:
        with self._catalog.writing() as connection:
            wanted = np.asarray(image_ids, dtype=np.int64)
            stored = packs.vectors_at(connection, self._base_id, self._base_dim, wanted)
            vectors = derived.as_stored(self._spec, self._transform, stored)
            finite = np.isfinite(vectors).all(axis=1)
            kept = [image_ids[row] for row in np.flatnonzero(finite).tolist()]
            before = sealing.marks(connection)
            derivation.write(connection, self._run_id, self._model_id, kept, vectors[finite])
            if sealed := sealing.seal_since(connection, before):
                audit.append(connection, "batch", {"run": self._run_id, "rows": sealed})
            self._embedded += len(kept)
            self._refused += len(image_ids) - len(kept)
            runs.save_account(connection, self._run_id, self._account())

    def _close(self, status: RunStatus) -> None:
        with self._catalog.writing() as connection:
            runs.save_account(connection, self._run_id, self._account(), status)

    def _give_up(self, status: RunStatus) -> None:
        try:
            self._close(status)
        except DatabaseError:
            # The error that ended the run is the one to tell; the next run closes this one.
            return

    def _account(self) -> dict[str, float]:
        return {"embedded": self._embedded, "seconds": round(time.monotonic() - self._began, 3)}
