"""Search results on stdout: a table with what it left out, or rows for other programs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import click

from image_similarity.cli.output import count, line, note, table
from image_similarity.pictures.names import on_disk
from image_similarity.reports import beside, meaning, rows, taken_out
from image_similarity.reports.text import visible
from image_similarity.values import Hit, NearHit, SearchResult


class Renderer:
    """Shows one result after the other in the form asked for."""

    def __init__(self, form: str, *, null: bool = False) -> None:
        self._form = form
        self._null = null
        self._shown = 0

    def show(self, result: SearchResult) -> None:
        """Write a result to stdout; what is said beside the data of a machine's form goes to stderr."""
        getattr(self, f"_{self._form}")(result)
        if self._form != "table":
            for text in [_query_line(result), *explain(result)]:
                note(text)
        if not self._shown:
            # Long, and alike for all queries of a folder.
            for text in meaning.legend(result):
                (line if self._form == "table" else note)(text)
        self._shown += 1

    def _table(self, result: SearchResult) -> None:
        if self._shown:
            line()
        line(_query_line(result), bold=True)
        if result.hits:
            several = len({hit.database for hit in result.hits}) > 1
            columns = ["rank", "distance", "similarity", "scene", "marks", "picture"]
            if several:
                columns.insert(5, "database")
            columns[3:3] = _more_cells(result, result.hits[0])
            table(columns, [_cells(result, hit, several=several) for hit in result.hits])
            for text in meaning.hit_lines(result):
                line(text)
        for text in explain(result):
            line(text)
        if result.near and result.near.hits:
            columns = ["bits", "quality", "orientation", "marks", "near duplicate"]
            table(columns, [_near_cells(hit) for hit in result.near.hits])

    def _json(self, result: SearchResult) -> None:
        rows.write_jsonl(_rows(result), sys.stdout)

    def _csv(self, result: SearchResult) -> None:
        rows.write_csv(_rows(result), sys.stdout, rows.COLUMNS, header=self._shown == 0)

    def _paths(self, result: SearchResult) -> None:
        for hit in result.hits:
            path = on_disk(hit.place)
            if self._null:
                click.echo(os.fsencode(path) + b"\0", nl=False)
            elif sys.stdout.isatty():
                click.echo(visible(path))
            else:
                click.echo(os.fsencode(path))


def explain(result: SearchResult) -> list[str]:
    """Return what a reader must know of a result beside its hits: what was searched, what was left out, and how."""
    found = result.filter
    total = found.searched + found.hidden
    if found.mode == "off":
        scenes = f"scenes searched: all; none of {count(total, 'picture')} left out"
    else:
        scenes = (
            f"scenes searched: {', '.join(found.scenes) or 'none'} ({found.mode}); "
            f"left out {found.hidden} of {count(total, 'picture')}; {meaning.nearer_text(result)} "
            "(--scene off shows them)"
        )
    near = "" if result.max_distance is None else f" within distance {result.max_distance:g}"
    model = f"model {result.model.name} ({result.model.fingerprint[:12]})"
    if (
        result.scene_model is not None
        and result.scene_model.fingerprint != result.model.fingerprint
    ):
        model += f"; scene model {result.scene_model.name} ({result.scene_model.fingerprint[:12]})"
    return [
        *([f"query made of: {result.query_made}"] if result.query_made else []),
        *([] if result.hits else [f"no picture found{near}"]),
        scenes,
        f"search: {meaning.search_text(result)} over {count(found.searched, 'picture')}, "
        f"k {result.k}{near}; {model}",
        *([meaning.index_text(result)] if result.index else []),
        *filter(None, [meaning.cut_text(result)]),
        *([meaning.fusion_text(result.fusion)] if result.fusion else []),
        *beside.lines(result),
        *taken_out.lines(result),
    ]


def marks(hit: Hit | NearHit) -> str:
    """Return what is special about a hit, in words."""
    found = {
        "identical": hit.identical,
        "partial": hit.image.partial,
        "gone": hit.place.gone_since is not None,
    }
    words = [word for word, holds in found.items() if holds]
    return ",".join([*words, *(taken_out.hit_marks(hit) if isinstance(hit, Hit) else [])])


def _query_line(result: SearchResult) -> str:
    if result.fusion and len(result.fusion.queries) > 1:
        return result.query
    known = "already indexed" if result.stored else "not indexed"
    return f"{result.query}  (SHA-256 {result.sha256}, {known})"


def _rows(result: SearchResult) -> Iterator[rows.Row]:
    """The hits, then the near duplicates."""
    yield from rows.hit_rows(result, on_disk)
    yield from beside.near_rows(result, on_disk)


def _cells(result: SearchResult, hit: Hit, *, several: bool) -> list[object]:
    scene = f"{hit.scene.name} ({hit.scene.probability:.2f})" if hit.scene else "-"
    cells: list[object] = [hit.rank, hit.distance, hit.similarity, scene, marks(hit)]
    cells[3:3] = _more_cells(result, hit).values()
    return [*cells, *([hit.database] if several else []), f"{hit.place.source}:{hit.place.path}"]


def _more_cells(result: SearchResult, hit: Hit) -> dict[str, object]:
    """Further cells by their column, which only some searches have."""
    fused = {} if hit.fused is None else {"score": f"{hit.fused.score:.4f}"}
    return {**fused, **beside.hit_cells(result, hit)}


def _near_cells(hit: NearHit) -> list[object]:
    place = f"{hit.place.source}:{hit.place.path}"
    return [hit.distance, hit.quality, hit.orientation, marks(hit), place]
