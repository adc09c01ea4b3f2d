"""Devices: which there are, how much memory is free, and what running out of it looks like."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from image_similarity.errors import DeviceUnavailable


class OutOfMemory(Exception):
    """The batch did not fit into the device's memory; a smaller one may."""


def resolve_device(device: str) -> str:
    """Return the device to use: "cpu" or "cuda:N"; "auto" is the first GPU, else the CPU.

    torch, which takes longer to load than a query to answer, is only asked where it may say "cuda".

    Raises:
        DeviceUnavailable: the name is unknown, or this machine has no such device.
    """
    if device == "cpu" or (device == "auto" and not _may_have_gpu()):
        return "cpu"
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return "cuda:0" if count else "cpu"
    family, colon, number = device.partition(":")
    if family != "cuda" or (colon and not (number.isascii() and number.isdigit())):
        raise DeviceUnavailable(
            f"No device is called {device!r}.", hint="Devices are auto, cpu, cuda, cuda:N."
        )
    if int(number or 0) >= count:
        raise DeviceUnavailable(
            f"{device} is not there: torch {torch.__version__} sees {count} CUDA devices.",
            hint="Choose --device cpu, or install a torch with CUDA.",
        )
    return f"cuda:{int(number or 0)}"


def _may_have_gpu() -> bool:
    """Whether torch could see a GPU: it is no build for the CPU alone, and a driver is there."""
    if "torch" in sys.modules:
        return True  # it can be asked at no cost
    try:
        if version("torch").endswith("+cpu"):
            return False
    except PackageNotFoundError:
        return False
    # AMD's cards, which torch calls cuda as well, have this node.
    return Path("/dev/kfd").exists() or _has_library(
        "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    )


def _has_library(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def free_memory(device: str) -> int | None:
    """Return the bytes of memory that are free on a resolved device, or None if that is unknown."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    try:
        for line in Path("/proc/meminfo").read_text("ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return None


@contextmanager
def exact_float32() -> Iterator[None]:
    """Keep a GPU from rounding to TF32, whose error is larger than a float16 step."""
    import torch

    with torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    ):
        yield


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turn every way in which torch and Python run out of memory into `OutOfMemory`."""
    import torch

    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error)
        known = ("allocate memory", "DefaultCPUAllocator", "out of memory", "ALLOC_FAILED")
        if not isinstance(error, (MemoryError, torch.OutOfMemoryError)) and not any(
            each in text for each in known
        ):
            raise
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        raise OutOfMemory(text.splitlines()[0] if text else "out of memory") from error
