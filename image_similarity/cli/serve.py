"""`serve`: the analyst's page."""

from __future__ import annotations

import os
import signal
import threading
import webbrowser
from dataclasses import replace
from pathlib import Path

import click

from image_similarity.case import Case
from image_similarity.cli import evidence, options, output, progress
from image_similarity.cli.options import Talk
from image_similarity.errors import DatabaseNotWritable, UsageError
from image_similarity.values import Location
from image_similarity.web.options import HOST, PORT, ServeOptions

_MEGABYTE = 2**20
# Shorter ones are guessed.
_SHORTEST = 8
# For a request that still computes when the page is closed; it writes in transactions, so nothing is left half done.
_SECONDS_TO_END = 3


@click.command(context_settings=options.CONTEXT)
@options.database
@click.option("--port", default=PORT, show_default=True, metavar="N", help="0 takes any free one.")
@click.option(
    "--host",
    default=HOST,
    show_default=True,
    metavar="ADDRESS",
    help="Where to listen; one that other machines can reach takes a password and TLS.",
)
@click.option("--open", "open_", is_flag=True, help="Open the page in the browser.")
@click.option("--read-only", is_flag=True, help="Write nothing: no decisions, reports, thumbnails.")
@click.option(
    "--password-file",
    type=options.PATH,
    metavar="FILE",
    help="Ask for the password in its first line, instead of a token in the link.",
)
@click.option("--tls-certificate", "certificate", type=options.PATH, metavar="FILE", help="In PEM.")
@click.option("--tls-key", "key", type=options.PATH, metavar="FILE", help="In PEM.")
@click.option(
    "--name",
    "names",
    multiple=True,
    metavar="HOST",
    help="What browsers may call this server, beside its address; may be repeated.",
)
@click.option(
    "--reports", type=options.PATH, metavar="DIR", help="For reports.  [default: DB-reports]"
)
@click.option(
    "--cache",
    type=options.PATH,
    metavar="DIR",
    help="For thumbnails.  [default: in the user's cache folder]",
)
@click.option(
    "--cache-size",
    type=click.IntRange(min=1),
    default=2048,
    show_default=True,
    metavar="MB",
    help="Of all thumbnails; those not asked for longest go.",
)
@options.talk
@click.pass_obj
def serve(
    talk: Talk,
    /,
    database: Location,
    port: int,
    host: str,
    open_: bool,
    read_only: bool,
    password_file: Path | None,
    certificate: Path | None,
    key: Path | None,
    names: tuple[str, ...],
    reports: Path | None,
    cache: Path | None,
    cache_size: int,
) -> int:
    """Open the analyst's page: find, compare, decide and report in a browser on this machine.

    The link that is printed opens it. Ctrl-C closes it; what was decided is in the database already.
    """
    from image_similarity.web import server

    asked = ServeOptions(
        database=database,
        host=host,
        port=port,
        read_only=read_only,
        reports=reports,
        cache=cache,
        most_cached=cache_size * _MEGABYTE,
        password=None if password_file is None else _password(password_file),
        certificate=certificate,
        key=key,
        names=names,
    )
    server.check(asked)
    _look_at(asked, talk)
    taken = server.listen(asked)
    asked = replace(asked, port=taken.getsockname()[1])

    def say(text: str) -> None:
        if not talk.quiet:
            output.note(text)

    def ready(link: str, once: str) -> None:
        output.line(link)
        say("The link is for one person and this machine. Ctrl-C closes the page.")
        if open_:
            # Beside the server: a browser in the terminal stays until it is left.
            threading.Thread(target=_show, args=(once,), daemon=True).start()

    _heed_a_closed_terminal()
    try:
        server.serve(asked, taken, on_ready=ready)
    except KeyboardInterrupt:
        # How a page is closed; everything was written when it was done.
        say("The page is closed.")
    _end_soon()
    return 0


def _look_at(asked: ServeOptions, talk: Talk) -> None:
    """Find out what is wrong with the database before a link is given to anyone; an older one is upgraded.

    Raises:
        DatabaseError.
    """
    database = asked.database
    evidence.require_database(database)
    if not asked.read_only and isinstance(database, Path):
        # Decisions are written through a journal beside it.
        for each in (database, database.absolute().parent):
            if not os.access(each, os.W_OK):
                raise DatabaseNotWritable(f"{each} cannot be written", hint="add --read-only")
    with progress.listener(talk) as on_event:
        Case.open(database, read_only=asked.read_only, on_event=on_event).close()


def _show(link: str) -> None:
    if not webbrowser.open(link):
        output.note("No browser could be opened; follow the link.")


def _heed_a_closed_terminal() -> None:
    """Close the page in order where its terminal is closed; with `nohup` it stays."""
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is not None and signal.getsignal(hangup) is signal.SIG_DFL:
        signal.signal(hangup, lambda number, frame: signal.raise_signal(signal.SIGTERM))


def _end_soon() -> None:
    """See to it that a thread that still computes for nobody does not keep the process."""
    at_work = [each for each in threading.enumerate() if each is not threading.current_thread()]
    if any(not each.daemon for each in at_work):
        timer = threading.Timer(_SECONDS_TO_END, os._exit, (0,))
        timer.daemon = True
        timer.start()


def _password(file: Path) -> str:
    try:
        first = file.read_text("utf-8").partition("\n")[0].strip()
    except UnicodeDecodeError:
        first = ""
    if len(first) < _SHORTEST:
        raise UsageError(
            f"{file} holds no password of {_SHORTEST} characters or more", hint="in its first line"
        )
    return first
