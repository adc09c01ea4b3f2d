"""The batch job: every known source again, with what its last run was told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from image_similarity.encoding import registry
from image_similarity.errors import (
    ImageSimilarityError,
    ModelError,
    NothingToIndex,
    UnknownSource,
    UsageError,
    WeightsChanged,
)
from image_similarity.events import Listener, Notice
from image_similarity.indexing import recorded as records
from image_similarity.indexing import sources, taskset
from image_similarity.indexing.job import index_place
from image_similarity.indexing.run import Stop
from image_similarity.pictures.names import from_text
from image_similarity.settings import IndexOptions
from image_similarity.store import runs, thumbnails
from image_similarity.store.catalog import Catalog
from image_similarity.values import RunReport, is_uri


def refresh_sources(
    catalog: Catalog,
    names: Sequence[str],
    options: IndexOptions,
    *,
    also: str | None = None,
    on_event: Listener,
    stop: Stop,
) -> list[RunReport]:
    """Index known sources again with what their last runs were told; see `Case.refresh`.

    With `also`, a model's name or file, they get its vectors beside those of the recorded models, now and whenever they
    are refreshed.

    A source that cannot be reached, or whose model is not there, does not keep the others from being refreshed; its
    error is raised at the end, after a `Finished` event for each run that was done.
    """
    known = {source.name: source.root for source in catalog.sources()}
    for name in names:
        if name not in known:
            raise UnknownSource(
                f"{catalog.path} has no source {name!r}",
                hint=f"it has: {', '.join(known) or 'none'}",
            )
    reports: list[RunReport] = []
    first_error: ImageSimilarityError | None = None
    for name in names or known:
        if stop():
            break
        if is_uri(known[name]):
            on_event(
                Notice(
                    f"source {name}: left out, it is in an object store; "
                    f"image-similarity cluster index -ip {known[name]} takes what is new there"
                )
            )
            continue
        for target, recorded in _recorded_runs(catalog, name, known[name], on_event):
            try:
                again = records.repeat(options, recorded)
                if not options.thumbnails and _are_purged(catalog):
                    again = replace(again, thumbnails=False)
                place = sources.locate(target, catalog.path)
                _refuse_other_models(catalog, again, also)
                if also is not None:
                    again = replace(again, models=tuple(dict.fromkeys((*again.models, also))))
                reports.append(
                    index_place(
                        catalog,
                        place,
                        again,
                        kind="refresh",
                        source=name,
                        on_event=on_event,
                        stop=stop,
                    )
                )
            except (UsageError, NothingToIndex, ModelError) as error:
                # Of this source alone; trouble with the database would be that of all others, too.
                on_event(Notice(f"source {name}: {error.message}"))
                first_error = first_error or error
    if first_error is not None:
        raise first_error
    return reports


def _recorded_runs(
    catalog: Catalog, name: str, root: str, on_event: Listener
) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """What to walk again: the whole folder if it ever was walked, else each single picture that was given."""
    with catalog.reading() as connection:
        recorded = runs.latest_options(connection, name)
    folder = Path(from_text(root))
    if not recorded:
        on_event(Notice(f"source {name}: it was only imported; `index` searches it anew"))
    whole = [options for options in recorded if options.get("only") is None]
    if whole:
        yield folder, whole[0]
        return
    singles = {options["only"]: options for options in reversed(recorded)}
    for only, options in sorted(singles.items()):
        yield folder / from_text(only), options


def _are_purged(catalog: Catalog) -> bool:
    with catalog.reading() as connection:
        return thumbnails.are_purged(connection)


def _refuse_other_models(catalog: Catalog, options: IndexOptions, also: str | None) -> None:
    """Refuse what stands where a recorded model was: a refresh must not begin a second set of vectors by itself.

    One that is asked for as well, `also`, may: a codebook that was built anew in the place of an earlier one.

    Raises:
        WeightsChanged.
    """
    recorded = {info.fingerprint for info in catalog.models()}
    if also is not None:
        recorded.add(registry.info(registry.get(also)).fingerprint)
    for _, info, _, _ in taskset.resolve(options):
        if info.fingerprint not in recorded:
            raise WeightsChanged(
                f"the model {info.name} is not the one that this source was indexed with",
                hint="restore its weights; or index the source again with -m to add vectors of the new model",
            )
