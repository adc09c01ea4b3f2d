"""The options that mean the same in every command."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import click

from image_similarity.errors import InvalidSetting
from image_similarity.settings import DATABASE_VARIABLE, MODEL_VARIABLE, RUNTIMES
from image_similarity.values.locations import location

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
Format = Literal["table", "json", "csv", "paths"]

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class _PathName(click.Path):
    """A path; not an empty text, which would be the current folder: what a script makes of a variable without value."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse an empty text."""
        if value == "":
            self.fail("The name is empty.", param, ctx)
        return super().convert(value, param, ctx)


PATH = _PathName(path_type=Path)
# What may also be the URI of an object store.
PLACE = _PathName(path_type=str)


class _DatabaseName(_PathName):
    """A database: a file, or a URL of one on a server."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Tell the two apart."""
        if not isinstance(value, str) or "://" not in value:
            return super().convert(value, param, ctx)
        try:
            return location(value)
        except InvalidSetting as error:
            return self.fail(f"{error.message}; {error.hint}", param, ctx)

    def split_envvar_value(self, rv: str) -> list[str]:
        """Tell several in one variable apart: as folders in PATH, or by spaces if one is a URL, which has colons."""
        return rv.split() if "://" in rv else list(super().split_envvar_value(rv))


DATABASE = _DatabaseName(path_type=Path)


class ModelName(click.types.StringParamType):
    """A registered name or a weights file; several in one variable are separated like the folders in PATH."""

    name = "model"
    envvar_list_splitter = os.pathsep


@dataclass
class Talk:
    """How much to say on stderr, and in which form; set by the options of the group or of the command."""

    verbose: bool = False
    quiet: bool = False
    progress: str | None = None


def together(*wanted: Callable[..., Any]) -> Callable[[Decorated], Decorated]:
    """Return one decorator that adds several options; `--help` lists them in this order."""

    def add(command: Decorated) -> Decorated:
        for option in reversed(wanted):
            command = option(command)
        return command

    return add


def talk(command: Decorated) -> Decorated:
    """Add the options that every command takes: -v, -q, --progress, --no-color."""

    def flag(*names: str, callback: Callable[..., None], **kwargs: Any) -> Callable[..., Any]:
        return click.option(*names, expose_value=False, callback=callback, **kwargs)

    for option in (
        flag(
            "--no-color", is_flag=True, callback=_no_color, help="No colours, also on a terminal."
        ),
        flag(
            "--progress",
            type=click.Choice(["bar", "lines", "json", "off"]),
            callback=_set_talk,
            help="How a long run shows where it is, on stderr; a bar on a terminal, else nothing.",
        ),
        flag("-q", "--quiet", is_flag=True, callback=_set_talk, help="No progress, no notices."),
        flag(
            "-v", "--verbose", is_flag=True, callback=_set_talk, help="Also say details and traces."
        ),
    ):
        command = option(command)
    return command


def database(command: Decorated) -> Decorated:
    """Add -dp, one database."""
    return _database_option(
        command, "database", "The database: a file, or postgresql+psycopg://user@host/name."
    )


def created_database(command: Decorated) -> Decorated:
    """Add -dp, one database that is created if it is missing."""
    return _database_option(
        command,
        "database",
        "The database: a file, created if missing, or postgresql+psycopg://user@host/name.",
    )


def server_database(command: Decorated) -> Decorated:
    """Add -dp, one database on a server."""
    return _database_option(
        command, "database", "The database: postgresql+psycopg://user@host/name."
    )


def evidence(what: str) -> Callable[[Decorated], Decorated]:
    """Add -ip, the evidence that is read, and --source, its name in the database."""

    def add(command: Decorated) -> Decorated:
        command = click.option(
            "--source",
            metavar="NAME",
            help="The name of the folder in the database.  [default: its own]",
        )(command)
        return click.option(
            "-ip", "--image-path", "folder", metavar="DIR", required=True, type=PATH, help=what
        )(command)

    return add


def databases(command: Decorated) -> Decorated:
    """Add -dp, one or several databases."""
    return _database_option(
        command,
        "databases",
        "A database, a file or a URL; may be given several times.",
        multiple=True,
    )


def optional_database(command: Decorated) -> Decorated:
    """Add -dp where a command also works without."""
    return _database_option(command, "database", "A database: a file or a URL.", required=False)


def output_format(*choices: Format) -> Callable[[Decorated], Decorated]:
    """Add --format with the forms that the command can write."""
    return click.option(
        "--format",
        "form",
        type=click.Choice(choices),
        default="table",
        show_default=True,
        help="What stdout gets; json is one object a line.",
    )


def model(*, multiple: bool = False) -> Callable[[Decorated], Decorated]:
    """Add -m."""
    return click.option(
        "-m",
        "--model",
        "models" if multiple else "model",
        metavar="MODEL",
        type=ModelName(),
        multiple=multiple,
        envvar=MODEL_VARIABLE,
        show_envvar=True,
        help="A model's name (see `models list`) or a weights file that carries its card"
        + ("; may be given several times.  [default: builtin]" if multiple else "."),
    )


pdq = click.option(
    "--pdq",
    is_flag=True,
    help="Also store PDQ hashes, by which near duplicates are found; needs the extra pdq.",
)

thumbnails = click.option(
    "--thumbnails",
    is_flag=True,
    help="Also store a small picture of each; `case purge-thumbnails` deletes them.",
)

device = click.option(
    "--device",
    metavar="auto|cpu|cuda[:N]",
    default="auto",
    show_default=True,
    help="Where the network runs.",
)

runtime = click.option(
    "--runtime",
    type=click.Choice(RUNTIMES),
    default="auto",
    show_default=True,
    help="What runs it: auto is ONNX Runtime where it can, else torch; the vectors are the same.",
)


batch_size = click.option(
    "--batch-size",
    type=int,
    metavar="N",
    help="Pictures at once.  [default: what memory allows]",
)

workers = click.option(
    "--workers",
    type=int,
    metavar="N",
    help="Threads that read.  [default: a core each, up to 8]",
)

rehash = click.option(
    "--rehash", is_flag=True, help="Read every file again, also those that look unchanged."
)

retry_failed = click.option(
    "--retry-failed", is_flag=True, help="Try files again that failed before and did not change."
)

# What only says how the work is done on this machine, not what is recorded.
machine = together(batch_size, workers, device, runtime, rehash, retry_failed)


def _database_option(command: Decorated, name: str, text: str, **kwargs: Any) -> Decorated:
    settings = {"required": True, **kwargs}
    return click.option(
        "-dp",
        "--db-path",
        name,
        metavar="DB",
        type=DATABASE,
        envvar=DATABASE_VARIABLE,
        show_envvar=True,
        help=text,
        **settings,
    )(command)


def _set_talk(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    # The group and the command both have the option; one that is not given must not undo the other's.
    found = context.find_object(Talk)
    if value and found is not None and parameter.name:
        setattr(found, parameter.name, value)


def _no_color(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        context.color = False
