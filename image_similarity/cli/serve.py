"""`serve`: the analyst's page."""

from __future__ import annotations

import webbrowser
from dataclasses import replace
from pathlib import Path

import click

from image_similarity.cli import options, output
from image_similarity.cli.options import Talk
from image_similarity.errors import UsageError
from image_similarity.web.options import HOST, PORT, ServeOptions

_MEGABYTE = 2**20


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
    database: Path,
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
    taken = server.listen(asked)
    asked = replace(asked, port=taken.getsockname()[1])

    def ready(link: str) -> None:
        output.line(link)
        output.note("The link is for one person and this machine. Ctrl-C closes the page.")
        if open_:
            webbrowser.open(link)

    try:
        server.serve(asked, taken, on_ready=ready)
    except KeyboardInterrupt:
        # How a page is closed; everything was written when it was done.
        output.note("The page is closed.")
    return 0


def _password(file: Path) -> str:
    lines = file.read_text("utf-8").splitlines()
    if not lines or len(lines[0].strip()) < 8:
        raise UsageError(
            f"{file} holds no password of 8 characters or more", hint="in its first line"
        )
    return lines[0].strip()
