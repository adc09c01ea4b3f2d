"""A shipped graph fits the models of its network and no other, and ONNX Runtime answers with it as torch does."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from image_similarity import golden
from image_similarity.encoding import encoder as encoder_module
from image_similarity.encoding import graph, onnx_network, registry
from image_similarity.encoding.card import read_card
from image_similarity.encoding.encoder import Encoder, OutOfMemory, choose_runtime
from image_similarity.encoding.scenes import top_scenes
from image_similarity.encoding.spec import ModelSpec
from image_similarity.errors import (
    DeviceUnavailable,
    InvalidSetting,
    ModelError,
    WeightsRefused,
)
from tests.conftest import draw_picture

ROOT = Path(__file__).resolve().parents[2]
# Measured on 300 photographs, random pixels and the golden pictures: 3e-12. The bound that is promised:
MIN_COSINE = 1 - 1e-6

Own = Callable[..., ModelSpec]


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    return registry.get("builtin")


@pytest.fixture(scope="module")
def in_onnx(spec: ModelSpec) -> Encoder:
    return Encoder.load(spec, runtime="onnx", threads=1)


@pytest.fixture(scope="module")
def in_torch(spec: ModelSpec) -> Encoder:
    return Encoder.load(spec, device="cpu", runtime="torch")


@pytest.fixture
def own(spec: ModelSpec, tmp_path: Path) -> Own:
    """A function that writes a model of the built-in network and gives its spec."""

    def make(
        change: Callable[[dict[str, Any]], object] = lambda state: None, **card: Any
    ) -> ModelSpec:
        assert spec.weights is not None
        state = load_file(spec.weights)
        change(state)
        written = (read_card(spec.weights) or {}) | card
        path = tmp_path / "own.safetensors"
        save_file(state, path, metadata={"card": json.dumps(written)})
        return registry.get(str(path))

    return make


def pictures_of(spec: ModelSpec) -> np.ndarray:
    """The golden pictures, drawn ones, random pixels, and one each of black and of white."""
    size = spec.preprocess.size
    drawn = [np.asarray(draw_picture(seed, (size, size))) for seed in range(8)]
    noise = np.random.default_rng(3).integers(0, 256, (8, size, size, 3), np.uint8)
    flat = [np.full((size, size, 3), value, np.uint8) for value in (0, 255)]
    made = [golden._pixels(name, spec.preprocess) for name in (golden.RAMP, *golden.FILES)]
    return np.stack([*made, *drawn, *noise, *flat])


# --- the same answer ------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 5, 23])
def test_both_runtimes_give_the_same_vectors_and_scenes(
    in_onnx: Encoder, in_torch: Encoder, size: int
) -> None:
    pictures = pictures_of(in_onnx.spec)
    for start in range(0, len(pictures), size):
        batch = pictures[start : start + size]
        one, other = in_onnx.encode(batch), in_torch.encode(batch)
        assert one.vectors is not None
        assert other.vectors is not None
        assert one.scenes is not None
        assert other.scenes is not None
        cosines = (one.vectors.astype(np.float64) * other.vectors).sum(axis=1)
        assert cosines.min() >= MIN_COSINE
        np.testing.assert_allclose(one.scenes, other.scenes, atol=1e-5)
        for scenes, others in zip(one.scenes, other.scenes, strict=True):
            assert [at for at, _ in top_scenes(scenes, 5)] == [
                at for at, _ in top_scenes(others, 5)
            ]
        assert one.finite.all()


def test_the_golden_record_holds_in_both_runtimes(in_onnx: Encoder, in_torch: Encoder) -> None:
    assert golden.check(in_onnx) == golden.check(in_torch) == len(golden.FILES) + 1


def test_the_fingerprint_knows_no_runtime(in_onnx: Encoder, in_torch: Encoder) -> None:
    assert in_onnx.info == in_torch.info
    assert in_onnx.runtime.startswith("onnxruntime ")
    assert in_torch.runtime.startswith("torch ")


def test_the_mean_is_taken_off_in_both_runtimes(spec: ModelSpec) -> None:
    centred = replace(spec, centre=tuple(np.linspace(-0.1, 0.1, spec.dim).tolist()))
    pictures = pictures_of(spec)[:4]
    one, other = (
        Encoder.load(centred, device="cpu", runtime=each).encode(pictures).vectors
        for each in ("onnx", "torch")
    )
    np.testing.assert_allclose(one, other, atol=1e-5)  # type: ignore[arg-type]


# --- which graph belongs to which model -----------------------------------------------------


def test_the_built_in_model_has_its_graph_and_no_other_is_shipped(spec: ModelSpec) -> None:
    """If not: python scripts/export_graph.py."""
    found = graph.find_graph(spec)
    assert found is not None
    assert [path.name for path in graph.FOLDER.glob("*.onnx")] == [found.path.name]
    assert found.path.stat().st_size < 200_000
    assert spec.weights is not None
    stored = {name: array.shape for name, array in load_file(spec.weights).items()}
    assert all(stored[name] == shape for name, shape in found.tensors.items())


def test_new_weights_and_heads_of_another_length_go_with_the_graph(own: Own) -> None:
    def shorten(state: dict[str, Any]) -> None:
        for layer, length in (("embedding", 64), ("scene_head", 3)):
            for part in ("weight", "bias"):
                state[f"{layer}.{part}"] = state[f"{layer}.{part}"][:length].copy()
        state["shallow.weight"] *= np.float16(0.5)

    config = dict(registry.get("builtin").config) | {"dim": 64, "scenes": 3}
    spec = own(shorten, config=config, dim=64, scenes=["a", "b", "c"], golden=[])
    assert choose_runtime(spec, device="cpu") == "onnx"
    pictures = pictures_of(spec)[:3]
    one, other = (
        Encoder.load(spec, device="cpu", runtime=each).encode(pictures)
        for each in ("onnx", "torch")
    )
    np.testing.assert_allclose(one.vectors, other.vectors, atol=1e-5)  # type: ignore[arg-type]
    np.testing.assert_allclose(one.scenes, other.scenes, atol=1e-5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        {"architecture": "multiscale/resnet18"},
        {"preprocess": replace(registry.get("builtin").preprocess, size=96)},
        {"config": {**registry.get("builtin").config, "shallow_dim": 32}},
        {"config": {**registry.get("builtin").config, "dim": "256"}},
        {"config": {}},
        {"dim": 128},
        {"scenes": ("one", "two")},
        {"build": lambda config: None},
        {"weights": None},
        {"weights": Path("builtin.pth")},
    ],
)
def test_a_graph_is_not_paired_with_another_network(
    spec: ModelSpec, changes: dict[str, Any]
) -> None:
    assert graph.find_graph(replace(spec, **changes)) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda state: state.pop("shallow.weight"), "missing: shallow.weight"),
        (lambda state: state.update(more=np.zeros(1)), "unknown: more"),
        (
            lambda state: state.update({"shallow.weight": np.zeros((2, 2), np.float16)}),
            "shallow.weight (2, 2) instead of (64, 3072)",
        ),
        (lambda state: state["embedding.bias"].fill(np.nan), "not a number: embedding.bias"),
    ],
)
def test_weights_that_do_not_fit_the_graph_are_refused(
    own: Own, change: Callable[[dict[str, Any]], object], reason: str
) -> None:
    with pytest.raises(WeightsRefused, match=re.escape(reason)):
        Encoder.load(own(change), runtime="onnx")


def test_a_graph_that_is_not_the_described_one_is_refused(
    spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in graph.FOLDER.glob("*.onnx*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(graph, "FOLDER", tmp_path)
    for damage in (lambda path: path.write_bytes(b"other"), lambda path: path.unlink()):
        damage(tmp_path / "builtin.onnx")
        with pytest.raises(WeightsRefused, match="is not the graph"):
            Encoder.load(spec, runtime="onnx")


@pytest.mark.parametrize("content", [b"", b'{"format": 1', b"\xff", b"[]", b'{"format": 1}'])
def test_a_damaged_description_of_a_graph_is_refused_and_torch_goes_on(
    spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    (tmp_path / "builtin.onnx.json").write_bytes(content)
    monkeypatch.setattr(graph, "FOLDER", tmp_path)
    for runtime in ("auto", "onnx"):
        with pytest.raises(WeightsRefused, match=r"builtin\.onnx\.json is damaged") as caught:
            choose_runtime(spec, device="cpu", runtime=runtime)
        assert "--runtime torch" in caught.value.hint
    assert choose_runtime(spec, device="cpu", runtime="torch") == "torch"


def test_a_weights_file_with_a_nameless_type_is_refused(own: Own) -> None:
    spec = own()
    assert spec.weights is not None
    content = spec.weights.read_bytes()
    spec.weights.write_bytes(content.replace(b'"dtype":"F16"', b'"dtype":""   ', 1))
    with pytest.raises(WeightsRefused, match="no sound safetensors"):
        Encoder.load(spec, device="cpu")


def test_a_damaged_weights_file_is_refused_in_both_runtimes(own: Own) -> None:
    spec = own()
    assert spec.weights is not None
    spec.weights.write_bytes(spec.weights.read_bytes()[:-1000])
    for runtime in ("onnx", "torch"):
        with pytest.raises(WeightsRefused, match="no sound safetensors"):
            Encoder.load(spec, device="cpu", runtime=runtime)


# --- the choice -----------------------------------------------------------------------------


def test_auto_is_onnx_where_there_is_a_graph_and_torch_elsewhere(
    spec: ModelSpec, tiny_model: Path
) -> None:
    tiny = registry.get(str(tiny_model))
    assert choose_runtime(spec, device="cpu") == "onnx"
    assert choose_runtime(spec, device="cpu", runtime="torch") == "torch"
    assert choose_runtime(tiny, device="cpu") == "torch"


def test_a_gpu_is_for_torch(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder_module, "resolve_device", lambda device: "cuda:0")
    assert choose_runtime(spec) == "torch"
    assert choose_runtime(spec, runtime="onnx") == "onnx"
    with pytest.raises(DeviceUnavailable, match="not on cuda"):
        choose_runtime(spec, device="cuda", runtime="onnx")


def test_onnx_for_a_model_without_a_graph_says_what_to_do(tiny_model: Path) -> None:
    with pytest.raises(ModelError, match="No graph for ONNX Runtime") as caught:
        Encoder.load(registry.get(str(tiny_model)), runtime="onnx")
    assert "--runtime auto" in caught.value.hint


def test_without_onnx_runtime_torch_runs_the_model(
    spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder_module, "find_spec", lambda name: None)
    assert choose_runtime(spec, device="cpu") == "torch"
    with pytest.raises(ModelError, match="not installed"):
        choose_runtime(spec, runtime="onnx")


def test_an_onnx_runtime_that_does_not_load_says_what_to_do(
    spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "onnxruntime.py").write_text('raise ImportError("DLL load failed")')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    with pytest.raises(ModelError, match="does not load: DLL load failed") as caught:
        Encoder.load(spec, device="cpu")
    assert "--runtime torch" in caught.value.hint


def test_an_unknown_runtime_is_refused(spec: ModelSpec) -> None:
    with pytest.raises(InvalidSetting, match="no runtime is called 'tpu'"):
        choose_runtime(spec, runtime="tpu")


def test_a_training_gets_no_network_of_onnx_runtime(in_onnx: Encoder, in_torch: Encoder) -> None:
    with pytest.raises(TypeError, match="not in torch"):
        _ = in_onnx.network
    assert in_torch.network.embedding.out_features == in_torch.spec.dim


# --- on the machine -------------------------------------------------------------------------


def test_encoding_a_new_picture_with_the_built_in_model_loads_no_torch() -> None:
    code = """
import sys
import numpy as np
from image_similarity.encoding import registry
from image_similarity.encoding.encoder import Encoder
spec = registry.get("builtin")
size = spec.preprocess.size
assert Encoder.load(spec, device="cpu").encode(np.zeros((1, size, size, 3), np.uint8)).finite.all()
print(sorted({"torch", "torchvision", "onnx", "PIL"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.fixture
def failing(in_onnx: Encoder, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Encoder]]:
    def make(error: Exception) -> Encoder:
        class Session:
            def run(self, *_: Any) -> Any:
                raise error

        monkeypatch.setattr(in_onnx._runner, "_session", Session())
        return in_onnx

    yield make


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : std::bad_alloc"),
        RuntimeError("Failed to allocate memory for requested buffer of size 4194304"),
    ],
)
def test_running_out_of_memory_is_told_apart_from_other_errors(
    failing: Callable[..., Encoder], error: Exception
) -> None:
    size = failing(error).spec.preprocess.size
    picture = np.zeros((1, size, size, 3), np.uint8)
    with pytest.raises(OutOfMemory):
        failing(error).encode(picture)
    # Its own errors are none but of Exception; `Encoder.load` refuses a network for torch's kind of them.
    for bug in (RuntimeError("bug"), Exception("bug")):
        with pytest.raises(RuntimeError, match="bug"):
            failing(bug).encode(picture)


@pytest.mark.parametrize(
    ("value", "threads"), [("3", 3), ("2,1", 2), ("", None), ("0", None), ("many", None)]
)
def test_threads_follow_the_variable_or_the_cores(
    monkeypatch: pytest.MonkeyPatch, value: str, threads: int | None
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    found = onnx_network.default_threads()
    assert found == threads if threads else found >= 1


@pytest.mark.filterwarnings("ignore")
def test_the_graph_is_what_the_script_exports(spec: ModelSpec) -> None:
    """Not byte for byte, which another version of torch need not give: the same operations and tensors."""
    onnx = pytest.importorskip("onnx")
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        import export_graph
    finally:
        sys.path.remove(str(ROOT / "scripts"))
    content, tensors = export_graph.export(spec)
    about = json.loads((graph.FOLDER / "builtin.onnx.json").read_text("utf-8"))
    assert {name: list(shape) for name, shape in tensors.items()} == about["tensors"]
    made, shipped = (
        onnx.load_from_string(each)
        for each in (content, (graph.FOLDER / "builtin.onnx").read_bytes())
    )
    kinds = [sorted(node.op_type for node in each.graph.node) for each in (made, shipped)]
    assert kinds[0] == kinds[1]


def test_batch_normalisation_is_joined_with_the_convolutions(
    spec: ModelSpec, tmp_path: Path
) -> None:
    onnx = pytest.importorskip("onnx")
    target = tmp_path / "optimised.onnx"
    really = onnx_network.session_options

    def options(threads: int) -> Any:
        chosen = really(threads)
        chosen.optimized_model_filepath = str(target)
        return chosen

    found = graph.find_graph(spec)
    assert found is not None
    assert spec.weights is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_network, "session_options", options)
        onnx_network.OnnxNetwork.load(found, spec.weights, spec.preprocess, threads=1)
    kinds = {node.op_type for node in onnx.load(target, load_external_data=False).graph.node}
    assert "Conv" in kinds
    assert "BatchNormalization" not in kinds
