"""From a model's name, or the path of a weights file, to its specification.

A name is never guessed from a path, and nothing is ever downloaded. No torch is loaded here, except
by a plug-in's own module and to recognise a Places365 checkpoint that carries no card.
"""

from __future__ import annotations

import difflib
from dataclasses import replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from image_similarity.encoding import BUILTIN_WEIGHTS, keras_h5
from image_similarity.encoding.architectures import is_timm_name
from image_similarity.encoding.card import read_card, spec_from_card
from image_similarity.encoding.published import TORCHVISION_SPECS
from image_similarity.encoding.spec import ModelSpec, to_info
from image_similarity.encoding.weights import KERAS_SUFFIXES, sha256_of, weights_folder
from image_similarity.errors import UnknownModel, WeightsMissing, WeightsRefused
from image_similarity.values import ModelInfo

BUILTIN = "builtin"
ENTRY_POINT_GROUP = "image_similarity.models"

_PUBLISHED = {spec.name: spec for spec in TORCHVISION_SPECS}


def model_names() -> list[str]:
    """Return the names that `get` accepts: the built-in ones, then those of installed plug-ins.

    A name that is listed may still lack its weights on this machine.
    """
    names = [BUILTIN, *_PUBLISHED]
    return names + sorted(set(_plug_ins()) - set(names))


def get(name_or_path: str, *, weights: Path | None = None) -> ModelSpec:
    """Return the specification of a model whose weights lie on this machine.

    A registered name comes first. Any other value must be the path of a weights file that carries
    a card, or of one of Keras (see `keras_h5`). `weights` replaces the file that belongs to a name;
    if that file carries a card, it must be one of the same architecture.

    Raises:
        UnknownModel: no such name and no such file; near matches stand in the hint.
        WeightsMissing: the name is known, its weights are not there.
        WeightsRefused: the file carries no card, or a wrong one.
        ExtraMissing: it is a file of Keras, and h5py is not installed.
    """
    if is_registered(name_or_path):
        return _with_weights(name_or_path, weights)
    if weights is None and Path(name_or_path).is_file():
        return _from_file(Path(name_or_path))
    raise _unknown(name_or_path)


def is_registered(name: str) -> bool:
    """Whether it is the name of a model, with or without its weights: one of `model_names`, or "timm/..."."""
    return name in (BUILTIN, *_PUBLISHED) or _is_timm(name) or name in _plug_ins()


def describe(name: str) -> ModelSpec:
    """Return the specification of a registered name whether or not its weights are here.

    Raises:
        UnknownModel: no such name.
        WeightsMissing: "builtin", whose card lies in its weights file, is not installed.
        ExtraMissing: the name is one of timm's, which is not installed.
        ModelError: timm wants its pictures prepared in a way that there is not here.
    """
    if name == BUILTIN:
        return _from_file(_present(BUILTIN_WEIGHTS, BUILTIN))
    if name in _PUBLISHED:
        return _PUBLISHED[name]
    if _is_timm(name):
        from image_similarity.encoding.networks.timm_backbone import timm_spec

        return timm_spec(name.partition("/")[2])
    plug_ins = _plug_ins()
    if name not in plug_ins:
        raise _unknown(name)
    return _call_plug_in(plug_ins[name])


def get_scene_model(name_or_path: str) -> ModelSpec:
    """Return the specification of a scene model: "builtin", a plug-in, or a weights file.

    A file may be one with a card that names scenes, or a Places365 checkpoint as published, which
    is recognised by its arrays. Only a checkpoint without a card makes this load torch.

    Raises:
        UnknownModel: no such name and no such file, or a model that knows no scenes.
        WeightsMissing: the name is known, its weights are not there.
        WeightsRefused: the file is neither.
    """
    path = Path(name_or_path)
    if name_or_path not in model_names() and path.is_file() and read_card(path) is None:
        from image_similarity.encoding.networks.places365 import places365_spec

        return places365_spec(path)
    spec = get(name_or_path)
    if not spec.scenes:
        raise UnknownModel(
            f"Model {spec.name!r} knows no scenes.",
            hint=f"Such models are {BUILTIN!r}, files of `train --classes`, and Places365 checkpoints.",
        )
    return spec


def info(spec: ModelSpec) -> ModelInfo:
    """Return what is recorded of a model, its fingerprint included; reads the whole weights file.

    Raises:
        WeightsMissing: the file is not there.
        WeightsChanged: its SHA-256 is not the one that its card recorded.
    """
    path = _present(spec.weights, spec.name)
    return to_info(spec, sha256_of(path, expected=spec.weights_sha256))


def weights_file_name(name: str) -> str:
    """Return the name, without suffix, that a registered model's weights have in the folder."""
    return name.replace("/", "-")


def _with_weights(name: str, weights: Path | None) -> ModelSpec:
    """Return the spec of a registered name, its weights found or given."""
    if name == BUILTIN and weights is None:
        return describe(BUILTIN)
    path = _present(weights, name) if weights is not None else None
    if path is not None and (card := read_card(path)) is not None:
        carried = spec_from_card(card, path)
        if name != BUILTIN and carried.architecture != describe(name).architecture:
            raise WeightsRefused(
                f"{path} holds weights of {carried.architecture!r}, not of {name!r}.",
                hint="Name the file itself as the model to use it as its card says.",
            )
        return carried
    if name == BUILTIN:
        raise _no_card(weights)
    spec = describe(name)
    return replace(spec, weights=path or spec.weights or _find_weights(name))


def _from_file(path: Path) -> ModelSpec:
    """Return the spec that a weights file's own card states; weights of Keras need none."""
    card = read_card(_present(path, str(path)))
    if card is None and path.suffix.lower() in KERAS_SUFFIXES:
        return keras_h5.keras_spec(path)
    if card is None:
        raise _no_card(path)
    return spec_from_card(card, path)


def _find_weights(name: str) -> Path:
    """Return the file of a registered model in the weights folder."""
    folder = weights_folder()
    stem = weights_file_name(name)
    for suffix in (".safetensors", ".pth"):
        if (folder / (stem + suffix)).is_file():
            return folder / (stem + suffix)
    fetch = (
        "Fetch its file where there is a network"
        if _is_timm(name)
        else f"Where there is a network: python scripts/fetch_weights.py {name}"
    )
    raise WeightsMissing(
        f"The weights of {name!r} are not on this machine: "
        f"expected {stem}.pth or {stem}.safetensors in {folder}",
        hint=f"{fetch}; then copy the file into that folder, or name another folder in "
        "IMAGE_SIMILARITY_WEIGHTS.",
    )


def _is_timm(name: str) -> bool:
    family, _, network = name.partition("/")
    return family == "timm" and is_timm_name(network)


def _present(path: Path | None, name: str) -> Path:
    """Return the path if a file is there."""
    if path is None or not path.is_file():
        raise WeightsMissing(
            f"The weights of {name!r} are not on this machine: no file {path or 'is named'}",
            hint="Check the path; nothing is downloaded by itself.",
        )
    return path


@cache
def _plug_ins() -> dict[str, EntryPoint]:
    """Return the installed entry points by name, none of them loaded.

    Looked for once in a process: it takes as long as a small search.
    """
    return {each.name: each for each in entry_points(group=ENTRY_POINT_GROUP)}


def _call_plug_in(point: EntryPoint) -> ModelSpec:
    """Load an entry point and let it make its spec; its own errors pass, they are bugs."""
    spec = point.load()()
    if not isinstance(spec, ModelSpec):
        raise UnknownModel(f"The plug-in {point.value!r} gave no ModelSpec for {point.name!r}.")
    return spec


def _no_card(path: Path | None) -> WeightsRefused:
    """Return the error for a file that does not say what it is."""
    return WeightsRefused(
        f"{path} does not say which network it belongs to: it carries no card.",
        hint=f"Write one: image-similarity models add {path}; or name a model and give the file as "
        f"its weights: {', '.join(model_names())}",
    )


def _unknown(name: str) -> UnknownModel:
    """Return the error for a value that is neither a registered name nor a file."""
    names = model_names()
    tails = {each.rpartition("/")[2]: each for each in names}
    near = difflib.get_close_matches(name, names, n=3)
    near += [tails[each] for each in difflib.get_close_matches(name, tails, n=3)]
    meant = f"Did you mean {' or '.join(dict.fromkeys(near))}? " if near else ""
    is_path = any(separator in name for separator in "/\\") or Path(name).suffix
    no_file = ", and no such file is there" if is_path else ""
    return UnknownModel(
        f"No model is called {name!r}{no_file}.",
        hint=f"{meant}Accepted are the names {', '.join(names)}, timm/NAME, or the path of a weights file "
        "that carries a card.",
    )
