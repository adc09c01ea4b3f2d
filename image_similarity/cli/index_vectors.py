"""`db index-vectors`: an index of a model's vectors that the server keeps in the database."""

from __future__ import annotations

import click

from image_similarity.case import Case
from image_similarity.cli import options, output, progress
from image_similarity.cli.options import Talk
from image_similarity.values import Location


@click.command(context_settings=options.CONTEXT)
@options.server_database
@options.model()
@click.option(
    "--links",
    type=int,
    default=16,
    show_default=True,
    metavar="N",
    help="Links of a vector (pgvector's m).",
)
@click.option(
    "--effort",
    type=int,
    default=64,
    show_default=True,
    metavar="N",
    help="Candidates for them (ef_construction); more takes longer to build and finds more.",
)
@click.option(
    "--memory",
    metavar="SIZE",
    help="What the build may take, such as 4GB.  [default: the server's maintenance_work_mem]",
)
@click.option("--drop", is_flag=True, help="Drop it: all searches are exact from then on.")
@options.output_format("table", "json")
@options.talk
@click.pass_obj
def index_vectors(
    talk: Talk,
    /,
    database: Location,
    model: str | None,
    links: int,
    effort: int,
    memory: str | None,
    drop: bool,
    form: str,
) -> None:
    """Have the server index the vectors of a model, for searches among very many pictures.

    For a database on a PostgreSQL server. How often the index finds what an exact search finds is measured, and printed
    with every answer that it gave. Where few pictures pass the filters, or with `query --exact`, it is not used; nor
    after REINDEX or in a restored dump, where it is another index, until this command has made and measured one again.
    """
    with (
        progress.listener(talk) as on_event,
        Case.open(database, on_event=on_event) as case,
    ):
        if drop:
            gone = case.drop_vector_index(model=model)
            output.note(f"dropped: {gone}" if gone else "there is no index of this model")
            return
        found = case.index_vectors(
            model=model, links=links, effort=effort, memory=memory, on_event=on_event
        )
    if form == "json":
        output.emit(found)
        return
    recall = found.recall
    output.pairs(
        [
            (
                "index",
                f"{found.name} ({output.size(found.size_bytes)}), built in {found.seconds:.0f} s",
            ),
            ("model", f"{found.model} ({found.fingerprint[:12]})"),
            (
                "vectors",
                f"{found.vectors} of {found.dim} numbers, m {found.links}, ef_construction {found.effort}",
            ),
            (
                f"recall@{recall.at}",
                f"{recall.share:.4f} against the exact search, over {recall.queries} queries",
            ),
        ]
    )
