"""From a network's last map of features to one vector: by mean, by generalised mean, or as it is."""

from __future__ import annotations

from typing import Any

POOLS = ("gap", "gem", "flatten")

# Radenovic, Tolias and Chum, "Fine-tuning CNN image retrieval with no human annotation" (TPAMI 2018): the exponent 3 is
# theirs where it is not learned, and so is the floor, below which the root's slope would be infinite.
GEM_POWER = 3.0
GEM_FLOOR = 1e-6


def pool(values: Any, how: str, *, channels_last: bool = False) -> Any:
    """Return vectors (N, D) of float32 maps, as numpy arrays or torch tensors, whichever they are.

    Maps are (N, C, H, W), or (N, H, W, C) with `channels_last`; rows of tokens (N, T, C) are pooled over the tokens;
    what is (N, D) already stays as it is. "gap" is the mean, "gem" the generalised mean with the exponent 3 of what is
    above zero, "flatten" leaves all numbers side by side in their order.

    Raises:
        ValueError: there is no such pooling, or the values are of another shape.
    """
    if how not in POOLS:
        raise ValueError(f"no pooling is called {how!r}; there are {', '.join(POOLS)}")
    if values.ndim == 2:
        return values
    if values.ndim not in (3, 4):
        raise ValueError(f"an output of shape {tuple(values.shape)} is neither vectors nor maps")
    if how == "flatten":
        return values.reshape(values.shape[0], -1)
    over = (1,) if values.ndim == 3 else (1, 2) if channels_last else (2, 3)
    if how == "gap":
        return values.mean(over)
    return (values.clip(min=GEM_FLOOR) ** GEM_POWER).mean(over) ** (1 / GEM_POWER)
