"""What a run is told at its beginning: which contents each model was given to, with and without gaps among them."""

from __future__ import annotations

import pytest

from image_similarity.store import batch, models, runs
from image_similarity.store import catalog as stored
from image_similarity.store.batch import BatchRows, NewContent, SeenFile
from image_similarity.store.catalog import Catalog
from image_similarity.values import Digests, Location, PictureFacts
from tests.search.synthetic import model_info
from tests.store.test_packs import with_scenes

DIM = 3
CONTENTS = range(1, 6)


@pytest.mark.parametrize("of_other", [[], [1, 2, 3, 4, 5], [2, 4]], ids=["none", "all", "some"])
@pytest.mark.parametrize(
    "given", [[], [3], [1, 2, 3, 4, 5], [2, 3, 4], [1, 3, 4]], ids=lambda given: f"of {given}"
)
@pytest.mark.parametrize("other_has_scenes", [False, True])
def test_a_run_knows_which_contents_have_vectors_and_labels(
    location: Location, given: list[int], of_other: list[int], other_has_scenes: bool
) -> None:
    infos = [with_scenes(model_info("one", DIM), ("beach", "street"))]
    other = model_info("other", DIM)
    infos.append(with_scenes(other, ("beach", "forest")) if other_has_scenes else other)
    catalog = Catalog.open(location, read_only=False)
    with catalog.writing() as connection:
        source = stored.add_source(connection, "disk", "/evidence/disk")
        run = runs.begin(connection, runs.RunStart("index", source, {}, {}))
        ids = [models.register(connection, info) for info in infos]
        scene_models = ids if other_has_scenes else ids[:1]
        known = batch.load_knowledge(connection, source, ids, scene_models)
        rows = BatchRows()
        for name in CONTENTS:
            digests = Digests(f"{name:064x}", "1" * 40, "5" * 32)
            rows.contents.append(NewContent(digests, 1, PictureFacts(1, 1, "PNG", "image/png")))
            rows.files.append(SeenFile(f"{name}.png", digests.sha256, 1, 1, None, None, True))
        for model_id, names in zip(ids, (given, of_other), strict=True):
            scenes = list(models.scene_ids(connection, model_id).values())
            for name in names:
                rows.vectors.append((model_id, f"{name:064x}", bytes(2 * DIM)))
                if model_id in scene_models:
                    labels = [(scene, 0.5) for scene in scenes]
                    rows.scenes.append((model_id, f"{name:064x}", labels))
        batch.write_batch(connection, run, source, rows, known)
    with catalog.reading() as connection:
        read = batch.load_knowledge(connection, source, ids, scene_models)
    wanted = {ids[0]: set(given), ids[1]: set(of_other)}
    wanted |= {-model_id: wanted[model_id] for model_id in scene_models}
    assert read.present == known.present == wanted
    asked = [f"{name:064x}" for name in CONTENTS]
    with catalog.reading() as connection:
        some = batch.knowledge_of(
            connection, source, ["2.png", "6.png"], asked[1:], ids, scene_models
        )
    assert some.present == {key: found - {1} for key, found in wanted.items()}
    assert some.images == {sha256: number for number, sha256 in enumerate(asked[1:], start=2)}
    assert some.files == {"2.png": read.files["2.png"]}
    assert read.files == known.files
    assert [read.file(f"{name}.png").image_id for name in CONTENTS] == list(CONTENTS)  # type: ignore[union-attr]
    assert read.file("6.png") is None
    catalog.close()
