"""The benchmarks run, print their tables, and compare with an earlier system that is what it was."""

from __future__ import annotations

import hashlib
import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from image_similarity.case import Case
from image_similarity.encoding import registry
from tests.conftest import PictureFactory
from tests.tiny_model import write_tiny_model

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that imports one of the scripts, as Python finds them beside the one that it runs."""
    monkeypatch.syspath_prepend(SCRIPTS)
    return importlib.import_module


@pytest.fixture
def photos(tmp_path: Path, picture_factory: PictureFactory) -> Path:
    for number in range(3):
        picture_factory(tmp_path / "photos" / f"{number}.jpg", seed=number, size=(320, 240))
    return tmp_path / "photos"


def run(script: str, *arguments: str | Path) -> str:
    """Run a benchmark's trial and return what it printed."""
    done = subprocess.run(
        [sys.executable, SCRIPTS / script, "--quick", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def first_cells(text: str) -> list[str]:
    """The first column of all tables in a Markdown text, without their headings."""
    lines = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")]
    heads = {position - 1 for position, cell in enumerate(lines) if cell == "---"}
    return [cell for i, cell in enumerate(lines) if cell != "---" and i not in heads]


@pytest.mark.slow
def test_indexing_is_measured_by_step_against_its_limit_and_against_others(
    photos: Path, tiny_model: Path
) -> None:
    printed = run("bench_index.py", "--pictures", photos, "-m", tiny_model)
    assert "| -0" not in printed, (
        "a step that takes less than nothing is not measured where it is done"
    )
    assert first_cells(printed) == [
        "read",
        "hash (SHA-256, SHA-1, MD5)",
        "open, EXIF",
        "decode",
        "colours (ICC)",
        "resize",
        "network",
        "write",
        "all",
        "photos",
        "enlarged to 2 megapixels",
        "earlier system, network in batches of 32",
        "earlier system, network one by one",
        "CLIP ViT-B/32 in torch, batches of 8",
        "decode and resize",
        "DeepRanking network",
        "scene network",
        "JSON and write",
        "`os.scandir` and `stat`",
        "`Case.index`, nothing changed",
    ]


@pytest.mark.slow
def test_the_network_is_measured_against_others_in_several_runtimes(tiny_model: Path) -> None:
    printed = run("bench_embedding.py", "-m", tiny_model, "--threads", "1")
    assert first_cells(printed) == [
        "tiny.safetensors at 32 px, ONNX Runtime",
        "tiny.safetensors at 32 px, torch",
        "tiny.safetensors at 32 px, torch, normalisation joined",
        "MobileNetV2 at 224 px, ONNX Runtime",
        "ResNet50 at 224 px, ONNX Runtime",
        "import numpy",
        "load, one picture, torch",
    ]


@pytest.mark.slow
def test_memory_is_measured_for_several_numbers_and_kinds_of_pictures(
    photos: Path, tiny_model: Path
) -> None:
    printed = run("bench_memory.py", "--pictures", photos, "-m", tiny_model)
    large = [f"1 megapixels, {kind}" for kind in ("JPEG", "progressive JPEG", "PNG")]
    assert first_cells(printed) == ["1", "20", *large]


@pytest.mark.slow
def test_every_section_of_the_search_benchmark_measures_and_names_its_goals(
    load: Any, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asking, data = load("search_asking"), load("search_data")
    one = 1_200
    sizes = asking.Sizes(
        small=one, middle=one, large=one, growth=(one,), anchors=one, earlier=60, processes=1,
        warm=2, recall=5, batch=10, real=5,
    )  # fmt: skip
    real = next(data.clustered(300, seed=3))
    bench = asking.Bench(sizes, data.Work(tmp_path, real), str(tiny_model), tmp_path, [])
    for section in load("bench_search").SECTIONS.values():
        section(bench)
    cases = [case for case, *_ in bench.goals]
    assert len(cases) == 13
    assert "1,200 real, --approximate, recall@10" in cases
    printed = capsys.readouterr().out
    assert printed.count("same answer: 5 of 5") == 2
    assert "in 20 of 20 queries" in printed
    assert (tmp_path / "search_growth.png").read_bytes()[1:4] == b"PNG"


def test_neighbours_are_measured_against_other_libraries() -> None:
    cells = first_cells(run("bench_neighbours.py"))
    # Annoy is no dependency, and its rows stand only where it is installed.
    assert cells[:5] == [
        "ours, exact",
        "ours, exact, --same-scene",
        "ours, --approximate (`analyse ann`)",
        "scikit-learn, brute force in float32",
        "scikit-learn, BallTree",
    ]


def test_a_server_is_measured_against_a_file(postgres_server: str) -> None:
    printed = run("bench_server.py", "--url", postgres_server, "--memory", "64MB")
    cells = first_cells(printed)
    assert cells[0] == "SQLite: filled, with packs"
    for filter_ in ("none", "20 %", "1 %", "0.1 %"):
        assert sum(cell.startswith(f"{filter_}, ") for cell in cells) == 5
    assert printed.count("| approximate |") == 4


def test_real_vectors_are_made_of_pictures_once(
    load: Any, photos: Path, tiny_model: Path, tmp_path: Path
) -> None:
    read_real, file = load("search_data").read_real, tmp_path / "real.npy"
    (photos / "broken.jpg").write_bytes(b"no picture")
    made = read_real(file, photos, str(tiny_model), 10)
    assert made.dtype == np.float16
    assert len(made) == 3
    assert (read_real(file, None, "", 10) == made).all()


def test_a_million_real_vectors_are_the_real_ones_and_copies_with_jitter(load: Any) -> None:
    data = load("search_data")
    real = next(data.clustered(50))
    found = np.concatenate(list(data.enlarged(real, 120)))
    assert {row.tobytes() for row in found[:50]} == {row.tobytes() for row in real}
    cosines = found[50:100].astype(float) @ real.T.astype(float)
    assert np.allclose(cosines.max(axis=1), 1 / np.sqrt(1 + data.JITTER**2), atol=0.02)


def test_the_earlier_system_ranks_as_we_do(load: Any, tiny_model: Path, tmp_path: Path) -> None:
    earlier = load("search_earlier")
    info = registry.info(registry.get(str(tiny_model)))
    assert earlier.count_same_orders(info, str(tiny_model), 7, tmp_path) == (20, 20)


def test_another_order_or_another_distance_is_no_agreement(load: Any) -> None:
    agree = load("search_earlier").agree
    ranking = [(0.1, "a"), (0.2, "b")]
    assert agree(ranking, ranking)
    assert not agree(ranking, ranking[::-1])
    assert not agree(ranking, [(0.1, "a"), (0.20001, "b")])


def test_the_earlier_loop_gives_the_nearest_of_the_scene_without_the_query(
    load: Any, tmp_path: Path
) -> None:
    earlier = load("earlier_system")
    vectors = np.random.default_rng(0).standard_normal((40, 8))
    rows = [(f"{number:02d}", vectors[number].tolist(), f"{number % 2}") for number in range(40)]
    earlier.write(tmp_path / "earlier.db", rows)
    distances = np.linalg.norm(vectors - vectors[4], axis=1)
    expected = sorted((distances[n], f"{n:02d}") for n in range(0, 40, 2) if n != 4)[:5]
    found = earlier.search(tmp_path / "earlier.db", "04", "0", 5)
    assert [path for _, path in found] == [path for _, path in expected]
    assert [distance for distance, _ in found] == pytest.approx([d for d, _ in expected])


def test_the_earlier_network_is_as_large_as_the_published_one(load: Any) -> None:
    earlier = load("earlier_system")
    with torch.device("meta"):
        network = earlier.DeepRanking()
        vectors = network(torch.zeros(2, 3, 224, 224))
    assert sum(weights.numel() for weights in network.parameters()) == 62_998_528
    assert vectors.shape == (2, 4096)
    # 92 KB a picture, as its databases have.
    text = json.dumps((torch.randn(4096) / 64).tolist())
    assert 80_000 < len(text) < 100_000


def test_copies_are_new_contents_with_the_same_pixels(
    load: Any, photos: Path, tmp_path: Path
) -> None:
    copies = load("benchmark").copy_pictures(photos, 7, tmp_path / "copies")
    assert len({hashlib.sha256(path.read_bytes()).digest() for path in copies}) == 7
    assert copies[6].name.startswith("00000")
    with Image.open(copies[0]) as original, Image.open(copies[6]) as copy:
        assert original.tobytes() == copy.tobytes()


def test_ways_to_read_packs_are_compared_and_the_size_is_told() -> None:
    cells = first_cells(run("bench_packs.py"))
    assert "packs, `packs.vector_packs`, codes only" in cells
    assert {"the whole file", "`embedding`", "`vector_pack`"} < set(cells)


def test_a_generated_database_is_whole(tmp_path: Path, load: Any) -> None:
    synthetic = load("synthetic_database")
    info = synthetic.model_info(dim=8, scenes=10)
    blocks = synthetic.clustered(9_000, 8, 10)
    assert synthetic.write(tmp_path / "case.db", info, blocks) == 9_000
    with Case.open(tmp_path / "case.db", read_only=True) as case:
        assert case.verify().clean
        sha256 = synthetic.sha256_of(8_999)
        (nearest, *_) = case.search(sha256=sha256, scene="off", k=2).hits
    assert nearest.image.sha256 == sha256


def test_systems_are_compared_in_one_table_and_what_was_measured_is_kept(
    tmp_path: Path, picture_factory: PictureFactory, tiny_model: Path
) -> None:
    for number in range(12):
        picture_factory(tmp_path / "rooms" / f"class {number % 3}" / f"{number}.jpg", seed=number)
    smaller = write_tiny_model(tmp_path / "smaller.safetensors", dim=8)
    asked = [tmp_path / "rooms", "-m", tiny_model, "-m", smaller, "-m", "histogram"]
    asked += ["--speed-only", smaller, "--work", tmp_path / "work"]
    printed = run("compare_systems.py", *asked)
    head, _, *rows = [line for line in printed.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert "rooms: recall@1 | rooms: precision@5 | rooms: mAP@R" in head
    assert [row[:2] for row in cells] == [
        ["tiny", "16"], ["tiny", "8"], ["histogram", "–"], ["tiny", "8"],
    ]  # fmt: skip
    assert cells[0][-3].startswith("1 × (")
    assert int(cells[0][-2]) >= int(cells[1][-2]) > 2 * 8
    assert cells[2][-2:] == ["–", "–"]
    assert cells[3][2:5] == ["not measured"] * 3
    assert "tiny: random weights: quality not measured" in printed
    # A second run only reads what the first one kept.
    assert run("compare_systems.py", *asked).splitlines()[2:] == printed.splitlines()[2:]


def test_figures_of_another_comparison_never_stand_in_the_table(load: Any, tmp_path: Path) -> None:
    module = load("compare_systems")
    for _ in range(2):
        module.claim(tmp_path, "builtin", [Path("val")], None, module.QUICK)
    with pytest.raises(SystemExit, match="another comparison"):
        module.claim(tmp_path, "builtin", [Path("val")], None, module.Sizes())


def test_copies_with_jitter_are_near_and_keep_their_length(load: Any) -> None:
    enlarged = load("compare_systems").enlarged
    real = 40 * np.random.default_rng(0).standard_normal((30, 512)).astype(np.float32)
    raw = np.concatenate(list(enlarged(real, 100, unit=False)))
    assert (raw[:30] == real).all()
    moved = np.linalg.norm(raw[30:60] - real, axis=1) / np.linalg.norm(real, axis=1)
    assert moved == pytest.approx(np.full(30, 0.2), rel=0.2)
    unit = np.concatenate(list(enlarged(real, 100, unit=True)))
    assert np.linalg.norm(unit, axis=1) == pytest.approx(np.ones(100), abs=1e-5)


def test_pictures_of_a_list_are_copied_into_folders_of_their_classes(
    load: Any, photos: Path, tmp_path: Path
) -> None:
    (photos / "list.txt").write_text("0.jpg 1\n1.jpg 2\n2.jpg 1\n", encoding="utf-8")
    (photos / "names.txt").write_text("/s/shop/outdoor 1\n/b/bar 2\n", encoding="utf-8")
    copied, work = load("compare_systems").copied, tmp_path / "work"
    folder = copied(photos / "list.txt", photos / "names.txt", None, work)
    found = sorted(path.relative_to(work).as_posix() for path in folder.rglob("*.jpg"))
    assert found == [
        "list/bar/000001.jpg",
        "list/shop outdoor/000000.jpg",
        "list/shop outdoor/000002.jpg",
    ]
    (photos / "list.txt").write_text("0.jpg 1\ngone.jpg 2\n", encoding="utf-8")
    with pytest.raises(SystemExit, match="1 files cannot be read"):
        copied(photos / "list.txt", None, None, tmp_path / "other")


@pytest.mark.slow
def test_what_a_cluster_costs_is_measured(photos: Path, tiny_model: Path) -> None:
    printed = run("bench_cluster.py", "--pictures", photos, "-m", tiny_model)
    assert printed.count("| 6 | local |") == printed.count("| 6 | Ray, 1 actor |") == 1
