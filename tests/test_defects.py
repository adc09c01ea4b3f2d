"""The thirteen defects of the earlier image-similarity (A1 to A13): each has a test that fails if it comes back."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from image_similarity.case import Case
from image_similarity.encoding.encoder import Encoder, OutOfMemory
from image_similarity.errors import ImageUnreadable
from image_similarity.indexing import taskset
from tests.conftest import draw_picture
from tests.indexing.desk import Desk, Misbehaving, digest_of


@pytest.fixture
def desk(tmp_path: Path, tiny_model: Path) -> Desk:
    return Desk(tmp_path, tiny_model)


def test_a1_nested_folders_and_every_spelling_of_a_picture_are_found(desk: Desk) -> None:
    """A1: only lower-case .jpg and .png of the top folder were taken, the others passed over in silence."""
    import pi_heif

    names = ["a.jpg", "B.JPG", "c.jpeg", "d.PNG", "e/f/g.JPEG", "h.webp", "i.TIF", "j.gif", "k.bmp"]
    for number, name in enumerate(names):
        desk.put(name, seed=number)
    desk.put("no-extension", seed=20, format="JPEG")
    desk.put("under-a-false-name.doc", seed=21, format="PNG")
    # There is nothing here to write HEIC with, but what is named so is decoded or recorded as failed.
    assert pi_heif.__version__
    desk.write("phone.HEIC", b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(32))
    report = desk.index()
    assert set(desk.live()) == {*names, "no-extension", "under-a-false-name.doc"}
    assert (report.seen, report.new, set(desk.failures())) == (12, 11, {"phone.HEIC"})


def test_a2_a_vector_takes_two_bytes_a_number(desk: Desk) -> None:
    """A2: vectors were JSON text, five times the size of float32."""
    desk.put_many(3)
    desk.index()
    sizes = desk.rows("SELECT typeof(vector), length(vector) FROM embedding")
    assert sizes == [("blob", 2 * 16)] * 3


def test_a3_the_network_is_loaded_once_a_run_and_never_for_a_stored_query(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A3: it was built and loaded again for each batch, each query, and the scene network for each picture."""
    loaded: list[str] = []
    really_load = Encoder.load.__func__  # type: ignore[attr-defined]

    def load(cls: type[Encoder], *given: Any, **named: Any) -> Encoder:
        loaded.append(given[0].name)
        encoder: Encoder = really_load(cls, *given, **named)
        return encoder

    monkeypatch.setattr(Encoder, "load", classmethod(load))
    pictures = desk.put_many(9)
    desk.index(batch_size=2)
    assert len(loaded) == 1
    loaded.clear()
    assert desk.find(pictures[0])
    assert desk.index().unchanged == 9
    assert loaded == []


def test_a4_nothing_is_fetched_and_nothing_written_beside_the_program_or_the_weights(
    desk: Desk, tmp_path: Path, tiny_model: Path, no_network: None
) -> None:
    """A4: the scene network came from the web while it ran, into the installation's folder."""
    from tests.indexing.desk import watching

    weights = tmp_path / "weights"
    weights.mkdir()
    model = str(shutil.copy2(tiny_model, weights / "tiny.safetensors"))
    pictures = desk.put_many(2)
    with watching(weights) as events:
        desk.index(models=(model,), scenes=model)
        assert desk.find(pictures[0])
    assert {event for event, _, _ in events} == {"open"}
    assert not any(isinstance(f, int) and f & (os.O_WRONLY | os.O_RDWR) for _, _, f in events)
    assert [path.name for path in weights.iterdir()] == ["tiny.safetensors"]


def test_a5_a_picture_without_a_scene_is_a_failure_with_its_reason_or_is_still_found(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A5: any error left the scene '' without a word, and the picture could not be found from then on."""
    first, second = desk.put_many(2)

    def refuse(batch: np.ndarray) -> None:
        raise OutOfMemory("not enough memory")

    with monkeypatch.context() as patch:
        patch.setattr(taskset, "Encoder", Misbehaving(refuse))
        report = desk.index()
    assert (report.status, report.failed, desk.count("image")) == ("partial", 2, 0)
    assert {failure.message for failure in report.failures} == {"not enough memory"}
    desk.index(first, scenes=None, retry_failed=True)
    desk.index(second, retry_failed=True)
    with Case.open(desk.database, read_only=True) as case:
        assert [hit.place.path for hit in case.search(second, scene="auto").hits] == [first.name]


def test_a6_a_second_run_adds_nothing_twice(desk: Desk) -> None:
    """A6: each run inserted every row again."""
    pictures = desk.put_many(4)
    for expected in ((4, 0), (0, 4), (0, 4)):
        report = desk.index()
        assert (report.new, report.unchanged) == expected
    assert desk.count("file") == desk.count("image") == desk.count("embedding") == 4
    assert len(desk.find(pictures[0])) == 3


def test_a7_running_out_of_memory_commits_nothing_twice_and_drops_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A7: the halved batch began again at the first picture, after some were committed."""
    calls = itertools.count()

    def sometimes(batch: np.ndarray) -> None:
        if next(calls) % 3 == 1 and len(batch) > 1:
            raise OutOfMemory("now and then")

    monkeypatch.setattr(taskset, "Encoder", Misbehaving(sometimes))
    desk.put_many(17)
    report = desk.index(batch_size=8)
    assert (report.new, report.embedded, report.failed) == (17, 17, 0)
    assert desk.count("file") == desk.count("image") == desk.count("embedding") == 17


def test_a8_the_time_of_a_run_is_what_it_took(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A8: the time of writing was taken before the writing and always 0."""
    import time

    from image_similarity.store import batch

    desk.put_many(1)
    really_write = batch.write_batch

    def write_slowly(*given: Any) -> None:
        time.sleep(0.3)
        really_write(*given)

    monkeypatch.setattr(batch, "write_batch", write_slowly)
    before = time.monotonic()
    report = desk.index()
    assert 0.3 <= report.seconds <= time.monotonic() - before


def test_a9_distances_are_computed_by_one_matrix_product_not_row_by_row(desk: Desk) -> None:
    """A9: a loop of Python over JSON lists took 2.4 s a query at 36,500 pictures."""
    import time

    from image_similarity.ranking.exhaustive import squared_distances

    random = np.random.default_rng(1)
    vectors = random.standard_normal((36_500, 256)).astype(np.float16)
    began = time.process_time()
    found = squared_distances(vectors, vectors[7])
    assert time.process_time() - began < 1.2
    assert int(np.argmin(found)) == 7


def test_a10_a_rotated_phone_photograph_has_the_vector_of_the_upright_one(desk: Desk) -> None:
    """A10: the EXIF orientation was not applied."""
    upright = draw_picture(3, (64, 48))
    upright.save(desk.evidence / "upright.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.transpose(Image.Transpose.ROTATE_90).save(desk.evidence / "phone.png", exif=exif)
    desk.index()
    phone, other = (desk.vector(desk.evidence / name) for name in ("phone.png", "upright.png"))
    assert phone.tobytes() == other.tobytes()
    assert desk.rows("SELECT DISTINCT width, height FROM image") == [(64, 48)]


def test_a11_a_scene_filter_is_not_a_hard_cut_at_the_first_label_and_says_what_it_hid(
    desk: Desk,
) -> None:
    """A11: only pictures with the query's one most probable scene were compared, at 45 % top-1 error."""
    pictures = desk.put_many(24)
    desk.index()
    firsts = {key[1]: labels[0] for key, labels in desk.labels().items()}
    with Case.open(desk.database, read_only=True) as case:
        for query in pictures[:6]:
            every = case.search(query, k=99, scene="off")
            likely = case.search(query, k=99)
            hard = case.search(query, k=99, scene="hard")
            assert len(every.hits) == 23
            for result in (likely, hard):
                assert result.filter.hidden == 24 - result.filter.searched
                assert len(result.hits) == 23 - result.filter.hidden
            assert {hit.image.sha256 for hit in likely.hits} >= {
                hit.image.sha256 for hit in hard.hits
            }
            assert {firsts[hit.image.sha256] for hit in hard.hits} <= {firsts[digest_of(query)]}


@pytest.mark.parametrize("make", ["missing", "folder", "document", "corrupt"])
def test_a12_a_wrong_query_has_its_own_error_and_exit_code(desk: Desk, make: str) -> None:
    """A12: \"wrong query path will crash the application\"."""
    desk.put_many(2)
    desk.index()
    makers: dict[str, Callable[[Path], Any]] = {
        "missing": lambda path: None,
        "folder": lambda path: path.mkdir(),
        "document": lambda path: path.write_bytes(b"%PDF-1.4 no picture"),
        "corrupt": lambda path: path.write_bytes(b"\xff\xd8\xff no picture"),
    }
    query = desk.folder / "query"
    makers[make](query)
    with pytest.raises(ImageUnreadable) as wrong:
        desk.find(query)
    assert (wrong.value.exit_code, str(query) in wrong.value.message) == (14, True)


def test_a13_equal_distances_are_ordered_the_same_way_every_time(
    desk: Desk, tmp_path: Path, tiny_model: Path
) -> None:
    """A13: ties went by the path, whatever the order of insertion; that is kept, after the content."""
    query = desk.put("query.png", seed=1)
    names = ["z/a.png", "b.png", "a.png", "m.png", "a/z.png"]
    other = Desk(tmp_path / "other", tiny_model)
    for each, order in ((desk, names), (other, names[::-1])):
        for name in order:
            # Equal pixels under two contents: equal distances.
            each.put(name, seed=2, compress_level=names.index(name) % 2)
            each.index()
    ranked = [(hit.image.sha256, hit.place.path) for hit in desk.find(query)]
    assert len({hit.distance for hit in desk.find(query)}) == 1
    assert ranked == sorted(ranked)
    assert ranked == [(hit.image.sha256, hit.place.path) for hit in other.find(query)]
