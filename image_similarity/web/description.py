"""Description: the OpenAPI document of the interface, with what all operations have in common said once."""

from __future__ import annotations

import re
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer

API = "/api/v1"
INTRODUCTION = (
    "The operations of the page, for programs. Send the key that the server printed as "
    "`Authorization: Bearer KEY`. Contents are named by their whole SHA-256. Lists come page by page: "
    "send `next` of one page as `cursor` for the following. Every error has the shape `ProblemShape`. "
    "Hits are documented leads for examination, never findings."
)
TAGS = [
    {"name": "case", "description": "What the case holds, and whose name decisions carry."},
    {"name": "library", "description": "All pictures of the case, filtered and counted."},
    {"name": "pictures", "description": "One picture: its record, and the picture itself."},
    {"name": "search", "description": "From pictures, stored or uploaded, to ranked hits."},
    {"name": "comparisons", "description": "A query and a hit beside each other, and why they are alike."},
    {"name": "decisions", "description": "Tags, notes, judgements; each is kept in the audit chain."},
    {"name": "reports", "description": "Pictures and decisions as files for others."},
    {"name": "runs", "description": "What was indexed, what failed, what is a duplicate, and long work."},
    {"name": "map", "description": "All pictures in a plane, similar ones together."},
]  # fmt: skip
# What every operation may be refused with; `app.py` gives them their shape.
ALWAYS = (401, 403, 421, 503)
_WHEN = {
    400: "The request cannot be read, or contradicts itself.",
    401: "No session: the key is missing or wrong.",
    403: "Refused: another site's page asks, or the case was opened for reading only.",
    404: "There is no such thing.",
    409: "The case does not allow it as it is now.",
    413: "The body is too large.",
    415: "The body is of a type that is not taken.",
    421: "The request names another host than this server.",
    422: "A value is malformed or out of bounds.",
    429: "Too much of this is going on; come back later.",
    500: "The case is damaged, or this program is wrong.",
    501: "A package that this needs is not installed; the hint says which.",
    503: "The case is locked, its server is away, or too many ask at once; come back later.",
}
_METHODS = ("get", "post", "put", "patch", "delete")
_CHANGING = ("post", "put", "patch", "delete")
# Of the sections of a docstring those that are for readers of the source.
_SECTIONS = ("Args:", "Raises:", "Returns:", "Yields:")
_PROBLEM = {"application/json": {"schema": {"$ref": "#/components/schemas/ProblemShape"}}}

# The guard checks the key; this is what tells programs of it.
BEARER = HTTPBearer(
    scheme_name="key", description="The key that the server printed.", auto_error=False
)


def operation_id(route: APIRoute) -> str:
    """The name of an operation for programs that are made from the document: "get_pictures_sha256_thumbnail"."""
    method = min(route.methods or {"GET"}).lower()
    return "_".join([method, *re.findall(r"\w+", route.path_format.removeprefix(API))])


class Described(FastAPI):
    """An application whose document also says when each operation refuses, in sentences of ours."""

    def openapi(self) -> dict[str, Any]:
        """The document, made at the first request."""
        if self.openapi_schema is None:
            document = super().openapi()
            for method, operation in operations(document):
                _tell(method, operation)
            used = {tag for _, operation in operations(document) for tag in operation["tags"]}
            document["tags"] = [tag for tag in TAGS if tag["name"] in used]
            for name in ("HTTPValidationError", "ValidationError"):
                # Theirs; ours is ProblemShape.
                document["components"]["schemas"].pop(name, None)
        return super().openapi()


def operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """All operations of a document with their methods, in its order."""
    return [
        (method, path[method])
        for path in document["paths"].values()
        for method in _METHODS
        if method in path
    ]


def methods_of(document: dict[str, Any], path: str) -> list[str]:
    """What can be done at an address: the methods of all operations there, in capitals."""
    for template, there in document["paths"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path):
            return [method.upper() for method in _METHODS if method in there]
    return []


def _tell(method: str, operation: dict[str, Any]) -> None:
    first, *rest = operation.get("description", operation["summary"]).split("\n\n")
    operation["summary"] = first.replace("\n", " ").removesuffix(".")
    told = [each for each in rest if not each.startswith(_SECTIONS)]
    operation.pop("description", None)
    if told:
        operation["description"] = "\n\n".join(told)
    answers = operation["responses"]
    for status in _refusals(method, operation):
        answers.setdefault(str(status), {"content": _PROBLEM})
    for status, answer in answers.items():
        if int(status) >= 400:
            answer["description"] = _WHEN[int(status)]
            answer["content"] = _PROBLEM
        elif answer.get("description") == "Successful Response":
            answer["description"] = "Done."
    operation["responses"] = dict(sorted(answers.items()))


def _refusals(method: str, operation: dict[str, Any]) -> set[int]:
    """What an operation may be refused with by its form: what it takes, and whether it changes anything."""
    found = set()
    if operation.get("parameters") or "requestBody" in operation:
        # What is asked for may be malformed, contradict itself, not be there, or not be possible in this case.
        found |= {400, 404, 409, 422}
    if "requestBody" in operation:
        found |= {413}
    if method in _CHANGING:
        found |= {409}
    return found
