"""The process that reads a Keras weights file for `keras_h5`: what HDF5's C library does with a hostile file ends here.

It is started with the file's path, and writes to its output a JSON object behind its size (4 bytes, little-endian):
`{"arrays": [[layer, [shape]], ...]}`, or `{"error": why}`. If "arrays" was asked for, their bytes follow in that order,
each float32, little-endian, C order.

An HDF5 file can name other files, describe far more than it holds, and be built in circles. So only what the layout of
Keras's `save_weights` names is touched, through hard links alone, and of each array all is known before it is read.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import Any

# Far above any network: DeepRanking has 30 layers, of which 18 have 2 arrays each.
MAX_NAMES = 1_000
MAX_NAME_BYTES = 1_000
MAX_PARTS = 8
MAX_DIMENSIONS = 4
# What the process may take beside what it had at its start and twice the file.
SPARE_BYTES = 512 * 2**20


class Refused(Exception):
    """The file is not what it should be; the message says why."""


def main() -> None:
    """Read the file named by the second last argument, its arrays too if the last one says "arrays"."""
    # Ctrl-C is for the parent, which then ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    path, wanted = sys.argv[-2:]
    # What a C library prints must not get into the answer.
    target = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _limit_memory(2 * Path(path).stat().st_size)
    try:
        for part in answer(Path(path), with_data=wanted == "arrays"):
            target.write(part)
    except BrokenPipeError:
        pass
    target.flush()


def answer(path: Path, *, with_data: bool) -> Iterator[bytes]:
    """Yield the answer piece by piece."""
    import h5py

    try:
        with h5py.File(path, "r", locking=False) as file:
            arrays = find_arrays(file, path.stat().st_size)
            yield _framed({"arrays": [[layer, array.shape] for layer, array in arrays]})
            if with_data:
                for _, array in arrays:
                    yield array[()].astype("<f4", order="C", copy=False).tobytes()
    except Refused as error:
        yield _framed({"error": str(error)})
    # h5py answers damage with nearly any exception. After the list of arrays this is no JSON but missing bytes, which
    # the parent notices.
    except Exception as error:
        reason = str(error).strip().splitlines() or [""]
        yield _framed({"error": f"damaged ({type(error).__name__}: {reason[0][:200]})"})


def find_arrays(file: Any, size: int) -> list[tuple[str, Any]]:
    """Return (layer, dataset) of each array that the layout names, in its order, none of them read.

    `size` is the file's in bytes; the arrays must lie in it.

    Raises:
        Refused: it is another layout, or an array is not plain float32 inside this file.
    """
    root = file
    if "layer_names" not in root.attrs:
        # A file of `model.save` holds the same below this group.
        root = _child(file, "model_weights") if "model_weights" in file else file
    layers = _names(root, "layer_names")
    arrays = []
    for layer in layers:
        group = _child(root, layer)
        for name in _names(group, "weight_names"):
            arrays.append((layer, _array(group, name, size)))
            if len(arrays) > MAX_NAMES:
                raise Refused(f"it names more than {MAX_NAMES} arrays")
    if sum(4 * prod(array.shape) for _, array in arrays) > size:
        raise Refused("its arrays claim more bytes than the file has")
    return arrays


def _names(group: Any, attribute: str) -> list[str]:
    """Return the names in an attribute."""
    import h5py
    import numpy as np

    where = f"{group.name}@{attribute}"
    if not isinstance(group, h5py.Group) or attribute not in group.attrs:
        raise Refused(f"{where} is missing: it is no weights file as Keras's save_weights makes it")
    held = group.attrs.get_id(attribute)
    if held.shape == (0,):
        return []
    if held.shape is None or len(held.shape) != 1 or held.shape[0] > MAX_NAMES:
        raise Refused(f"{where} is no list of at most {MAX_NAMES} names")
    # Texts of a fixed length come from h5py 2, of any length from later ones. A hostile file may let a thousand of the
    # latter share bytes in millions: the memory of this process is limited.
    if not h5py.check_string_dtype(held.dtype) or held.dtype.itemsize > MAX_NAME_BYTES:
        raise Refused(f"{where} holds no texts of at most {MAX_NAME_BYTES} bytes")
    values = np.empty(held.shape, held.dtype)
    held.read(values)
    if any(len(value) > MAX_NAME_BYTES for value in values):
        raise Refused(f"{where} holds a text of more than {MAX_NAME_BYTES} bytes")
    try:
        names = [bytes(value).decode("utf-8") for value in values]
    except UnicodeDecodeError:
        raise Refused(f"{where} is no UTF-8 text") from None
    if len(set(names)) != len(names):
        raise Refused(f"{where} names one twice")
    return names


def _child(group: Any, path: str) -> Any:
    """Return what lies below a group, reached by hard links only."""
    import h5py

    parts = path.split("/")
    if len(parts) > MAX_PARTS or any(part in ("", ".", "..") for part in parts):
        raise Refused(f"{path[:100]!r} is no name of a layer or an array")
    for part in parts:
        link = group.get(part, getlink=True) if isinstance(group, h5py.Group) else None
        if link is None:
            raise Refused(f"{path[:100]!r} is missing below {group.name}")
        if not isinstance(link, h5py.HardLink):
            # Such a link may point anywhere, also at other files.
            raise Refused(f"{path[:100]!r} below {group.name} is only a link to another place")
        group = group[part]
    return group


def _array(group: Any, name: str, size: int) -> Any:
    """Return a dataset if it is float32 that lies in this file as it is."""
    import h5py

    array = _child(group, name)
    if not isinstance(array, h5py.Dataset):
        raise Refused(f"{name[:100]!r} below {group.name} is no array")
    shape, kind = array.shape, array.dtype
    if kind.kind != "f" or kind.itemsize != 4:
        raise Refused(f"{array.name} holds {kind}, not float32")
    if shape is None or not 1 <= len(shape) <= MAX_DIMENSIONS or prod(shape) * 4 > size:
        raise Refused(f"{array.name} has a shape that the file cannot hold: {shape}")
    created = array.id.get_create_plist()
    # Chunks may be compressed; virtual and external arrays lie in other files.
    if created.get_layout() not in (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT):
        raise Refused(f"{array.name} is chunked or virtual, which Keras does not write")
    if created.get_external_count():
        raise Refused(f"{array.name} lies in another file")
    contiguous = created.get_layout() == h5py.h5d.CONTIGUOUS
    if prod(shape) == 0 or (contiguous and array.id.get_offset() is None):
        raise Refused(f"{array.name} is empty")
    return array


def _framed(message: dict[str, Any]) -> bytes:
    text = json.dumps(message).encode("ascii")
    return struct.pack("<I", len(text)) + text


def _limit_memory(more: int) -> None:
    """Let the system refuse memory that no sound file needs, and leave no core file; Windows knows no such limit."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[0]
        wanted = int(pages) * os.sysconf("SC_PAGE_SIZE") + SPARE_BYTES + more
        _, most = resource.getrlimit(resource.RLIMIT_AS)
        limit = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(resource.RLIMIT_AS, (limit, most))


if __name__ == "__main__":
    main()
