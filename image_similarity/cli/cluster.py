"""`cluster`: what is done on many machines."""

from __future__ import annotations

from typing import Any

import click

from image_similarity.case import Case, check_cluster
from image_similarity.cli import account, options, progress
from image_similarity.cli.index import left_out, options_of, scenes_and_weights
from image_similarity.cli.options import Talk
from image_similarity.cli.signals import Stop
from image_similarity.settings import STALL_SECONDS, ClusterOptions
from image_similarity.values import Location


@click.group(context_settings=options.CONTEXT)
def cluster() -> None:
    """Work on many machines, with Ray; needs the extra ray."""


@cluster.command()
@options.model(multiple=True)
@click.option(
    "-ip",
    "--image-path",
    "folder",
    metavar="DIR|URI",
    required=True,
    type=options.PLACE,
    help="A folder that every machine sees at the same path, or a URI such as s3://bucket/folder; only ever read.",
)
@click.option(
    "--source", metavar="NAME", help="The name of the folder in the database.  [default: its own]"
)
@options.server_database
@click.option(
    "--address",
    metavar="auto|HOST:PORT|ray://HOST:PORT",
    help="The Ray cluster; auto is the one of this machine.  [default: one of this machine alone, for this run]",
)
@click.option(
    "--actors",
    type=int,
    metavar="N",
    help="Processes that hold the networks.  [default: one a GPU, or all processors but one]",
)
@click.option(
    "--gpus-per-actor",
    type=float,
    metavar="X",
    help="GPUs of each, or a part of one; 0 is none.  [default: 1 where there are GPUs]",
)
@click.option(
    "--stall-seconds",
    type=click.FloatRange(min=1),
    metavar="N",
    default=STALL_SECONDS,
    show_default=True,
    help="End the run when no batch is finished for so long.",
)
@scenes_and_weights
@options.pdq
@options.thumbnails
@options.batch_size
@options.device
@options.runtime
@options.rehash
@options.retry_failed
@left_out
@options.output_format("table", "json")
@options.talk
@click.pass_obj
def index(
    talk: Talk,
    /,
    folder: str,
    database: Location,
    source: str | None,
    address: str | None,
    actors: int | None,
    gpus_per_actor: float | None,
    stall_seconds: float,
    form: str,
    **given: Any,
) -> int:
    """Take the pictures of a folder or an object store into a database on a server.

    Does what `image-similarity index` does, with the work spread over a Ray cluster: every machine reads, decodes,
    embeds and writes. Run again, it takes only what is new, changed or was left undone. The models' weights and this
    program, in the same version, must be on every machine. Ended when nothing moves any more, with exit code 16.
    """
    chosen = options_of(**given)
    check_cluster(folder, database, chosen)
    machines = ClusterOptions(address, actors, gpus_per_actor, stall_seconds, logs=talk.verbose)
    with (
        Stop(as_json=talk.progress == "json") as stop,
        progress.listener(talk) as on_event,
        Case.open(database, on_event=on_event) as case,
    ):
        report = case.index_on_cluster(
            folder, options=chosen, cluster=machines, source=source, on_event=on_event, stop=stop
        )
    account.show(report, database, form)
    return account.exit_code([report], stop.exit_code)
