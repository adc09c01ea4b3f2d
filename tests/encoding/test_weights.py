"""Weights are read without running anything, and only where they are what they should be."""

from __future__ import annotations

import hashlib
import pickle
import random
import struct
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from image_similarity.encoding.weights import (
    MAX_BYTES,
    fit_state,
    load_state,
    sha256_of,
    weights_folder,
)
from image_similarity.errors import WeightsChanged, WeightsRefused


class RunsCode:
    """What an attacker puts into a checkpoint: unpickling it would create the file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    return {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.tensor([1.0, 2.0])}


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_the_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert sha256_of(path) == hashlib.sha256(b"abc").hexdigest()


def test_changed_weights_are_named_with_both_hashes(tmp_path: Path) -> None:
    path = tmp_path / "file.pth"
    path.write_bytes(b"abc")
    assert sha256_of(path, expected=sha256_of(path).upper()) == sha256_of(path)
    with pytest.raises(WeightsChanged, match=f"{sha256_of(path)}, recorded {'0' * 64}"):
        sha256_of(path, expected="0" * 64)
    with pytest.raises(WeightsChanged):
        load_state(path, expected="0" * 64)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".pth.tar", ".PTH"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_of_any_age_is_read(
    tmp_path: Path, state: dict[str, torch.Tensor], suffix: str, zipped: bool
) -> None:
    path = tmp_path / f"model{suffix}"
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    assert_same(load_state(path, expected=sha256_of(path)), state)


def test_a_safetensors_file_is_read(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "model.safetensors"
    save_file(state, path)
    assert_same(load_state(path), state)


def test_nesting_and_the_prefix_of_parallel_training_are_taken_off(
    tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    path = tmp_path / "model.pth.tar"
    prefixed = {f"module.{key}": value for key, value in state.items()}
    torch.save({"epoch": 3, "arch": "resnet18", "best_prec1": 1.5, "state_dict": prefixed}, path)
    assert_same(load_state(path), state)


def test_a_checkpoint_of_python_2_is_read(tmp_path: Path) -> None:
    """Its texts are byte strings (SHORT_BINSTRING), which the writers of Python 3 never emit."""

    class Storage:
        pass

    # The legacy layout of torch: five pickles, then the raw numbers of each storage.
    tensor = (
        b"\x80\x02}q\x01(U\x0astate_dictq\x02}q\x03U\x0dmodule.weightq\x04"
        b"ctorch._utils\n_rebuild_tensor\nq\x05((U\x07storageq\x06ctorch\nFloatStorage\nq\x07"
        b"U\x01aq\x08U\x03cpuq\tK\x02Ntq\nQK\x00K\x02\x85q\x0bK\x01\x85q\x0ctq\rRq\x0es"
        b"U\x05epochq\x0fK\x05u."
    )
    content = b"".join(
        [
            pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2),
            pickle.dumps(1001, protocol=2),
            pickle.dumps({"protocol_version": 1001, "little_endian": True}, protocol=2),
            tensor,
            b"\x80\x02]q\x01U\x01aq\x02a.",
            struct.pack("<q2f", 2, 1.5, -2.0),
        ]
    )
    path = tmp_path / "old.pth.tar"
    path.write_bytes(content)
    assert_same(load_state(path), {"weight": torch.tensor([1.5, -2.0])})


@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_that_runs_code_is_refused_and_runs_nothing(
    tmp_path: Path, zipped: bool
) -> None:
    mark = tmp_path / "executed"
    path = tmp_path / "hostile.pth"
    torch.save(
        {"weight": torch.zeros(2), "x": RunsCode(mark)}, path, _use_new_zipfile_serialization=zipped
    )
    before = path.read_bytes()
    with pytest.raises(WeightsRefused, match="asks for code"):
        load_state(path)
    assert not mark.exists()
    assert path.read_bytes() == before


def test_a_bare_pickle_that_runs_code_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    path = tmp_path / "hostile.pth"
    path.write_bytes(pickle.dumps(RunsCode(mark)))
    with pytest.raises(WeightsRefused):
        load_state(path)
    assert not mark.exists()


def test_a_checkpoint_that_unpacks_to_more_than_it_is_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data.pkl", pickle.dumps({}))
        archive.writestr("bomb/data/0", bytes(10_000_000))
    with pytest.raises(WeightsRefused, match="unpack"):
        load_state(path)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".tar", ".safetensors"])
@pytest.mark.parametrize("content", [b"\x00" * 64, b"PK\x03\x04broken", b"\x80\x02.", b"text"])
def test_a_corrupt_file_is_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsRefused, match="broken"):
        load_state(path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_truncated_file_is_refused(
    tmp_path: Path, state: dict[str, torch.Tensor], suffix: str
) -> None:
    path = tmp_path / f"cut{suffix}"
    if suffix == ".pth":
        torch.save(state, path)
    else:
        save_file(state, path)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(WeightsRefused):
        load_state(path)


@pytest.mark.parametrize("kind", ["zipped.pth", "legacy.pth", "plain.safetensors"])
def test_a_damaged_file_gives_tensors_or_a_refusal(
    tmp_path: Path, state: dict[str, torch.Tensor], kind: str
) -> None:
    path = tmp_path / kind
    if kind.endswith(".pth"):
        torch.save(state, path, _use_new_zipfile_serialization=kind == "zipped.pth")
    else:
        save_file(state, path)
    sound = path.read_bytes()
    draw = random.Random(4)
    for _ in range(300):
        damaged = bytearray(sound)
        for _ in range(draw.choice([1, 2, 5])):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        path.write_bytes(damaged[: draw.choice([len(damaged), draw.randrange(1, len(damaged))])])
        try:
            loaded = load_state(path)
        except WeightsRefused:
            continue
        assert all(isinstance(value, torch.Tensor) for value in loaded.values())


def test_a_zip_of_several_disks_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "disks.pth"
    torch.save({"weight": torch.zeros(1)}, path)
    content = bytearray(path.read_bytes())
    position = content.rindex(b"PK\x06\x07")
    content[position + 16 : position + 20] = struct.pack("<I", 2)
    path.write_bytes(content)
    with pytest.raises(WeightsRefused, match="no sound checkpoint"):
        load_state(path)


@pytest.mark.parametrize(
    "content", [[1, 2], {}, {"state_dict": {"a": 1}}, {3: torch.zeros(1)}, torch.zeros(2)]
)
def test_what_is_no_mapping_of_names_to_tensors_is_refused(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "other.pth"
    torch.save(content, path)
    with pytest.raises(WeightsRefused, match=r"mapping|named tensor"):
        load_state(path)


def test_a_file_of_another_type_is_refused_with_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(b"x")
    with pytest.raises(WeightsRefused) as refusal:
        load_state(path)
    assert ".safetensors" in refusal.value.hint


def test_an_empty_and_an_absurdly_large_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.pth"
    path.touch()
    with pytest.raises(WeightsRefused, match="0 bytes"):
        load_state(path)
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(WeightsRefused, match="bytes cannot be"):
        load_state(path)


def test_weights_that_do_not_fit_are_refused_with_the_first_few_names() -> None:
    wrong = {"weight": torch.zeros(3, 3), **{f"extra{n}": torch.zeros(1) for n in range(5)}}
    with pytest.raises(WeightsRefused) as refusal:
        fit_state(nn.Linear(3, 2), wrong, Path("model.pth"))
    assert refusal.value.message == (
        "model.pth does not hold the weights of this network: missing: bias; "
        "unknown: extra0, extra1, extra2 and 2 more; "
        "of another shape: weight (3, 3) instead of (2, 3)"
    )


def test_weights_with_nan_are_refused(state: dict[str, torch.Tensor]) -> None:
    """As a training that diverged leaves them: every vector would be worthless."""
    state["weight"][1, 1] = torch.nan
    with pytest.raises(WeightsRefused, match=r"not a number: weight$"):
        fit_state(nn.Linear(3, 2), state, Path("model.pth"))


@pytest.mark.parametrize(
    "tensor",
    [
        torch.eye(2).to_sparse(),
        torch.zeros(2, dtype=torch.complex64),
        torch.empty(2, device="meta"),
    ],
)
def test_tensors_of_no_plain_numbers_are_refused(tmp_path: Path, tensor: torch.Tensor) -> None:
    path = tmp_path / "odd.pth"
    torch.save({"weight": tensor}, path)
    with pytest.raises(WeightsRefused, match="plain numbers"):
        load_state(path)


def test_weights_are_put_into_the_network(state: dict[str, torch.Tensor]) -> None:
    network = nn.Linear(3, 2)
    fit_state(network, {key: value.half() for key, value in state.items()}, Path("model.pth"))
    assert_same(dict(network.state_dict()), state)


def test_counters_of_batches_may_be_missing() -> None:
    network = nn.BatchNorm2d(2)
    fit_state(
        network,
        {k: v for k, v in network.state_dict().items() if k != "num_batches_tracked"},
        Path("model.pth"),
    )


def test_the_folder_of_weights_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGE_SIMILARITY_WEIGHTS", "/media/weights")
    assert weights_folder() == Path("/media/weights")
    monkeypatch.delenv("IMAGE_SIMILARITY_WEIGHTS")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert weights_folder() == Path("/data/image_similarity/weights")
    monkeypatch.delenv("XDG_DATA_HOME")
    assert weights_folder() == Path.home() / ".local/share/image_similarity/weights"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", "/Local")
    assert weights_folder() == Path("/Local/image_similarity/weights")
