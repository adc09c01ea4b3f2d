"""Which process wrote a "running" row, and whether it still lives."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path


def this_host() -> str:
    """The name of this machine."""
    return platform.node() or "unknown"


def started(pid: int) -> str | None:
    """When a process began, as its kernel counts it, or None where that cannot be told.

    Process numbers are used again (in a container the same small ones after every start), so a number alone would keep
    a database locked by a run that is long dead.
    """
    fields = _kernel_fields(pid)
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None
    return f"{boot}:{fields[19]}" if fields else None


def _kernel_fields(pid: int) -> list[str]:
    """What Linux says of a process, from its state on; nothing where that cannot be read."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return []
    # Counted after the command's name, which may itself hold blanks and brackets.
    return text.rpartition(")")[2].split()


def is_alive(pid: int, start: str | None) -> bool:
    """Whether the process that had this number and start time still runs on this machine."""
    if not _exists(pid):
        return False
    # A killed process that nobody waited for stays in the list for ever: in a container without an init process.
    if _kernel_fields(pid)[:1] in (["Z"], ["X"]):
        return False
    return start is None or started(pid) in (None, start)


def _exists(pid: int) -> bool:
    if sys.platform == "win32":
        # os.kill(pid, 0) would end the process there.
        import ctypes

        kernel = ctypes.windll.kernel32
        handle = kernel.OpenProcess(0x00100000, False, pid)  # SYNCHRONIZE
        if not handle:
            return False
        still_running = kernel.WaitForSingleObject(handle, 0) == 0x102  # WAIT_TIMEOUT
        kernel.CloseHandle(handle)
        return bool(still_running)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
