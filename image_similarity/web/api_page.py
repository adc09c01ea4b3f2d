"""The page of the interface: the OpenAPI document as people read it, made here and not by scripts from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from image_similarity.web.description import operations
from image_similarity.web.desk import TheDesk
from image_similarity.web.pages import shown
from image_similarity.web.session import TheSession

router = APIRouter(include_in_schema=False)

_SCHEMAS = "#/components/schemas/"
# What bounds a value, as the document calls it and as people do.
_BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "less than {}",
    "minLength": "{} characters or more",
    "maxLength": "{} characters or fewer",
    "minItems": "{} or more",
    "maxItems": "{} or fewer",
    "pattern": "matches {}",
    "default": "else {}",
}


@dataclass(frozen=True, slots=True)
class Words:
    """A piece of what a value may be; `schema` names the one that it is a link to."""

    text: str
    schema: str = ""


@dataclass(frozen=True, slots=True)
class Value:
    """A parameter, or a field of a schema."""

    name: str
    kind: tuple[Words, ...]
    place: str
    is_required: bool
    description: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What an operation may answer with."""

    status: str
    description: str
    kind: tuple[Words, ...]


@dataclass(frozen=True, slots=True)
class Operation:
    """What can be done, with what is taken and what comes back."""

    id: str
    method: str
    path: str
    summary: str
    description: str
    parameters: tuple[Value, ...]
    body: tuple[Words, ...]
    answers: tuple[Answer, ...]
    example: str


@dataclass(frozen=True, slots=True)
class Subject:
    """A tag with its operations."""

    name: str
    description: str
    operations: tuple[Operation, ...]


@router.get("/api")
def page(request: Request, desk: TheDesk, session: TheSession) -> HTMLResponse:
    """All operations and all schemas on one page."""
    document = request.app.openapi()
    return shown(
        "api",
        session,
        desk,
        introduction=document["info"]["description"],
        subjects=subjects(document),
        schemas=schemas(document),
    )


def subjects(document: dict[str, Any]) -> list[Subject]:
    """The operations of a document by tag, in its order."""
    found: dict[str, list[Operation]] = {tag["name"]: [] for tag in document["tags"]}
    paths = {id(path[method]): name for name, path in document["paths"].items() for method in path}
    for method, operation in operations(document):
        made = _operation(document, method, paths[id(operation)], operation)
        found[operation["tags"][0]].append(made)
    told = {tag["name"]: tag["description"] for tag in document["tags"]}
    return [Subject(name, told[name], tuple(each)) for name, each in found.items()]


def schemas(document: dict[str, Any]) -> list[tuple[str, str, list[Value]]]:
    """All schemas of a document: name, description and fields."""
    return [
        (name, schema.get("description", ""), list(_fields(schema)))
        for name, schema in sorted(document["components"]["schemas"].items())
    ]


def _fields(schema: dict[str, Any]) -> Iterator[Value]:
    needed = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        yield Value(name, kind(field), "", name in needed, field.get("description", ""))


def _operation(
    document: dict[str, Any], method: str, path: str, operation: dict[str, Any]
) -> Operation:
    return Operation(
        id=operation["operationId"],
        method=method.upper(),
        path=path,
        summary=operation["summary"],
        description=operation.get("description", ""),
        parameters=tuple(
            Value(
                each["name"],
                kind(each["schema"]),
                each["in"],
                each.get("required", False),
                each.get("description", ""),
            )
            for each in operation.get("parameters", ())
        ),
        body=_content(operation.get("requestBody", {})),
        answers=tuple(
            Answer(status, answer["description"], _content(answer))
            for status, answer in operation["responses"].items()
        ),
        example=example(document, method, path, operation),
    )


def _content(holder: dict[str, Any]) -> tuple[Words, ...]:
    """What a body or an answer holds: the schema of JSON, else the type of its bytes."""
    words: list[Words] = []
    for media, content in holder.get("content", {}).items():
        schema = content.get("schema", {})
        told = kind(schema) if media == "application/json" and schema else (Words(media),)
        words += [Words(", "), *told] if words else told
    return tuple(words)


def kind(schema: dict[str, Any]) -> tuple[Words, ...]:
    """What a value may be, in words and links."""
    bounds = [
        text.format(json.dumps(schema[name], ensure_ascii=False))
        for name, text in _BOUNDS.items()
        if name in schema and not (name == "default" and schema[name] in (None, "", []))
    ]
    return (*_type(schema), *([Words(f" ({', '.join(bounds)})")] if bounds else ()))


def _type(schema: dict[str, Any]) -> tuple[Words, ...]:
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(_SCHEMAS)
        return (Words(name, name),)
    for way in ("anyOf", "oneOf", "allOf"):
        if way in schema:
            words: list[Words] = []
            for each in schema[way]:
                words += [Words(" or "), *kind(each)] if words else kind(each)
            return tuple(words)
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return (Words(" or ".join(json.dumps(value) for value in values)),)
    if schema.get("type") == "array":
        return (Words("list of "), *kind(schema.get("items", {})))
    return (Words(schema.get("type", "any")),)


def example(document: dict[str, Any], method: str, path: str, operation: dict[str, Any]) -> str:
    """A call with httpx that takes what must be given."""
    for each in operation.get("parameters", ()):
        if each["in"] == "path":
            path = path.replace(f"{{{each['name']}}}", str(sample(document, each["schema"])))
    needed = {
        each["name"]: sample(document, each["schema"])
        for each in operation.get("parameters", ())
        if each["in"] == "query" and each.get("required")
    }
    given = [json.dumps(path.removeprefix("/api/v1"))]
    if needed:
        given.append(f"params={needed!r}")
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        is_json = media == "application/json"
        given.append(
            f"json={sample(document, content['schema'])!r}" if is_json else "content=file.read()"
        )
    return f"client.{method}({', '.join(given)})"


def sample(document: dict[str, Any], schema: dict[str, Any]) -> Any:
    """A value that a schema allows, as plain as possible."""
    for name in ("example", "default", "const"):
        if name in schema:
            return schema[name]
    if schema.get("examples") or schema.get("enum"):
        return (schema.get("examples") or schema["enum"])[0]
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(_SCHEMAS)
        return sample(document, document["components"]["schemas"][name])
    for way in ("anyOf", "oneOf", "allOf"):
        if way in schema:
            return sample(document, schema[way][0])
    return _plain(document, schema)


def _plain(document: dict[str, Any], schema: dict[str, Any]) -> Any:
    match schema.get("type"):
        case "object":
            fields = schema.get("properties", {})
            return {name: sample(document, fields[name]) for name in schema.get("required", ())}
        case "array":
            return [sample(document, schema["items"])] * schema.get("minItems", 1)
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
    # Of texts with a pattern most are SHA-256s.
    return "0" * 64 if "64" in schema.get("pattern", "") else "…"
