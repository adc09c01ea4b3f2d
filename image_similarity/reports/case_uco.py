"""CASE/UCO JSON-LD: contents, the files that hold them, the runs that found them, and the provenance of the report.

Written for CASE 1.5 and UCO 1.5, to which the tests hold it with the community's validator. Identifiers are UUIDs made
of what they name, so two reports of one state differ in the time of writing alone.

A content is a ContentData with its hashes, size and picture; each place is a File; an ObservableRelationship leads from
the one to the other. A hit is an AnalyticResult. What was searched and what was not stands as description of the
InvestigativeAction "report"; the last node is the ProvenanceRecord, whose description ends with the audit head.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TextIO

from image_similarity import __version__
from image_similarity.reports.about import CAUTION, About, lines, parts
from image_similarity.reports.rows import Row, notes, utc
from image_similarity.reports.searches import Entry, Search, hit_text
from image_similarity.reports.text import whole_text
from image_similarity.values import Coverage, ImageRecord, Place, RunReport

Node = dict[str, Any]

_UCO = "https://ontology.unifiedcyberontology.org/uco/"
CONTEXT = {
    "case-investigation": "https://ontology.caseontology.org/case/investigation/",
    "kb": "urn:uuid:",
    "uco-action": _UCO + "action/",
    "uco-analysis": _UCO + "analysis/",
    "uco-core": _UCO + "core/",
    "uco-identity": _UCO + "identity/",
    "uco-observable": _UCO + "observable/",
    "uco-tool": _UCO + "tool/",
    "uco-types": _UCO + "types/",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
}
# By this a file is known as a report; see `target`. JSON-LD takes no comments, but a context may name what it likes.
MARK = '"image-similarity": "urn:image-similarity:"'

_RELATIONSHIP = "uco-observable:ObservableRelationship"
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_OID, "image_similarity")


def write(
    stream: TextIO, entries: Iterable[Entry], about: About, searches: Sequence[Search]
) -> None:
    """Write the graph, one node a line: the case, the runs, the pictures, the report, its provenance.

    Args:
        stream: Where to.
        entries: The pictures, each content once, with all hits that it is.
        about: What the report says beside them.
        searches: The searches that the hits are of.
    """
    context = {"image-similarity": "urn:image-similarity:", **CONTEXT}
    stream.write(f'{{"@context": {json.dumps(context)},\n"@graph": [\n')
    held: list[str] = []
    stream.write(",\n".join(map(_line, _frame(about, searches))))
    for entry in entries:
        nodes = [*_content(entry.image), *(_result(entry.image, hit) for hit in entry.hits)]
        held += [node["@id"] for node in nodes if node["@type"] != _RELATIONSHIP]
        stream.write("".join(",\n" + _line(node) for node in nodes))
    stream.write("".join(",\n" + _line(node) for node in _end(about, searches, held)))
    stream.write("\n]}\n")


def _line(node: Node) -> str:
    return json.dumps(_writable(node), allow_nan=False)


def _writable(value: Any) -> Any:
    """A value without lone surrogates at any depth."""
    if isinstance(value, dict):
        return {name: _writable(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_writable(each) for each in value]
    return whole_text(value) if isinstance(value, str) else value


def _id(kind: str, *of: object) -> str:
    """An identifier made of what it names; the parts are told apart by their JSON."""
    return "kb:" + str(uuid.uuid5(_NAMESPACE, json.dumps([kind, *map(str, of)])))


def _time(text: str | None) -> Node | None:
    return {"@type": "xsd:dateTime", "@value": text} if text else None


def _refer(ids: Iterable[str]) -> list[Node]:
    return [{"@id": each} for each in ids]


def _known(node: Node) -> Node:
    """A node without the properties of which nothing is known."""
    return {name: value for name, value in node.items() if value not in (None, "", [])}


# -- the case and its runs ------------------------------------------------------------------------------------------


def _tool() -> Node:
    return {
        "@id": _id("tool", __version__),
        "@type": "uco-tool:AnalyticTool",
        "uco-core:name": "image_similarity",
        "uco-tool:version": __version__,
        "uco-core:description": CAUTION,
    }


def _examiner(about: About) -> str | None:
    return next((each.facts.examiner for each in about.coverages if each.facts.examiner), None)


def _frame(about: About, searches: Sequence[Search]) -> Iterator[Node]:
    """The nodes that the others refer to: the tool, the examiner, the sources, the runs, the queries."""
    yield _tool()
    examiner = _examiner(about)
    if examiner:
        yield {
            "@id": _id("examiner", examiner),
            "@type": "uco-identity:Identity",
            "uco-core:name": examiner,
        }
    for coverage in about.coverages:
        for source in coverage.status.sources:
            yield _directory(source.root, source.name)
        for run in coverage.runs:
            yield _run(coverage, run)
    for search in searches:
        yield from _queries(search)


def _directory(root: str, name: str) -> Node:
    facet = {
        "@id": _id("directory facet", root, name),
        "@type": "uco-observable:FileFacet",
        "uco-observable:filePath": root,
        "uco-observable:isDirectory": True,
    }
    return {
        "@id": _id("directory", root, name),
        "@type": "uco-observable:Directory",
        "uco-core:name": name,
        "uco-core:hasFacet": [facet],
    }


def _run_id(coverage: Coverage, run: RunReport) -> str:
    return _id("run", coverage.status.path, run.run_id, run.started_at)


def _run(coverage: Coverage, run: RunReport) -> Node:
    return _known(
        {
            "@id": _run_id(coverage, run),
            "@type": "case-investigation:InvestigativeAction",
            "uco-core:name": f"{run.kind} run {run.run_id} over {run.source}",
            "uco-core:description": f"{run.status}; models {', '.join(run.models)}; {run.seen} files seen, "
            f"{run.new} new contents, {run.failed} failed, {sum(run.skipped.values())} left out",
            "uco-action:startTime": _time(run.started_at),
            "uco-action:endTime": _time(run.finished_at),
            "uco-action:instrument": _refer([_tool()["@id"]]),
            "uco-action:object": _refer([_id("directory", run.root, run.source)]),
        }
    )


def _queries(search: Search) -> Iterator[Node]:
    """The contents that were searched with: several, where they became one list."""
    for sha256 in search.sha256.split(" + "):
        of = (search.query, search.sha256, sha256)
        yield {
            "@id": _id("query", *of),
            "@type": "uco-observable:ContentData",
            "uco-core:name": search.query,
            "uco-core:hasFacet": [
                {
                    "@id": _id("query facet", *of),
                    "@type": "uco-observable:ContentDataFacet",
                    "uco-observable:hash": [_hash(_id("query", *of), sha256, "SHA256", sha256)],
                }
            ],
        }


# -- the pictures ---------------------------------------------------------------------------------------------------


def _content(image: ImageRecord) -> Iterator[Node]:
    """The content and, for each place, the file and what leads from the one to the other."""
    sha256 = image.sha256
    hashes = {"MD5": image.md5, "SHA1": image.sha1, "SHA256": sha256}
    content = _id("content", sha256)
    category = [f"category: {image.category}"] if image.category else []
    known = [f"in hash list: {each.list} ({each.algorithm})" for each in image.known]
    yield _known(
        {
            "@id": content,
            "@type": "uco-observable:ContentData",
            "uco-core:tag": [*image.tags, *category, *known],
            "uco-core:description": [
                *notes(image),
                *(["decoded only in part"] if image.partial else []),
            ],
            "uco-core:hasFacet": [
                {
                    "@id": _id("content facet", sha256),
                    "@type": "uco-observable:ContentDataFacet",
                    "uco-observable:hash": [
                        _hash("content", sha256, method, value)
                        for method, value in hashes.items()
                        if value
                    ],
                    "uco-observable:mimeType": image.mime,
                    "uco-observable:sizeInBytes": image.size,
                },
                {
                    "@id": _id("picture facet", sha256),
                    "@type": "uco-observable:RasterPictureFacet",
                    "uco-observable:pictureHeight": image.height,
                    "uco-observable:pictureType": image.format,
                    "uco-observable:pictureWidth": image.width,
                },
                *_exif(image),
            ],
        }
    )
    for place in image.places:
        file = _id("file", place.source, place.root, place.path, sha256)
        yield _file(file, image, place)
        yield {
            "@id": _id("relationship", file),
            "@type": _RELATIONSHIP,
            "uco-core:isDirectional": True,
            "uco-core:kindOfRelationship": "Contained_Within",
            "uco-core:source": {"@id": content},
            "uco-core:target": {"@id": file},
        }


def _file(file: str, image: ImageRecord, place: Place) -> Node:
    name = place.path.rpartition("/")[2]
    facet = {
        "@id": _id("file facet", file),
        "@type": "uco-observable:FileFacet",
        "uco-observable:fileName": name,
        "uco-observable:filePath": place.full_path,
        "uco-observable:isDirectory": False,
        "uco-observable:sizeInBytes": image.size,
        "uco-observable:modifiedTime": _time(utc(place.mtime_ns)),
        "uco-observable:accessedTime": _time(utc(place.atime_ns)),
    }
    return _known(
        {
            "@id": file,
            "@type": "uco-observable:File",
            "uco-core:description": f"no longer there since {place.gone_since}"
            if place.gone_since
            else "",
            "uco-core:hasFacet": [_known(facet)],
        }
    )


def _hash(kind: str, sha256: str, method: str, value: str) -> Node:
    return {
        "@id": _id("hash", kind, sha256, method),
        "@type": "uco-types:Hash",
        "uco-types:hashMethod": method,
        "uco-types:hashValue": {"@type": "xsd:hexBinary", "@value": value.upper()},
    }


def _exif(image: ImageRecord) -> list[Node]:
    if not image.exif:
        return []
    entries = [
        {
            "@id": _id("exif entry", image.sha256, name),
            "@type": "uco-types:ControlledDictionaryEntry",
            "uco-types:key": name,
            "uco-types:value": str(value),
        }
        for name, value in sorted(image.exif.items())
    ]
    dictionary = {
        "@id": _id("exif dictionary", image.sha256),
        "@type": "uco-types:ControlledDictionary",
        "uco-types:entry": entries,
    }
    facet = {
        "@id": _id("exif facet", image.sha256),
        "@type": "uco-observable:EXIFFacet",
        "uco-observable:exifData": [dictionary],
    }
    return [facet]


def _result(image: ImageRecord, hit: Row) -> Node:
    return {
        "@id": _id("hit", hit["query_sha256"], hit["rank"], image.sha256, hit["query"]),
        "@type": "uco-analysis:AnalyticResult",
        "uco-core:statement": hit_text(hit),
        "uco-analysis:resultContent": _refer([_id("content", image.sha256)]),
    }


# -- the report itself ----------------------------------------------------------------------------------------------


def _end(about: About, searches: Sequence[Search], held: Sequence[str]) -> Iterator[Node]:
    """The report as an action, the investigation, and the provenance of all that is in it."""
    examiner = _examiner(about)
    runs = [_run_id(coverage, run) for coverage in about.coverages for run in coverage.runs]
    report = _id("report", about.written, *(each.status.path for each in about.coverages))
    record = _id("provenance", report)
    yield _known(
        {
            "@id": report,
            "@type": "case-investigation:InvestigativeAction",
            "uco-core:name": about.title,
            "uco-core:description": "\n".join(lines(about)),
            "uco-action:endTime": _time(about.written),
            "uco-action:instrument": _refer([_tool()["@id"]]),
            "uco-action:performer": {"@id": _id("examiner", examiner)} if examiner else None,
            "uco-action:object": _refer(
                node["@id"] for search in searches for node in _queries(search)
            ),
            "uco-action:result": _refer([record]),
            "case-investigation:wasInformedBy": _refer(runs),
        }
    )
    facts = [each.facts for each in about.coverages]
    yield _known(
        {
            "@id": _id("investigation", report),
            "@type": "case-investigation:Investigation",
            "uco-core:name": next((each.number for each in facts if each.number), None),
            "uco-core:description": [each.notes for each in facts if each.notes],
            "uco-core:object": _refer([*runs, report, record]),
        }
    )
    yield _known(
        {
            "@id": record,
            "@type": "case-investigation:ProvenanceRecord",
            "case-investigation:exhibitNumber": next((e.exhibit for e in facts if e.exhibit), None),
            "uco-core:object": _refer(held),
            "uco-core:description": "\n".join(
                f"{name}: {value}"
                for part in parts(about)[-len(facts) :]
                for name, value in part.pairs
            ),
        }
    )
