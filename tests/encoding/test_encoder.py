"""Pictures become unit vectors that depend on the picture and the model, and on nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from torch import nn

from image_similarity.encoding import encoder as encoder_module
from image_similarity.encoding import registry
from image_similarity.encoding.devices import free_memory, resolve_device
from image_similarity.encoding.encoder import Encoder, OutOfMemory, suggest_batch_size
from image_similarity.encoding.spec import ModelSpec
from image_similarity.errors import (
    DeviceUnavailable,
    WeightsChanged,
    WeightsMissing,
    WeightsRefused,
)
from image_similarity.values import Preprocess
from tests.tiny_model import tiny_card, tiny_state, write_tiny_model

Pictures = Any


class ConvolutionNet(nn.Module):
    """A small network whose rounding depends on the shape of the batch, as a real one's does."""

    def __init__(self, dim: int = 32) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=2), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, dim, 3)
        )

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.layers(pictures).mean(dim=(2, 3))


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    return registry.get(str(write_tiny_model(tmp_path_factory.mktemp("m") / "tiny.safetensors")))


@pytest.fixture(scope="module")
def encoder(spec: ModelSpec) -> Encoder:
    return Encoder.load(spec, device="cpu")


@pytest.fixture
def pictures() -> Pictures:
    return np.random.default_rng(7).integers(0, 256, (9, 32, 32, 3), np.uint8)


@pytest.fixture
def own_spec(tmp_path: Path) -> Callable[..., ModelSpec]:
    """A function that makes a spec, as a plug-in would, for a network with its present weights."""

    def make(network: nn.Module, **changes: Any) -> ModelSpec:
        path = tmp_path / "own.pth"
        torch.save(network.state_dict(), path)
        fields: dict[str, Any] = {
            "name": "own",
            "architecture": "own",
            "preprocess": Preprocess(32),
            "dim": 32,
            "weights": path,
            "build": lambda config: network,
        }
        return ModelSpec(**(fields | changes))

    return make


def test_a_loaded_model_says_what_it_is(encoder: Encoder, spec: ModelSpec) -> None:
    assert encoder.info == registry.info(spec)
    assert encoder.device == "cpu"
    assert encoder.runtime == f"torch {torch.__version__}"


def test_vectors_are_those_that_the_card_describes(encoder: Encoder, pictures: Pictures) -> None:
    """Computed again in float64, by numpy alone: thumbnail, normalisation, projection, length."""
    blocks = pictures.astype(np.float64).reshape(9, 8, 4, 8, 4, 3).mean(axis=(2, 4))
    values = ((blocks / 255 - 0.5) / 0.25).transpose(0, 3, 1, 2).reshape(9, -1)
    state = tiny_state()
    vectors = values @ state["embedding.weight"].T.astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    odds = np.exp(values @ state["scene_head.weight"].T.astype(np.float64))
    encoded = encoder.encode(pictures)
    assert encoded.vectors is not None
    assert encoded.scenes is not None
    np.testing.assert_allclose(encoded.vectors, vectors, atol=1e-6)
    np.testing.assert_allclose(encoded.scenes, odds / odds.sum(axis=1, keepdims=True), atol=1e-6)
    assert encoded.vectors.dtype == encoded.scenes.dtype == np.float32
    assert encoded.finite.dtype == np.bool_
    assert encoded.finite.all()


def test_similar_pictures_get_similar_vectors(encoder: Encoder) -> None:
    """What the other tests of the project rely on."""
    random = np.random.default_rng(0)
    rooms = random.integers(0, 256, (20, 4, 4, 3)).repeat(8, axis=1).repeat(8, axis=2)
    noisy = np.clip(rooms + random.normal(0, 20, rooms.shape), 0, 255)
    one, other = (encoder.encode(each.astype(np.uint8)).vectors for each in (rooms, noisy))
    assert one is not None
    assert other is not None
    assert ((one @ other.T).argmax(axis=1) == np.arange(20)).all()


def test_a_row_does_not_depend_on_its_batch(
    own_spec: Callable[..., ModelSpec], pictures: Pictures
) -> None:
    """Within one step of the float16 that is stored, for every size of batch."""
    encoder = Encoder.load(own_spec(ConvolutionNet()), device="cpu")
    whole = encoder.encode(pictures).vectors
    assert whole is not None
    step = np.spacing(np.abs(whole).astype(np.float16)).astype(np.float32)
    for size in (1, 2, 4, 5):
        parts = [encoder.encode(pictures[at : at + size]).vectors for at in range(0, 9, size)]
        assert (np.abs(np.concatenate(parts) - whole) <= step).all()  # type: ignore[arg-type]


def test_two_loads_give_the_same_vectors(spec: ModelSpec, pictures: Pictures) -> None:
    one, other = (Encoder.load(spec, device="cpu").encode(pictures).vectors for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_loading_leaves_the_callers_random_numbers_alone(spec: ModelSpec) -> None:
    before = torch.random.get_rng_state()
    Encoder.load(spec, device="cpu")
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_mean_is_taken_off_and_the_length_restored(
    spec: ModelSpec, encoder: Encoder, pictures: Pictures
) -> None:
    plain = encoder.encode(pictures).vectors
    assert plain is not None
    mean = plain.mean(axis=0)
    centred = replace(spec, centre=tuple(float(each) for each in mean))
    vectors = Encoder.load(centred, device="cpu").encode(pictures).vectors
    wanted = plain - mean
    np.testing.assert_allclose(
        vectors, wanted / np.linalg.norm(wanted, axis=1, keepdims=True), atol=1e-6
    )


def test_no_pictures_give_no_rows(encoder: Encoder) -> None:
    encoded = encoder.encode(np.empty((0, 32, 32, 3), np.uint8))
    assert encoded.vectors is not None
    assert encoded.scenes is not None
    assert (encoded.vectors.shape, encoded.scenes.shape) == ((0, 16), (0, 4))
    assert encoded.finite.shape == (0,)


def test_a_batch_that_may_not_be_written_to_is_encoded_and_left_as_it_is(
    encoder: Encoder, pictures: Pictures
) -> None:
    wanted = encoder.encode(pictures).vectors
    copy = pictures.copy()
    pictures.setflags(write=False)
    np.testing.assert_array_equal(encoder.encode(pictures).vectors, wanted)
    np.testing.assert_array_equal(pictures, copy)


def test_a_view_of_a_larger_batch_is_encoded(encoder: Encoder, pictures: Pictures) -> None:
    flipped = pictures[::2, :, ::-1]
    np.testing.assert_array_equal(
        encoder.encode(flipped).vectors, encoder.encode(flipped.copy()).vectors
    )


@pytest.mark.parametrize(
    "batch",
    [
        np.zeros((1, 32, 32, 3), np.float32),
        np.zeros((1, 32, 31, 3), np.uint8),
        np.zeros((32, 32, 3), np.uint8),
        np.zeros((1, 3, 32, 32), np.uint8),
    ],
)
def test_a_batch_of_another_kind_is_a_fault_of_the_caller(encoder: Encoder, batch: Any) -> None:
    with pytest.raises(ValueError, match="expected"):
        encoder.encode(batch)


def test_a_model_without_scenes_gives_none(tmp_path: Path, pictures: Pictures) -> None:
    path = write_tiny_model(tmp_path / "plain.safetensors", scenes=())
    encoded = Encoder.load(registry.get(str(path)), device="cpu").encode(pictures)
    assert encoded.scenes is None
    assert encoded.vectors is not None


def test_a_model_that_only_classifies_gives_no_vectors(spec: ModelSpec, pictures: Pictures) -> None:
    encoded = Encoder.load(replace(spec, dim=None), device="cpu").encode(pictures)
    assert encoded.vectors is None
    assert encoded.scenes is not None
    assert encoded.finite.all()


def test_one_pass_gives_both_vectors_and_scenes(
    spec: ModelSpec, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = Encoder.load(spec, device="cpu")
    calls = []
    encoder._network.register_forward_hook(lambda *_: calls.append(1))
    encoder.encode(pictures)
    assert calls == [1]


class Flawed(ConvolutionNet):
    """Gives NaN for bright pictures, infinity for dark ones, and zeros for those in between."""

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        vectors = super().forward(pictures)
        vectors[pictures.mean(dim=(1, 2, 3)) > 2] = torch.nan
        vectors[pictures.mean(dim=(1, 2, 3)) < -1.8] = torch.inf
        vectors[pictures.mean(dim=(1, 2, 3)).abs() < 0.2] = 0
        return vectors


def test_rows_that_are_not_finite_are_reported_one_by_one(
    own_spec: Callable[..., ModelSpec],
) -> None:
    encoder = Encoder.load(own_spec(Flawed()), device="cpu")
    batch = np.zeros((4, 32, 32, 3), np.uint8)
    batch[:] = np.array([255, 0, 115, 200], np.uint8).reshape(4, 1, 1, 1)
    encoded = encoder.encode(batch)
    assert encoded.finite.tolist() == [False, False, False, True]
    assert encoded.vectors is not None
    assert np.isfinite(encoded.vectors[3]).all()


@pytest.fixture
def failing(
    spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[BaseException], Encoder]]:
    def make(error: BaseException) -> Encoder:
        encoder = Encoder.load(spec, device="cpu")

        def fail(*_: Any) -> None:
            raise error

        monkeypatch.setattr(encoder._runner, "_module", fail)
        return encoder

    yield make


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: not enough memory"),
        RuntimeError("could not allocate: can't allocate memory"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
)
def test_running_out_of_memory_is_told_apart_from_other_errors(
    failing: Callable[[BaseException], Encoder], pictures: Pictures, error: BaseException
) -> None:
    with pytest.raises(OutOfMemory) as caught:
        failing(error).encode(pictures)
    assert caught.value.__cause__ is error
    with pytest.raises(RuntimeError, match="bug"):
        failing(RuntimeError("bug")).encode(pictures)


def test_a_real_allocation_that_fails_is_out_of_memory(
    own_spec: Callable[..., ModelSpec], pictures: Pictures
) -> None:
    class Greedy(ConvolutionNet):
        def forward(self, values: torch.Tensor) -> torch.Tensor:
            if len(values) > 4:
                torch.empty(2**62, dtype=torch.uint8)
            return super().forward(values)

    encoder = Encoder.load(own_spec(Greedy()), device="cpu")
    with pytest.raises(OutOfMemory):
        encoder.encode(pictures)
    assert encoder.encode(pictures[:4]).finite.all()


def test_a_model_that_the_device_cannot_hold_is_a_matter_of_the_device(
    own_spec: Callable[..., ModelSpec],
) -> None:
    class Greedy(ConvolutionNet):
        def forward(self, values: torch.Tensor) -> torch.Tensor:
            raise MemoryError

    with pytest.raises(DeviceUnavailable, match="memory of cpu"):
        Encoder.load(own_spec(Greedy()), device="cpu")


@pytest.mark.parametrize(
    "device", ["gpu", "cuda:x", "cuda:", "cpu:0", "", "CUDA", "cuda:-1", "cuda:²"]
)
def test_an_unknown_device_is_refused(device: str) -> None:
    with pytest.raises(DeviceUnavailable, match="No device is called"):
        resolve_device(device)


def test_devices_are_those_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    names = ("auto", "cpu", "cuda", "cuda:1")
    assert [resolve_device(name) for name in names] == ["cuda:0", "cpu", "cuda:0", "cuda:1"]
    with pytest.raises(DeviceUnavailable, match="sees 2"):
        resolve_device("cuda:2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == "cpu"
    with pytest.raises(DeviceUnavailable, match="cuda is not there"):
        resolve_device("cuda")


def test_the_number_of_threads_can_be_set(spec: ModelSpec) -> None:
    before = torch.get_num_threads()
    try:
        Encoder.load(spec, device="cpu", threads=1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_the_free_memory_of_this_machine_is_known() -> None:
    free = free_memory("cpu")
    assert free is None or free > 2**20


@pytest.mark.parametrize(
    ("free", "batch"),
    [(None, 16), (0, 1), (2**20, 1), (32 * 2**20, 10), (2**40, 256)],
)
def test_the_batch_follows_the_free_memory(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch, free: int | None, batch: int
) -> None:
    """A quarter of it, by 64 times the float32 input: 768 KiB for 32 x 32 pixels."""
    monkeypatch.setattr(encoder_module, "free_memory", lambda device: free)
    assert suggest_batch_size(encoder) == batch


def test_missing_weights_are_told(spec: ModelSpec, tmp_path: Path) -> None:
    for path in (None, tmp_path / "missing.safetensors"):
        with pytest.raises(WeightsMissing):
            Encoder.load(replace(spec, weights=path), device="cpu")


def test_weights_that_changed_are_refused(spec: ModelSpec) -> None:
    with pytest.raises(WeightsChanged):
        Encoder.load(replace(spec, weights_sha256="0" * 64), device="cpu")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"dim": 8}, "lengths"),
        ({"scenes": ["one", "two"]}, "lengths"),
        ({"config": {"dim": 16, "scenes": 4, "thumbnail": 4}}, "another shape"),
        ({"config": {"dim": 16}}, "unknown: scene_head"),
        ({"config": {"dim": 16, "scenes": 4, "colour": "blue"}}, "configuration"),
        ({"config": {"dim": "16"}}, "configuration"),
        ({"config": {"dim": 2**31, "scenes": 4}}, "numbers"),
        ({"config": {"dim": -1, "scenes": 4}}, "configuration"),
        ({"architecture": "multiscale/none"}, "configuration"),
    ],
)
def test_a_card_that_misstates_its_network_is_refused_when_it_is_loaded(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    path = tmp_path / "wrong.safetensors"
    save_file(tiny_state(), path, metadata={"card": json.dumps(tiny_card() | changes)})
    with pytest.raises(WeightsRefused, match=reason):
        Encoder.load(registry.get(str(path)), device="cpu")


@pytest.mark.skipif(not registry.BUILTIN_WEIGHTS.is_file(), reason="not trained yet")
def test_the_built_in_model_embeds_and_classifies_in_one_pass() -> None:
    spec = registry.get("builtin")
    encoder = Encoder.load(spec, device="cpu")
    size = spec.preprocess.size
    pictures = np.random.default_rng(1).integers(0, 256, (2, size, size, 3), np.uint8)
    encoded = encoder.encode(pictures)
    assert encoded.vectors is not None
    assert encoded.scenes is not None
    assert encoded.vectors.shape == (2, 256)
    assert encoded.scenes.shape == (2, len(spec.scenes))
    np.testing.assert_allclose(np.linalg.norm(encoded.vectors, axis=1), 1, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_vectors_of_the_cpu(
    own_spec: Callable[..., ModelSpec], pictures: Pictures
) -> None:
    spec = own_spec(ConvolutionNet())
    one, other = (Encoder.load(spec, device=each).encode(pictures) for each in ("cpu", "cuda"))
    np.testing.assert_allclose(one.vectors, other.vectors, atol=2e-6)  # type: ignore[arg-type]


def test_the_architecture_of_the_built_in_model_is_built_from_its_card(tmp_path: Path) -> None:
    """With random weights, stored as float16, since the trained ones need not be there yet."""
    from image_similarity.encoding.networks.multiscale import MultiscaleNet

    config = {"trunk": "regnet_x_400mf", "dim": 8, "scenes": 2, "shallow_channels": 4}
    torch.manual_seed(0)
    network = MultiscaleNet(**config).eval()
    state = {key: value.numpy() for key, value in network.state_dict().items()}
    halved = {k: v.astype(np.float16) if v.dtype == np.float32 else v for k, v in state.items()}
    changes = {"architecture": "multiscale/regnet_x_400mf", "config": config, "dim": 8}
    card = tiny_card(dim=8, scenes=("in", "out")) | changes
    path = tmp_path / "multiscale.safetensors"
    save_file(halved, path, metadata={"card": json.dumps(card)})
    encoder = Encoder.load(registry.get(str(path)), device="cpu")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    encoded = encoder.encode(pixels)
    network.load_state_dict({key: torch.from_numpy(value) for key, value in halved.items()})
    with torch.inference_mode():
        values = (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - 0.5) / 0.25
        embedding, logits = network(values)
    np.testing.assert_allclose(encoded.vectors, embedding, atol=1e-5)  # type: ignore[arg-type]
    np.testing.assert_allclose(encoded.scenes, logits.softmax(dim=1), atol=1e-5)  # type: ignore[arg-type]


# --- raw vectors ------------------------------------------------------------------------------------


def test_vectors_without_normalisation_stay_as_the_network_gives_them(
    own_spec: Callable[..., ModelSpec], pictures: Pictures
) -> None:
    network = ConvolutionNet()
    raw, unit = (
        Encoder.load(own_spec(network, normalisation=each), device="cpu").encode(pictures).vectors
        for each in ("none", "l2")
    )
    assert raw is not None
    assert unit is not None
    lengths = np.linalg.norm(raw, axis=1, keepdims=True)
    assert (np.abs(lengths - 1) > 1e-3).all()
    np.testing.assert_allclose(raw / lengths, unit, atol=1e-6)


def test_a_raw_vector_of_zeros_is_one_like_any_other(
    own_spec: Callable[..., ModelSpec], pictures: Pictures
) -> None:
    network = ConvolutionNet()
    torch.nn.init.zeros_(network.layers[3].weight)
    torch.nn.init.zeros_(network.layers[3].bias)
    encoded = Encoder.load(own_spec(network, normalisation="none"), device="cpu").encode(pictures)
    assert encoded.finite.all()
    assert not Encoder.load(own_spec(network), device="cpu").encode(pictures).finite.any()


@pytest.mark.parametrize(("largest", "stored"), [(60_000.0, True), (70_000.0, False)])
def test_what_half_precision_cannot_hold_is_not_finite(
    own_spec: Callable[..., ModelSpec], pictures: Pictures, largest: float, stored: bool
) -> None:
    network = ConvolutionNet()
    torch.nn.init.zeros_(network.layers[3].weight)
    torch.nn.init.constant_(network.layers[3].bias, largest)
    encoded = Encoder.load(own_spec(network, normalisation="none"), device="cpu").encode(pictures)
    assert (encoded.finite == stored).all()
