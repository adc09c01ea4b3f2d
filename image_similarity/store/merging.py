"""The rows of another database into this one, table by table, within one transaction of `Catalog.writing_beside`.

Written in SQLite's words, where both are attached to one connection: `main` is ours, `theirs` the other. On a server
the other's rows are in temporary tables, and a few words are others; see `_on_server`.

Ids differ between the two, so the first thing made of each table is a map from theirs to ours, in a temporary table:
`to_run`, `to_source`, `to_image`, `to_model`, `to_scene`, `to_list`. Rows that both hold are ours.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table

from image_similarity.store import pack_writing, sealing
from image_similarity.store.clock import now
from image_similarity.store.engine import is_sqlite
from image_similarity.store.schema import (
    embedding_table,
    failure_table,
    file_table,
    hash_list_table,
    image_table,
    mark_table,
    model_table,
    pair_mark_table,
    pdq_table,
    run_table,
    scene_table,
    skipped_table,
    source_table,
    thumbnail_table,
)
from image_similarity.store.sources import free_name
from image_similarity.values import AuditEntry

_MAPS = ("to_run", "to_source", "to_image", "to_model", "to_scene", "to_list")
# The tables that take time, in the order in which they are done.
_STEPS = (
    ("image", "file", "failure", "skipped"),
    ("embedding",),
    ("image_scene",),
    ("pdq", "thumbnail", "hash_entry"),
)
# What tells one run from every other, wherever it was copied to.
_RUN_IS = (
    "kind",
    "started_at",
    "finished_at",
    "host",
    "pid",
    "process_start",
    "options",
    "account",
)
# In what two records of one model may not differ.
_MODEL_IS = ("dim", "dtype", "metric", "normalisation", "weights_sha256")
# What a few words are on a server, where IS compares with NULL alone; see `Catalog.writing_beside` for the tables.
_SERVER_WORDS = (
    (r"\bmain\.", ""),
    (r"\btemp\.", "pg_temp."),
    (r"\btheirs\.", "pg_temp.their_"),
    (r"\?", "%s"),
    (r"\bINTEGER\b", "BIGINT"),
    (r"\bgroup_concat\(", "string_agg("),
    (r"\bchar\(", "chr("),
    (r"\bIS NOT (?!NULL)", "IS DISTINCT FROM "),
    (r"\bIS (?!NOT\b|NULL\b|DISTINCT\b)", "IS NOT DISTINCT FROM "),
)


def open_runs(connection: Connection) -> list[int]:
    """Their runs that count as writing."""
    found = _run(connection, "SELECT id FROM theirs.run WHERE status = 'running'")
    return list(found.scalars())


def shared_runs(connection: Connection) -> tuple[int, int]:
    """How many of their runs are ours, too, and how many they have."""
    # As text: a server does not compare objects of JSON.
    same = " AND ".join(f"CAST(o.{c} AS TEXT) IS CAST(t.{c} AS TEXT)" for c in _RUN_IS)
    count = "SELECT count(*) FROM theirs.run t"
    shared = f"{count} WHERE EXISTS (SELECT 1 FROM main.run o WHERE {same})"
    return _number(connection, shared), _number(connection, count)


def other_models(connection: Connection) -> tuple[list[str], list[str]]:
    """Names and fingerprints of their models that we lack, and of those that are recorded otherwise than ours."""
    said = "t.name || '@' || substr(t.fingerprint, 1, 12) FROM theirs.model t"
    lacking = f"SELECT {said} WHERE t.fingerprint NOT IN (SELECT fingerprint FROM main.model)"
    differs = " OR ".join(f"o.{column} IS NOT t.{column}" for column in _MODEL_IS)
    scenes = (
        "(SELECT group_concat(position || char(31) || name, char(30)) FROM"
        " (SELECT position, name FROM {}.scene WHERE model_id = {}.id ORDER BY position))"
    )
    differs += f" OR {scenes.format('main', 'o')} IS NOT {scenes.format('theirs', 't')}"
    otherwise = f"SELECT {said} JOIN main.model o ON o.fingerprint = t.fingerprint WHERE {differs}"
    return _texts(connection, lacking), _texts(connection, otherwise)


def holds_models(connection: Connection) -> bool:
    """Whether any model is recorded here."""
    return bool(_number(connection, "SELECT count(*) FROM main.model"))


def count_rows(connection: Connection) -> int:
    """How many rows they have in the tables that take time."""
    return sum(
        _number(connection, f"SELECT count(*) FROM theirs.{name}")
        for names in _STEPS
        for name in names
    )


def merge_rows(
    connection: Connection, prefix: str, told: Callable[[int], None]
) -> tuple[dict[str, str], dict[str, int], list[dict[str, Any]]]:
    """Take over all rows but the audit chain and the facts of the case.

    Args:
        connection: Of `Catalog.writing_beside`.
        prefix: Put before the names of their sources.
        told: Called now and then with how many rows of `count_rows` are done.

    Returns:
        Their sources with the names that they have now, how many rows were taken of what, and the seals of these.
    """
    for name in _MAPS:
        _run(
            connection,
            f"CREATE TEMP TABLE {name} (theirs INTEGER PRIMARY KEY, ours INTEGER NOT NULL)",
        )
    before = sealing.marks(connection)
    named = _sources(connection, prefix)
    models = _models(connection)
    counts = {"models": len(models)}
    counts |= {"runs": _runs(connection)}
    steps = _told(connection, told)
    counts |= _contents(connection)
    next(steps)
    vectors, counts["vectors"], counts["vectors_otherwise"] = _vectors(connection)
    next(steps)
    labels, counts["labels"], counts["labels_otherwise"] = _labels(connection)
    next(steps)
    pdq, counts["pdq"] = _hashes(connection)
    counts["thumbnails"] = _by_image(connection, thumbnail_table)
    counts |= _decisions(connection)
    counts |= _hash_lists(connection)
    next(steps)
    _drop_packs(connection, vectors, labels)
    runs = _ids(connection, "SELECT ours FROM to_run ORDER BY ours")
    seals = list(_seals(connection, before, models, labels, pdq, runs))
    for name in _MAPS:
        _run(connection, f"DROP TABLE temp.{name}")
    return named, counts, seals


def _told(connection: Connection, told: Callable[[int], None]) -> Iterator[None]:
    done = 0
    for names in _STEPS:
        done += sum(_number(connection, f"SELECT count(*) FROM theirs.{name}") for name in names)
        told(done)
        yield


def chains(connection: Connection) -> tuple[list[AuditEntry], dict[int, list[AuditEntry]]]:
    """Their audit chain, and those that they took over before, by the number of their entry that tells of each."""
    columns = "at, actor, action, detail, previous, digest"
    own = _run(connection, f"SELECT id, {columns} FROM theirs.audit ORDER BY id")
    taken: dict[int, list[AuditEntry]] = {}
    for merge_id, *entry in _run(
        connection,
        f"SELECT merge_id, number, {columns} FROM theirs.merged_audit ORDER BY merge_id, number",
    ):
        taken.setdefault(merge_id, []).append(AuditEntry(*entry))
    return [AuditEntry(*entry) for entry in own], taken


def facts(connection: Connection) -> dict[str, str]:
    """What they say of their case."""
    return _pairs(connection, "SELECT name, value FROM theirs.case_fact")


# -- the tables -----------------------------------------------------------------------------------------------------


def _sources(connection: Connection, prefix: str) -> dict[str, str]:
    """Each of their sources becomes one of its own, also with a root that one of ours has: mounts change."""
    taken = set(_texts(connection, "SELECT name FROM main.source"))
    named: dict[str, str] = {}
    for theirs, name in _run(connection, "SELECT id, name FROM theirs.source ORDER BY id").all():
        named[name] = free_name(prefix + name, taken)
        taken.add(named[name])
        ours = _copy(
            connection, source_table, {"name": "?"}, "WHERE t.id = ?", (named[name], theirs)
        )
        _map(connection, "to_source", theirs, ours)
    return named


def _models(connection: Connection) -> list[int]:
    """Maps their models and scenes; gives the ids of those that we lacked."""
    added = []
    known = _pairs(connection, "SELECT fingerprint, id FROM main.model")
    for theirs, fingerprint in _run(
        connection, "SELECT id, fingerprint FROM theirs.model ORDER BY id"
    ).all():
        ours = known.get(fingerprint)
        if ours is None:
            ours = _copy(connection, model_table, {}, "WHERE t.id = ?", (theirs,))
            scenes = "WHERE t.model_id = ? ORDER BY t.id"
            _copy_all(connection, scene_table, {"model_id": "?"}, scenes, (ours, theirs))
            added.append(ours)
        _map(connection, "to_model", theirs, ours)
    _run(
        connection,
        "INSERT INTO to_scene SELECT t.id, o.id FROM theirs.scene t"
        " JOIN to_model m ON m.theirs = t.model_id"
        " JOIN main.scene o ON o.model_id = m.ours AND o.name = t.name",
    )
    return added


def _runs(connection: Connection) -> int:
    _run(
        connection,
        "INSERT INTO to_run SELECT id, row_number() OVER (ORDER BY id)"
        " + (SELECT coalesce(max(id), 0) FROM main.run) FROM theirs.run",
    )
    count = _copy_all(
        connection,
        run_table,
        {"id": "r.ours", "source_id": "s.ours"},
        "JOIN to_run r ON r.theirs = t.id JOIN to_source s ON s.theirs = t.source_id ORDER BY t.id",
    )
    if not is_sqlite(connection):
        from image_similarity.store import postgres

        postgres.restart_ids(connection, run_table)
    return count


def _contents(connection: Connection) -> dict[str, int]:
    """Contents that we lack, and every place, failure and file left out of their sources."""
    run = "JOIN to_run r ON r.theirs = t.{}"
    source = "JOIN to_source s ON s.theirs = t.source_id"
    at_end = "LEFT JOIN to_run g ON g.theirs = t.{}"
    new = _copy_all(
        connection,
        image_table,
        {"first_run_id": "r.ours"},
        f"{run.format('first_run_id')} WHERE NOT EXISTS"
        " (SELECT 1 FROM main.image o WHERE o.sha256 = t.sha256)"
        " ORDER BY t.id",
    )
    _run(
        connection,
        "INSERT INTO to_image SELECT t.id, o.id FROM theirs.image t"
        " JOIN main.image o ON o.sha256 = t.sha256",
    )
    both = _number(connection, "SELECT count(*) FROM to_image") - new
    files = _copy_all(
        connection,
        file_table,
        {
            "source_id": "s.ours",
            "image_id": "i.ours",
            "first_run_id": "r.ours",
            "gone_run_id": "g.ours",
        },
        f"{source} JOIN to_image i ON i.theirs = t.image_id {run.format('first_run_id')}"
        f" {at_end.format('gone_run_id')} ORDER BY t.id",
    )
    failures = _copy_all(
        connection,
        failure_table,
        {"run_id": "r.ours", "source_id": "s.ours", "resolved_run_id": "g.ours"},
        f"{source} {run.format('run_id')} {at_end.format('resolved_run_id')} ORDER BY t.id",
    )
    skipped = _copy_all(
        connection,
        skipped_table,
        {"run_id": "r.ours", "source_id": "s.ours"},
        f"{source} {run.format('run_id')} ORDER BY t.id",
    )
    return {
        "pictures": new,
        "pictures_in_both": both,
        "places": files,
        "failures": failures,
        "skipped": skipped,
    }


def _vectors(connection: Connection) -> tuple[dict[int, list[int]], int, int]:
    """Vectors that we lack: the contents by model, their number, and how many both hold, but not the same."""
    joined = "JOIN to_model m ON m.theirs = t.model_id JOIN to_image i ON i.theirs = t.image_id"
    ours = "o.model_id = m.ours AND o.image_id = i.ours"
    lacking = f"NOT EXISTS (SELECT 1 FROM main.embedding o WHERE {ours})"
    found = _run(
        connection, f"SELECT m.ours, i.ours FROM theirs.embedding t {joined} WHERE {lacking}"
    ).all()
    otherwise = _number(
        connection,
        f"SELECT count(*) FROM theirs.embedding t {joined} JOIN main.embedding o ON {ours}"
        " WHERE o.vector IS NOT t.vector",
    )
    count = _copy_all(
        connection,
        embedding_table,
        {"model_id": "m.ours", "image_id": "i.ours", "run_id": "r.ours"},
        f"{joined} JOIN to_run r ON r.theirs = t.run_id WHERE {lacking} ORDER BY t.id",
    )
    return _grouped(found), count, otherwise


def _labels(connection: Connection) -> tuple[dict[int, list[int]], int, int]:
    """Labels of contents that a scene model of ours gave none, likewise; numbers are of contents."""
    first = (
        "FROM theirs.image_scene t JOIN to_scene c ON c.theirs = t.scene_id"
        " JOIN to_image i ON i.theirs = t.image_id JOIN main.scene s ON s.id = c.ours"
    )
    have = (
        "EXISTS (SELECT 1 FROM main.image_scene o JOIN main.scene p ON p.id = o.scene_id"
        " WHERE o.image_id = i.ours AND p.model_id = s.model_id)"
    )
    _run(
        connection,
        "CREATE TEMP TABLE labelled AS"
        f" SELECT s.model_id AS model_id, i.theirs AS theirs, i.ours AS ours {first}"
        f" WHERE NOT {have} GROUP BY s.model_id, i.theirs, i.ours",
    )
    otherwise = _number(
        connection,
        f"SELECT count(DISTINCT i.ours || ' ' || s.model_id) {first} WHERE {have} AND NOT EXISTS"
        " (SELECT 1 FROM main.image_scene o WHERE o.image_id = i.ours AND o.scene_id = c.ours"
        " AND o.rank = t.rank AND o.probability = t.probability)",
    )
    _run(
        connection,
        "INSERT INTO main.image_scene (image_id, scene_id, probability, rank)"
        " SELECT l.ours, c.ours, t.probability, t.rank FROM theirs.image_scene t"
        " JOIN to_scene c ON c.theirs = t.scene_id JOIN main.scene s ON s.id = c.ours"
        " JOIN labelled l ON l.theirs = t.image_id AND l.model_id = s.model_id",
    )
    found = _run(connection, "SELECT model_id, ours FROM labelled ORDER BY model_id, ours").all()
    _run(connection, "DROP TABLE temp.labelled")
    return _grouped(found), len(found), otherwise


def _hashes(connection: Connection) -> tuple[list[int], int]:
    lacking = _ids(
        connection,
        "SELECT i.ours FROM theirs.pdq t JOIN to_image i ON i.theirs = t.image_id"
        " WHERE NOT EXISTS (SELECT 1 FROM main.pdq o WHERE o.image_id = i.ours) ORDER BY i.ours",
    )
    return lacking, _by_image(connection, pdq_table)


def _by_image(connection: Connection, table: Table) -> int:
    """Rows of a table that has one for a content, where we have none."""
    return _copy_all(
        connection,
        table,
        {"image_id": "i.ours", "run_id": "r.ours"},
        "JOIN to_image i ON i.theirs = t.image_id JOIN to_run r ON r.theirs = t.run_id"
        f" WHERE NOT EXISTS (SELECT 1 FROM main.{table.name} o WHERE o.image_id = i.ours) ORDER BY i.ours",
    )


def _decisions(connection: Connection) -> dict[str, int]:
    """What examiners said. What stands in both stands once; what contradicts ours is kept as withdrawn now.

    A content has one category, and a pair one verdict.
    """
    image = "JOIN to_image i ON i.theirs = t.image_id"
    standing = "o.withdrawn_at IS NULL AND t.withdrawn_at IS NULL AND o.image_id = i.ours"
    of_content = f"SELECT 1 FROM main.mark o WHERE {standing} AND o.kind = t.kind"
    of_pair = f"SELECT 1 FROM main.pair_mark o WHERE {standing} AND o.query_sha256 = t.query_sha256"
    count = withdrawn = 0
    for table, same, contradicts in (
        (
            mark_table,
            f"{of_content} AND o.value = t.value",
            f"{of_content} AND t.kind = 'category'",
        ),
        (pair_mark_table, f"{of_pair} AND o.verdict = t.verdict", of_pair),
    ):
        lacking = f"{image} WHERE NOT EXISTS ({same})"
        withdrawn += _number(
            connection,
            f"SELECT count(*) FROM theirs.{table.name} t {lacking} AND EXISTS ({contradicts})",
        )
        withdrawal = f"CASE WHEN EXISTS ({contradicts}) THEN ? ELSE t.withdrawn_at END"
        count += _copy_all(
            connection,
            table,
            {"image_id": "i.ours", "withdrawn_at": withdrawal},
            f"{lacking} ORDER BY t.id",
            (now(),),
        )
    return {"decisions": count, "decisions_withdrawn": withdrawn}


def _hash_lists(connection: Connection) -> dict[str, int]:
    """Lists of known files; one that was made of the same file is the same list, whatever it is called."""
    taken = set(_texts(connection, "SELECT name FROM main.hash_list"))
    known = _pairs(connection, "SELECT file_sha256, id FROM main.hash_list")
    count = 0
    for theirs, name, file_sha256 in _run(
        connection, "SELECT id, name, file_sha256 FROM theirs.hash_list ORDER BY id"
    ).all():
        if file_sha256 in known:
            continue
        named = free_name(name, taken)
        taken.add(named)
        ours = _copy(connection, hash_list_table, {"name": "?"}, "WHERE t.id = ?", (named, theirs))
        _map(connection, "to_list", theirs, ours)
        count += 1
    _run(
        connection,
        "INSERT INTO main.hash_entry (digest, list_id, category) SELECT t.digest, l.ours, t.category"
        " FROM theirs.hash_entry t JOIN to_list l ON l.theirs = t.list_id ORDER BY t.digest",
    )
    return {"hash_lists": count}


def _seals(
    connection: Connection,
    before: Mapping[str, int],
    models: Sequence[int],
    labels: Mapping[int, Sequence[int]],
    pdq: Sequence[int],
    runs: Sequence[int],
) -> Iterator[dict[str, Any]]:
    """Seal all that was written, a portion of rows in each seal: a whole database in one would not fit into memory."""
    for model in models:
        yield from sealing.seal_rows(connection, ["model"], model)
    yield from sealing.seal_since(connection, {}, runs=runs)
    for table, last in before.items():
        newest = _number(connection, f"SELECT coalesce(max(id), 0) FROM main.{table}")
        for first in range(last + 1, newest + 1, sealing.PORTION):
            stretch = (first, min(newest, first + sealing.PORTION - 1))
            found = sealing.seal(connection, table, [stretch])
            if found is not None:
                yield found.as_json()
    for model, images in labels.items():
        for some in _portions(images):
            yield from sealing.seal_since(connection, {}, labels={model: some})
    for some in _portions(pdq):
        yield from sealing.seal_since(connection, {}, pdq=some)


def _portions(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    ordered = sorted(ids)
    for start in range(0, len(ordered), sealing.PORTION):
        yield ordered[start : start + sealing.PORTION]


def _drop_packs(
    connection: Connection, vectors: Mapping[int, list[int]], labels: Mapping[int, list[int]]
) -> None:
    """Rows that came into packed ranges; the packs are made anew afterwards."""
    dims = _pairs(connection, "SELECT id, dim FROM main.model")
    for model, images in vectors.items():
        pack_writing.drop(connection, model, dims[model], images)
    for model, images in labels.items():
        pack_writing.drop_scenes(connection, model, images)


# -- SQL ------------------------------------------------------------------------------------------------------------


def _copy_all(
    connection: Connection,
    table: Table,
    replaced: Mapping[str, str],
    rest: str,
    values: tuple[Any, ...] = (),
) -> int:
    """Insert rows of theirs, `t`, with some columns replaced by expressions; gives how many. Ids are made anew."""
    return int(_run(connection, _insert(table, replaced, rest), values).rowcount)


def _copy(
    connection: Connection,
    table: Table,
    replaced: Mapping[str, str],
    rest: str,
    values: tuple[Any, ...],
) -> int:
    """As `_copy_all`, of one row; gives its id."""
    statement = f"{_insert(table, replaced, rest)} RETURNING id"
    return int(_run(connection, statement, values).scalar_one())


def _insert(table: Table, replaced: Mapping[str, str], rest: str) -> str:
    columns = [c.name for c in table.c if c.name != "id" or "id" in replaced]
    taken = ", ".join(replaced.get(name, f"t.{name}") for name in columns)
    return (
        f"INSERT INTO main.{table.name} ({', '.join(columns)}) SELECT {taken}"
        f" FROM theirs.{table.name} t {rest}"
    )


def _run(connection: Connection, statement: str, values: tuple[Any, ...] = ()) -> Any:
    """Run a statement in SQLite's words, on either engine."""
    if not is_sqlite(connection):
        statement = _on_server(statement)
    return connection.exec_driver_sql(statement, values)


def _on_server(statement: str) -> str:
    for pattern, word in _SERVER_WORDS:
        statement = re.sub(pattern, word, statement)
    return statement


def _map(connection: Connection, name: str, theirs: int, ours: int) -> None:
    _run(connection, f"INSERT INTO {name} VALUES (?, ?)", (theirs, ours))


def _number(connection: Connection, statement: str) -> int:
    return int(_run(connection, statement).scalar_one())


def _texts(connection: Connection, statement: str) -> list[str]:
    return list(_run(connection, statement).scalars())


def _pairs(connection: Connection, statement: str) -> dict[Any, Any]:
    return {key: value for key, value in _run(connection, statement)}


def _ids(connection: Connection, statement: str) -> list[int]:
    return list(_run(connection, statement).scalars())


def _grouped(rows: Iterable[Any]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for model, image in rows:
        found.setdefault(model, []).append(image)
    return found
