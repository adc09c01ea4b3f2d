"""Ray, opened for a run and closed after it: quiet, without reports to its makers, and with the signals left to us."""

from __future__ import annotations

import logging
import os
import queue
import secrets
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any, cast

from image_similarity.errors import ClusterError, ExtraMissing, InvalidSetting
from image_similarity.settings import ClusterOptions

# A cluster of this machine alone keeps little in memory: what passes between its processes are vectors.
LOCAL_OBJECT_STORE = 512 * 1024**2
# A cluster that is there answers within a few seconds; Ray itself goes on trying for five minutes.
CONNECT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Machines:
    """What a cluster has, and the version of Ray on it."""

    nodes: int
    cpus: float
    gpus: float
    ray: str


@contextmanager
def opened(options: ClusterOptions) -> Iterator[Machines]:
    """Connect to a cluster, or start one on this machine that ends with the block.

    A connection that this process has already is used, and left open.

    Raises:
        ExtraMissing: Ray is not installed.
        ClusterError: There is no cluster, or it cannot be reached.
    """
    with ExitStack() as stack:
        stack.enter_context(_environment(local=options.address is None, logs=options.logs))
        ray = _import_ray(options.address)
        stack.enter_context(_quiet(options.logs))
        if not ray.is_initialized():
            stack.callback(_close, ray)
            with _signals_kept(), _silenced(options.logs):
                _connect(ray, options, stack)
            if not options.logs:
                _keep_off_stdout(stack)
        resources = ray.cluster_resources()
        yield Machines(
            nodes=sum(1 for node in ray.nodes() if node["Alive"]),
            cpus=resources.get("CPU", 0.0),
            gpus=resources.get("GPU", 0.0),
            ray=ray.__version__,
        )


def _import_ray(address: str | None) -> Any:
    if (address or "").startswith("ray://") and find_spec("grpc") is None:
        raise ExtraMissing(
            "an address ray://… needs the package grpc", hint='pip install "ray[client]"'
        )
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ExtraMissing(
            f"a run on many machines needs the package {error.name}",
            hint='pip install "image_similarity[ray]"',
        ) from error
    return ray


def _connect(ray: Any, options: ClusterOptions, stack: ExitStack) -> None:
    quiet: dict[str, Any] = {"log_to_driver": options.logs}
    if not options.logs:
        quiet["logging_level"] = logging.ERROR
    try:
        if options.address is None:
            # A folder of its own: what Ray logs names files of the evidence.
            folder = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True)
            )
            # Closed before its folder goes.
            stack.callback(_close, ray)
            ray.init(
                # One more than there are: it is left free, and here readers and writers take no whole one.
                num_cpus=1 + max(options.actors or 1, os.cpu_count() or 1),
                include_dashboard=False,
                object_store_memory=LOCAL_OBJECT_STORE,
                _node_ip_address="127.0.0.1",
                _temp_dir=folder,
                **quiet,
            )
        else:
            _soon(lambda: ray.init(options.address, **quiet))
    except Exception as error:  # Ray raises of every kind, down to RuntimeError
        if options.address is not None and isinstance(error, ValueError):
            raise InvalidSetting(
                f"{options.address!r} is no address of a cluster",
                hint="--address takes auto, HOST:PORT or ray://HOST:PORT",
            ) from error
        said = (str(error) or type(error).__name__).splitlines()[0]
        where = "a cluster" if options.address is None else f"the cluster at {options.address}"
        raise ClusterError(
            f"{where} cannot be {'started' if options.address is None else 'reached'}: {said}",
            hint="is it running, and is RAY_AUTH_MODE the same as on its machines? ray status tells",
        ) from error


def _soon(connect: Callable[[], object]) -> None:
    """Connect, or give up where Ray would try for many minutes."""
    came: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def work() -> None:
        try:
            connect()
            came.put(None)
        except BaseException as error:
            came.put(error)

    threading.Thread(target=work, name="connect", daemon=True).start()
    try:
        error = came.get(timeout=CONNECT_SECONDS)
    except queue.Empty:
        raise TimeoutError(f"no answer for {CONNECT_SECONDS:g} seconds") from None
    if error is not None:
        raise error


def _keep_off_stdout(stack: ExitStack) -> None:
    """Ray prints what its machines tell, such as that a worker was lost, in the middle of our own output."""
    with suppress(ImportError, AttributeError):
        from ray._private import worker

        prints, module = worker.print_to_stdstream, cast(Any, worker)
        module.print_to_stdstream = lambda *given, **named: None
        stack.callback(setattr, module, "print_to_stdstream", prints)


def _close(ray: Any) -> None:
    # Its own troubles when it ends are of no run.
    with suppress(Exception):
        ray.shutdown()


@cache
def _token() -> str:
    """The token of all clusters that this process starts: Ray reads it once."""
    return secrets.token_hex(32)


@contextmanager
def _environment(*, local: bool, logs: bool) -> Iterator[None]:
    """What Ray reads from the environment when it is imported or started; left as it was afterwards."""
    wanted = {
        # Nothing is reported to anyone.
        "RAY_USAGE_STATS_ENABLED": "0",
        # What still runs when the connection is closed must not start a cluster of its own.
        "RAY_ENABLE_AUTO_CONNECT": "0",
    }
    if not logs:
        wanted["RAY_BACKEND_LOG_LEVEL"] = "fatal"
    if local and os.environ.get("RAY_AUTH_MODE", "token") == "token":
        # Its ports are open to this machine's network: only who has the token gets work done. Not in a file of the
        # user's home, where Ray itself would keep it.
        wanted["RAY_AUTH_MODE"] = "token"
        wanted["RAY_AUTH_TOKEN"] = _token()
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _quiet(logs: bool) -> Iterator[None]:
    """Keep Ray's loggers and warnings to itself: what ends a run is raised."""
    loggers = [] if logs else [logging.getLogger(name) for name in ("ray", "ray.data")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            if not logs:
                warnings.filterwarnings("ignore", module=r"ray\b")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


@contextmanager
def _silenced(logs: bool) -> Iterator[None]:
    """Keep what Ray's native parts write to stderr, past all loggers, while they start: that they log nothing."""
    sys.stderr.flush()
    try:
        kept = None if logs else os.dup(2)
    except OSError:
        kept = None
    if kept is None:
        yield
        return
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nothing)
        os.close(kept)


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray takes SIGTERM for itself when it connects; it goes back to whoever had it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
