"""Importing torchvision beside a torch whose operators it was not compiled against."""

from __future__ import annotations

import importlib
from types import ModuleType

# What `import torchvision` insists on: it registers shape functions for these two operators,
# and stops with a RuntimeError when its compiled library, which declares them, did not load.
_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}

# A torch.library.Library withdraws its operators when it is collected, so it must outlive the
# import.
_declared: list[object] = []


def import_torchvision() -> ModuleType:
    """Return the torchvision module, also where its compiled operators cannot be loaded.

    The published wheel of torchvision is built against a torch with CUDA. Beside a CPU-only
    torch its compiled operators fail to load, and the import fails with them, although the
    networks that we build need none of them. Declaring the two missing operators first lets
    the import pass; where torchvision loads normally nothing is declared.

    Raises:
        ImportError: torchvision is not installed.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    _declare_missing_operators()
    # Python drops a module whose import failed from sys.modules, so this one starts afresh.
    return importlib.import_module("torchvision")


def _declare_missing_operators() -> None:
    """Declare the operators that torchvision's own library would have declared."""
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    for name, schema in _SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            library.define(schema)
    _declared.append(library)
