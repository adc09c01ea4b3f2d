"""What the searches of a program that answers for long have in common, and what they say of scenes."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from image_similarity.case import Case, search_cases, search_cases_fused, sharing
from image_similarity.encoding.encoder import Encoder
from image_similarity.encoding.spec import ModelSpec
from image_similarity.search import SearchRequest
from image_similarity.settings import IndexOptions
from image_similarity.values import SceneCounts
from tests.conftest import FolderFactory, PictureFactory
from tests.search.synthetic import Row, at_angle, write_case


@pytest.fixture
def rooms(tmp_path: Path) -> Path:
    return write_case(
        tmp_path / "rooms.db",
        [
            Row("query", at_angle(0), [("bedroom", 0.9)], taken="2024-01-01T00:00:00"),
            Row("both", at_angle(10), [("bedroom", 0.5), ("kitchen", 0.4)]),
            Row("street", at_angle(20), [("street", 0.9)]),
            Row("nothing", at_angle(30)),
        ],
    )


def test_an_answer_says_how_many_pictures_each_scene_would_bring(rooms: Path) -> None:
    asked = SearchRequest(sha256=Row("query", ()).sha256, with_scene_counts=True)
    with Case.open(rooms, read_only=True) as case:
        assert search_cases([case], asked).scene_counts == SceneCounts(
            (("bedroom", 2), ("kitchen", 1), ("street", 1)), unlabelled=1
        )


def test_pictures_that_another_filter_takes_out_count_for_no_scene(rooms: Path) -> None:
    asked = SearchRequest(sha256=Row("query", ()).sha256, with_scene_counts=True, taken_from="2024")
    with Case.open(rooms, read_only=True) as case:
        assert search_cases([case], asked).scene_counts == SceneCounts((("bedroom", 1),), 0)


def test_several_stored_pictures_are_fused_without_any_file(rooms: Path) -> None:
    hashes = [Row(name, ()).sha256 for name in ("query", "street", "nothing")]
    request = SearchRequest(scene=("off",), k=10)
    with Case.open(rooms, read_only=True) as case:
        result, failures = search_cases_fused(
            [case], [], request, stored=hashes[:2], stored_against=hashes[2:]
        )
    assert not failures
    assert result.fusion is not None
    assert [sha256 for _, sha256 in result.fusion.queries] == hashes[:2]
    assert [sha256 for _, sha256 in result.fusion.against] == hashes[2:]
    assert "nothing" not in [hit.place.path.removesuffix(".png") for hit in result.hits]


@pytest.fixture
def indexed(tmp_path: Path, make_folder: FolderFactory, tiny_model: Path) -> Path:
    with Case.open(tmp_path / "case.db") as case:
        options = IndexOptions(models=(str(tiny_model),), device="cpu")
        case.index(make_folder(n=4, duplicates=0), options=options)
    return tmp_path / "case.db"


def test_a_network_that_was_loaded_serves_the_next_picture_too(
    indexed: Path,
    tmp_path: Path,
    picture_factory: PictureFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded: list[str] = []
    load = Encoder.load.__func__  # type: ignore[attr-defined]

    def counted(cls: type[Encoder], /, spec: ModelSpec, **more: object) -> Encoder:
        loaded.append(spec.name)
        found: Encoder = load(cls, spec, **more)
        return found

    monkeypatch.setattr(Encoder, "load", classmethod(counted))
    shared = sharing(threading.Lock())
    with Case.open(indexed, read_only=True) as case:
        for seed in (50, 51):
            query = picture_factory(tmp_path / f"{seed}.png", seed=seed)
            assert search_cases([case], SearchRequest(query=query), shared=shared).hits
    assert sorted(loaded) == sorted(set(loaded)), loaded
    assert "tiny" in loaded


def test_a_picture_is_encoded_while_another_thread_has_its_turn_to_rank(
    indexed: Path, tmp_path: Path, picture_factory: PictureFactory
) -> None:
    ranking, encoded = threading.Lock(), threading.Event()
    shared = sharing(ranking)
    query = picture_factory(tmp_path / "query.png", seed=50)
    encode = shared.networks.encode

    class Telling(type(shared.networks)):  # type: ignore[misc]
        def encode(self, *what: object) -> object:
            found = encode(*what)  # type: ignore[arg-type]
            encoded.set()
            return found

    telling = type(shared)(Telling("cpu"), ranking)
    found: list[int] = []
    with ExitStack() as stack:
        case = stack.enter_context(Case.open(indexed, read_only=True))
        search = threading.Thread(
            target=lambda: found.append(
                len(search_cases([case], SearchRequest(query=query), shared=telling).hits)
            )
        )
        with ranking:
            search.start()
            assert encoded.wait(60), "it waited for the ranking before it encoded"
            assert not found
        search.join(60)
    assert found == [4]
