"""Hostile models: what executes, what has wrong shapes, what is damaged, what unpacks to more than it is."""

from __future__ import annotations

import json
import os
import pickle
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import campaign_ground as ground
from campaign_ground import Row, Settings, Tally

from image_similarity.encoding import registry
from image_similarity.encoding.encoder import Encoder


def run(settings: Settings) -> list[Row]:
    return [
        executing(settings),
        misshapen(settings),
        mutated(settings),
        mutated_onnx(settings),
        others(settings),
    ]


def load(path: Path) -> None:
    """Load a model as a run would, and use it."""
    import numpy as np

    spec = registry.get(str(path))
    encoder = Encoder.load(spec, device="cpu")
    size = spec.preprocess.size
    found = encoder.encode(np.zeros((1, size, size, 3), np.uint8))
    if found.vectors is not None and found.vectors.shape != (1, spec.dim):
        raise ValueError(f"vectors of shape {found.vectors.shape}")


class Executes:
    """A pickle that runs a function when it is read."""

    def __init__(self, function: Callable[..., Any], *given: Any) -> None:
        self._call = function, given

    def __reduce__(self) -> Any:
        return self._call


def executing(settings: Settings) -> Row:
    import torch

    tally = Tally("models", "pickles that execute, plain, zipped, nested and behind weights")
    mark = settings.work / "executed"
    calls = [
        Executes(os.system, f"touch {mark}"),
        Executes(os.mkdir, str(mark)),
        Executes(eval, f"open({str(mark)!r}, 'w')"),
        Executes(exec, f"open({str(mark)!r}, 'w')"),
        Executes(Path.touch, mark),
    ]
    for number, call in enumerate(calls):
        for form, content in (
            ("alone", call),
            ("nested", {"state_dict": {"weight": [torch.zeros(2), call]}}),
            ("last", {"weight": torch.zeros(2), "bias": call}),
        ):
            for zipped in (True, False, None):
                for suffix in (".pth", ".pt", ".safetensors", ".pth.tar", ".bin"):
                    path = settings.work / f"hostile-{number}{suffix}"
                    if zipped is None:
                        path.write_bytes(pickle.dumps(content))
                    else:
                        torch.save(content, path, _use_new_zipfile_serialization=zipped)
                    ended = ground.forked(lambda path=path: load(path))
                    problem = "executed" if mark.exists() else ""
                    if ended.kind != "named":
                        problem = problem or f"{ended.kind} {ended.text}"
                    tally.add("refused with a named error", problem, f"{form} {suffix}")
    return tally.row()


def misshapen(settings: Settings) -> Row:
    """Headers of safetensors that say other shapes, types or places than there are."""
    tally = Tally("models", "safetensors whose header says other shapes, types or places")
    data = ground.model_in(settings.work).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header, rest = json.loads(data[8 : 8 + length]), data[8 + length :]
    chance = random.Random(settings.seed)
    path = settings.work / "misshapen.safetensors"
    for _ in range(settings.times(400, 5)):
        changed = json.loads(json.dumps(header))
        name = chance.choice([key for key in changed if key != "__metadata__"])
        entry = changed[name]
        match chance.randrange(5):
            case 0:
                entry["shape"] = [chance.choice((0, 1, 7, 2**31, 2**62)) for _ in entry["shape"]]
            case 1:
                entry["dtype"] = chance.choice(("F64", "I8", "BF16", "BOOL", "Q4", ""))
            case 2:
                entry["data_offsets"] = [chance.randrange(-9, 2**40), chance.randrange(2**40)]
            case 3:
                changed[chance.choice(("x", "../x", "\0"))] = changed.pop(name)
            case _:
                entry["shape"] = entry["shape"][::-1] + [1] * chance.randrange(9)
        text = json.dumps(changed).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + rest)
        judge(tally, ground.forked(lambda: load(path)), settings)
    return tally.row()


def mutated(settings: Settings) -> Row:
    tally = Tally("models", "seeded mutations of a weights file and its card")
    data = ground.model_in(settings.work).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    chance = random.Random(settings.seed)
    path = settings.work / "mutated.safetensors"
    for _ in range(settings.times(1000, 5)):
        changed = bytearray(data)
        for _ in range(chance.choice((1, 2, 8))):
            changed[chance.randrange(8 + length)] = chance.randrange(256)
        path.write_bytes(
            changed[: chance.randrange(len(data))] if chance.random() < 0.1 else changed
        )
        judge(tally, ground.forked(lambda: load(path)), settings)
    return tally.row()


def mutated_onnx(settings: Settings) -> Row:
    from tests.encoding.onnx_samples import network, write

    tally = Tally("models", "seeded mutations of an .onnx file beside its card")
    data = network().SerializeToString()
    chance = random.Random(settings.seed)
    path = write(settings.work / "mutated.onnx")
    for _ in range(settings.times(1000, 5)):
        changed = bytearray(data)
        for _ in range(chance.choice((1, 2, 8))):
            changed[chance.randrange(len(data))] = chance.randrange(256)
        path.write_bytes(
            changed[: chance.randrange(len(data))] if chance.random() < 0.1 else changed
        )
        judge(tally, ground.forked(lambda: load(path)), settings)
    return tally.row()


def judge(tally: Tally, ended: ground.Ended, settings: Settings) -> None:
    fine = ended.kind in ("done", "named")
    said = (
        "refused with a named error"
        if ended.kind == "named"
        else "loaded: the change was none to the network"
    )
    tally.add(said, "" if fine else f"{ended.kind} {ended.text}")


def others(settings: Settings) -> Row:
    """ONNX with its weights outside, zip bombs, what is no model at all."""
    tally = Tally("models", "ONNX with data outside its folder, zip bombs, absurd and empty files")
    import numpy as np
    from onnx import TensorProto, helper

    tensor = helper.make_tensor(
        "w", TensorProto.FLOAT, [2], np.zeros(2, np.float32).tobytes(), raw=True
    )
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../../../etc/passwd"
    graph = helper.make_graph([], "g", [], [], [tensor])
    outside = helper.make_model(graph).SerializeToString()
    bomb = settings.work / "bomb.pth"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(200 << 20))
    for name, content in (
        ("outside.onnx", outside),
        ("outside.safetensors", outside),
        ("outside.pth", outside),
        ("bomb.pth", bomb.read_bytes()),
        ("empty.pth", b""),
        ("empty.safetensors", b""),
        ("header.safetensors", struct.pack("<Q", 2**63) + b"{}"),
        ("picture.safetensors", ground.picture_bytes("PNG")),
    ):
        path = settings.work / name
        path.write_bytes(content)
        ended = ground.forked(lambda path=path: load(path))
        problem = "" if ended.kind == "named" else f"{ended.kind} {ended.text}"
        tally.add("refused with a named error", problem, name)
    return tally.row()
