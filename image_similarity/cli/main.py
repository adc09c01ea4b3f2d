"""The two console scripts; the one place that turns errors into messages and exit codes."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

import click

from image_similarity import __version__
from image_similarity.cli import options
from image_similarity.cli.lazy_group import LazyGroup
from image_similarity.cli.options import Talk
from image_similarity.errors import ImageSimilarityError
from image_similarity.reports.text import visible

INTERRUPTED, TERMINATED = 130, 143
# What a shell reports for a program that the reader of its output left (128 + SIGPIPE).
PIPE_CLOSED = 141


@click.group(
    cls=LazyGroup,
    homes={
        "index": "image_similarity.cli.index",
        "refresh": "image_similarity.cli.refresh",
        "cluster": "image_similarity.cli.cluster",
        "query": "image_similarity.cli.query",
        "replay": "image_similarity.cli.replay",
        "duplicates": "image_similarity.cli.duplicates",
        "show": "image_similarity.cli.show",
        "explain": "image_similarity.cli.explain",
        "report": "image_similarity.cli.report",
        "serve": "image_similarity.cli.serve",
        "calibrate": "image_similarity.cli.calibrate",
        "evaluate": "image_similarity.cli.evaluate",
        "compare": "image_similarity.cli.compare",
        "models": "image_similarity.cli.models",
        "train": "image_similarity.cli.train",
        "predict": "image_similarity.cli.predict",
        "case": "image_similarity.cli.case",
        "hashlist": "image_similarity.cli.hashlist",
        "review": "image_similarity.cli.review",
        "runs": "image_similarity.cli.runs",
        "analyse": "image_similarity.cli.analyse",
        "audit": "image_similarity.cli.audit",
        "db": "image_similarity.cli.db",
        "relink": "image_similarity.cli.relink",
    },
    context_settings=options.CONTEXT,
)
@click.version_option(__version__, prog_name="image-similarity")
@options.talk
def cli() -> None:
    """Index folders of photographs and rank them by similarity; offline, evidence is only read.

    What is found are documented leads for examination, never findings.
    """


def main() -> NoReturn:
    """Run `image-similarity` and exit."""
    _exit_with(cli, "image-similarity")


def generate_embeddings() -> NoReturn:
    """Run `generate_embeddings`, which is `image-similarity index`, and exit."""
    from image_similarity.cli.index import index

    _exit_with(index, "generate_embeddings")


class _Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a command as Ctrl-C does: what it was writing is taken away, what it holds let go."""


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise _Terminated


def _exit_with(command: click.Command, name: str) -> NoReturn:
    try:
        signal.signal(signal.SIGTERM, _terminate)
        code = run(command, sys.argv[1:], name)
        # All is done and said: a late Ctrl-C must not turn the exit code into a death by signal.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    except KeyboardInterrupt as stopped:
        code = TERMINATED if isinstance(stopped, _Terminated) else INTERRUPTED
    # All is closed. To look through all that was imported for cycles would take a twentieth of a query.
    gc.freeze()
    sys.exit(code)


def run(command: click.Command, arguments: Sequence[str], name: str) -> int:
    """Run a command and return its exit code; whatever goes wrong is said in one line on stderr."""
    talk = Talk()
    for stream in (sys.stdout, sys.stderr):
        # A name from evidence that this terminal's encoding cannot show must not end a run.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    color = False if os.environ.get("NO_COLOR") else None
    try:
        with command.make_context(name, list(arguments), obj=talk, color=color) as context:
            code = command.invoke(context)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt) as stopped:
        click.echo("Interrupted.", err=True)
        return TERMINATED if isinstance(stopped, _Terminated) else INTERRUPTED
    except BrokenPipeError:
        _forget_stdout()
        return PIPE_CLOSED
    except ImageSimilarityError as error:
        return _say(talk, error.message, hint=error.hint, code=error.exit_code)
    except OSError as error:
        what = f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
        return _say(talk, what, code=1)
    except Exception as error:
        hint = "" if talk.verbose else "-v shows where it happened."
        return _say(talk, f"unexpected {type(error).__name__}: {error}", hint=hint, code=1)


def _say(talk: Talk, message: str, *, code: int, hint: str = "") -> int:
    """Say what went wrong, with -v also where, and return the exit code."""
    if talk.verbose:
        import traceback

        click.echo(traceback.format_exc(), err=True)
    click.echo(click.style("Error:", fg="red") + f" {visible(message)}", err=True)
    if hint:
        click.echo(f"Hint: {visible(hint)}", err=True)
    return code


def _forget_stdout() -> None:
    """Keep the interpreter from complaining at its end that stdout cannot be flushed."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
