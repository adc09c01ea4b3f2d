"""Weights of DeepRanking as Keras wrote them: read by order and shape, equal to Keras, and others refused."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image_similarity.encoding import keras_h5, registry
from image_similarity.encoding.encoder import Encoder
from image_similarity.encoding.spec import fingerprint
from image_similarity.encoding.weights import load_state
from image_similarity.errors import ExtraMissing, ModelError, WeightsRefused
from image_similarity.values import Preprocess
from tests import keras_file

ORIGINAL = Path(__file__).with_name("keras_original.py")


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return keras_file.write(tmp_path_factory.mktemp("keras") / "narrow.h5")


def vectors_of(path: Path, pictures: np.ndarray) -> np.ndarray:
    """Return what we give for pictures uint8 (N, 224, 224, 3)."""
    found = Encoder.load(registry.get(str(path)), device="cpu").encode(pictures)
    assert found.finite.all()
    vectors: np.ndarray = found.vectors
    return vectors


def compare_with_keras(folder: Path, widths: keras_file.Widths, count: int) -> float:
    """Return the largest difference of any number of a vector, for a file of ours and for one of Keras's own."""
    weights = keras_file.write(folder / "weights.h5", keras_file.arrays(widths))
    pictures = np.random.default_rng(1).integers(0, 256, (count, 224, 224, 3), np.uint8)
    np.save(folder / "pictures.npy", pictures.astype(np.float32) / 255)
    said, saved = folder / "vectors.npy", folder / "saved.h5"
    command = [sys.executable, ORIGINAL, weights, folder / "pictures.npy", said, saved]
    done = subprocess.run(
        [*map(str, command), json.dumps(widths)],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_HOME": str(folder)},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    expected = np.load(said)
    assert expected.std(axis=0).max() > 1e-3, "the pictures must be told apart"
    with h5py.File(saved) as file:
        assert "model_weights" in file
    return max(
        float(np.abs(vectors_of(path, pictures) - expected).max()) for path in (weights, saved)
    )


def test_a_narrow_network_gives_the_vectors_that_keras_gives(tmp_path: Path) -> None:
    assert compare_with_keras(tmp_path, keras_file.NARROW, 3) < 1e-5


@pytest.mark.slow
def test_the_full_network_gives_the_vectors_that_keras_gives(tmp_path: Path) -> None:
    difference = compare_with_keras(tmp_path, keras_file.FULL, 2)
    print(f"largest difference: {difference:.3g}")
    assert difference < 1e-4


def test_the_full_network_has_as_many_weights_as_the_original() -> None:
    shapes = keras_file.shapes(keras_file.FULL)
    assert sum(int(np.prod(shape)) + shape[-1] for shape in shapes) == 62_998_528


LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "numbers that go on from an earlier network": lambda path: keras_file.write(
        path, layers=keras_file.names(9)
    ),
    "groups made in another order": lambda path: keras_file.write(path, shuffled=True),
    "the whole model": lambda path: keras_file.write(path, nested=True),
    "names without a device": lambda path: keras_file.write(path, suffix=""),
    "names that say nothing": lambda path: keras_file.write(
        path, layers=[f"layer {chr(97 + number)}" for number in range(18)]
    ),
    "texts of fixed length, as h5py 2 wrote them": lambda path: keras_file.write(path, fixed=True),
    "the bias first": lambda path: keras_file.write(path, bias_first=True),
    "the shallow paths listed the other way round": lambda path: swapped(path),
}


def swapped(path: Path) -> Path:
    """Of conv2d_10 and conv2d_9, listed in this order, the lower number is the stride of 16."""
    layers, weights = keras_file.names(9), keras_file.arrays()
    for each in (layers, weights):
        each[13], each[14] = each[14], each[13]
    return keras_file.write(path, weights, layers)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_of_the_same_weights_gives_the_same_state(
    layout: str, narrow: Path, tmp_path: Path
) -> None:
    expected = load_state(narrow)
    path = LAYOUTS[layout](tmp_path / "other.hdf5")
    found = load_state(path)
    assert found.keys() == expected.keys()
    assert all((found[key] == value).all() for key, value in expected.items())
    assert registry.get(str(path)).config == registry.get(str(narrow)).config


def test_the_model_is_described_by_its_file(narrow: Path) -> None:
    spec = registry.get(str(narrow))
    assert (spec.name, spec.architecture, spec.dim) == ("narrow", "keras/deepranking", 16)
    assert (spec.normalisation, spec.metric) == ("l2", "euclidean")
    assert spec.preprocess == Preprocess(
        224, "squash", None, "deepranking-skimage-v1", 0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    )
    assert "unknown training pictures" in spec.origin
    assert spec.licence == "unknown"


def test_the_known_file_is_recognised_by_its_hash(
    narrow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = registry.info(registry.get(str(narrow)))
    monkeypatch.setattr(keras_h5, "KNOWN_SHA256", unknown.weights_sha256)
    assert registry.get(str(narrow)).name == "narrow", "the size of the known file is another"
    monkeypatch.setattr(keras_h5, "KNOWN_BYTES", narrow.stat().st_size)
    known = registry.info(registry.get(str(narrow)))
    assert known.name == "deepranking-v2-150000"
    assert "150,000 steps" in known.origin
    assert "not documented" in known.origin
    assert known.fingerprint == unknown.fingerprint, "only what is said of it is another"


def test_a_card_beside_the_file_is_what_counts(narrow: Path, tmp_path: Path) -> None:
    path = tmp_path / "rooms.h5"
    path.write_bytes(narrow.read_bytes())
    spec = registry.get(str(path))
    card: dict[str, Any] = {
        "format": 1,
        "name": "rooms of 2019",
        "architecture": spec.architecture,
        "config": dict(spec.config),
        "dim": spec.dim,
        "layer": spec.layer,
        "preprocess": {
            "size": 224,
            "interpolation": "deepranking-skimage-v1",
            "decode_scale": 0,
            "mean": [0, 0, 0],
            "std": [1, 1, 1],
        },
    }
    beside = path.with_name("rooms.h5.json")
    beside.write_text(json.dumps(card))
    named = registry.get(str(path))
    assert named.name == "rooms of 2019"
    assert fingerprint(named, "0" * 64) == fingerprint(spec, "0" * 64)
    card["preprocess"] |= {"fit": "crop", "resize": 256}
    beside.write_text(json.dumps(card))
    with pytest.raises(WeightsRefused, match="squashes"):
        registry.get(str(path))


def test_without_h5py_the_extra_is_named(narrow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ExtraMissing, match="h5py") as caught:
        registry.get(str(narrow))
    assert "image_similarity[analysis]" in caught.value.hint


def edited(path: Path, edit: Callable[[h5py.File], None]) -> Path:
    keras_file.write(path)
    with h5py.File(path, "r+") as file:
        edit(file)
    return path


def replaced(name: str, **how: Any) -> Callable[[h5py.File], None]:
    """Make an array anew in another way."""

    def edit(file: h5py.File) -> None:
        values = file[name][()]
        del file[name]
        file.create_dataset(name, **({"data": values} | how))

    return edit


def linked(name: str, link: Any) -> Callable[[h5py.File], None]:
    def edit(file: h5py.File) -> None:
        del file[name]
        file[name] = link

    return edit


def listed(group: str, attribute: str, value: Any) -> Callable[[h5py.File], None]:
    def edit(file: h5py.File) -> None:
        file[group].attrs[attribute] = value

    return edit


def virtual(file: h5py.File) -> None:
    del file[DENSE]
    layout = h5py.VirtualLayout((204, 16), np.float32)
    layout[:] = h5py.VirtualSource("elsewhere.h5", "values", (204, 16))
    file.create_virtual_dataset(DENSE, layout)


def unwritten(file: h5py.File) -> None:
    """An array that takes no room, and would be given as so many zeros."""
    del file[DENSE]
    file.create_dataset(DENSE, (2**20, 2**20), np.float32)


def chain(group: str) -> Callable[[h5py.File], None]:
    """A group that lies in itself."""

    def edit(file: h5py.File) -> None:
        del file[group]
        file[group] = file["/"]

    return edit


DENSE = "dense_2/dense_2/kernel:0"
REFUSED: dict[str, tuple[Callable[[h5py.File], None], str]] = {
    "no list of layers": (lambda file: file.attrs.clear(), "layer_names is missing"),
    "a list that is no text": (listed("/", "layer_names", [1, 2]), "no texts"),
    "a list that is one text": (listed("/", "layer_names", "dense"), "no list"),
    "a list of too many": (listed("/", "layer_names", [b"x"] * 2000), "at most 1000"),
    "a name twice": (listed("/", "layer_names", [b"dense", b"dense"]), "twice"),
    "a layer that is not there": (lambda file: file.__delitem__("dense"), "'dense' is missing"),
    "an array that is not there": (lambda file: file.__delitem__(DENSE), "is missing below"),
    "a layer without its arrays": (listed("dense", "weight_names", []), "2 of 3 dense layers"),
    "a layer without its bias": (
        listed("dense", "weight_names", [b"dense/kernel:0"]),
        "not a kernel and its bias",
    ),
    "a name that climbs": (
        listed("dense", "weight_names", [b"../dense_1/dense_1/kernel:0"]),
        "no name",
    ),
    "another shape": (replaced(DENSE, data=np.ones((205, 16), "f4")), "it would get 204"),
    "a bias of another layer": (
        replaced("dense/dense/bias:0", data=np.ones(4, "f4")),
        "not a kernel and its bias",
    ),
    "a convolution of another kind": (
        replaced("conv2d/conv2d/kernel:0", data=np.ones((5, 5, 3, 6), "f4")),
        "1 of 2 convolutions of 8 x 8",
    ),
    "whole numbers": (replaced(DENSE, dtype="i4"), "int32, not float32"),
    "doubles": (replaced(DENSE, dtype="f8"), "float64, not float32"),
    "no numbers": (replaced(DENSE, data=np.full((204, 16), np.nan, "f4")), "not a number"),
    "compressed": (replaced(DENSE, compression="gzip"), "chunked"),
    "in another file": (
        replaced(
            DENSE, shape=(204, 16), data=None, dtype="f4", external=[("/etc/passwd", 0, 99999)]
        ),
        "another file",
    ),
    "virtual": (virtual, "virtual"),
    "far larger than the file": (unwritten, "cannot hold"),
    "never written": (
        replaced(DENSE, shape=(204, 16), data=None, dtype="f4"),
        "is empty",
    ),
    "a soft link": (linked(DENSE, h5py.SoftLink("/dense")), "only a link"),
    "a link to another file": (linked("dense", h5py.ExternalLink("/tmp/x.h5", "/")), "only a link"),
    "a circle": (chain("dense"), "weight_names is missing"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_other_files_are_refused_with_one_line_that_says_why(what: str, tmp_path: Path) -> None:
    edit, reason = REFUSED[what]
    path = edited(tmp_path / "weights.h5", edit)
    with pytest.raises(WeightsRefused, match=reason) as caught:
        Encoder.load(registry.get(str(path)), device="cpu")
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message


def test_the_layout_of_later_keras_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.weights.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("layers/dense/vars/0", data=np.ones((3, 3), "f4"))
    with pytest.raises(WeightsRefused, match="save_weights"):
        registry.get(str(path))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no HDF5"),
        (b"\x89HDF", "no HDF5"),
        (b"x" * 999, "no HDF5"),
        # What a clone holds where the file itself was not fetched.
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:c3fb\n", "pointer of Git LFS"),
    ],
)
def test_a_file_that_only_has_the_suffix_is_no_model(
    content: bytes, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "false.h5"
    path.write_bytes(content)
    with pytest.raises(WeightsRefused, match=said):
        registry.get(str(path))


def test_a_reader_that_hangs_is_ended(
    narrow: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(keras_h5, "_COMMAND", [sys.executable, "-c", "import time; time.sleep(60)"])
    monkeypatch.setattr(keras_h5, "SECONDS", 0.2)
    with pytest.raises(WeightsRefused, match="hung"):
        registry.get(str(narrow))


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x02\0\0\0[]",
        b"\x02\0\0\0{}",
        b"\xff\xff\xff\xff",
        b'\x15\0\0\0{"arrays":[["x",[0]]]}',
        b'\x17\0\0\0{"arrays":[["x",[-1]]]} ',
        b'\x10\0\0\0{"arrays":[[1]]}',
    ],
)
def test_whatever_the_reader_says_is_checked(
    answer: bytes, narrow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = f"import sys; sys.stdout.buffer.write({answer!r})"
    monkeypatch.setattr(keras_h5, "_COMMAND", [sys.executable, "-c", code])
    with pytest.raises(WeightsRefused, match=r"damaged|empty"):
        registry.get(str(narrow))


shapes = st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcdef"), shapes), max_size=40))
def test_no_list_of_arrays_is_taken_for_the_network_by_chance(
    arrays: list[tuple[str, tuple[int, ...]]],
) -> None:
    with pytest.raises(WeightsRefused):
        keras_h5.arrange(arrays, Path("x.h5"))


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_file_is_read_or_refused_and_never_more(
    seed: int, narrow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keras_h5, "SECONDS", 5.0)
    sound = narrow.read_bytes()
    draw = random.Random(seed)
    for number in range(5):
        damaged = bytearray(sound[: draw.choice([len(sound), draw.randrange(8, len(sound))])])
        for _ in range(draw.choice([1, 4, 40])):
            place = draw.randrange(8, len(damaged))
            damaged[place : place + 8] = draw.choice([b"\xff" * 8, bytes(8), draw.randbytes(1)])
        path = tmp_path / f"{number}.h5"
        path.write_bytes(damaged)
        try:
            state = load_state(path)
        except ModelError as error:
            assert "\n" not in error.message
        else:
            assert len(state) == 36
