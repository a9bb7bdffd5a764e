"""The OpenAPI 3.1 document of a surface, from the data its routes are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from ..contract import MEDIA, Surface
from ..model import Verb
from .operations import HEADS, Operation, Parameter
from .refusals import Worded
from .schemas import Json, Schemas, common, schemas

BEARER = "bearer"
LICENSE = {"name": "Apache-2.0", "identifier": "Apache-2.0"}
JSON = "application/json"
_RESPONSES = "#/components/responses/"
_TEXT: Json = {"type": "string"}
_COUNT: Json = {"type": "integer", "minimum": 0}
_REQUEST_ID: Json = {
    "description": "By which the log and the audit know the request.",
    "schema": _TEXT,
    "required": True,
}
_OF_AUDIO: dict[str, tuple[str, Json]] = {
    "Accept-Ranges": ("`bytes`, or `none` where Range is not heeded.", {"enum": ["bytes", "none"]}),
    "ETag": ("The version, for If-Range and If-Match.", {"type": "string", "pattern": '^"[^"]*"$'}),
    "Last-Modified": ("When the recording's object was written.", _TEXT),
    "Cache-Control": ("How long a client may keep it.", _TEXT),
    "Content-Disposition": ("The file name to save it under.", _TEXT),
    "Content-Length": ("Bytes of the body.", _COUNT),
}
_OF_UNCHANGED = ("ETag", "Last-Modified", "Cache-Control")
_CONTENT_RANGE = (
    "Which bytes, of how many. Absent from multipart/byteranges.",
    {"type": "string", "pattern": "^bytes "},
)
_FIELDS = {
    "Retry-After": "Seconds to wait before asking again.",
    "WWW-Authenticate": "What credential is asked for, and what is wrong with the one that was sent.",
    "Content-Range": "The recording's length, as `bytes */N`.",
    "Allow": "The methods that the path takes.",
    "RateLimit": "What is left of the quota (draft-ietf-httpapi-ratelimit-headers).",
    "RateLimit-Policy": "The quota and its window in seconds.",
}
_GIVEN: dict[str, Json] = {
    "Location": {
        "description": "Where what was made stands.",
        "schema": {"type": "string", "format": "uri"},
        "required": True,
    },
    "Retry-After": {"description": _FIELDS["Retry-After"], "schema": _COUNT, "required": True},
}


def document(surface: Surface, told: Sequence[Operation], *, version: str) -> Json:
    """Without ``servers``, which are the mount's.

    A method that is never granted stands in no Allow, and so not here; the prose tells of it.
    """
    told = [operation for operation in told if operation.route.verb is not Verb.DELETE]
    made = _schemas(told)
    error, responses = common(r.body for op in told for r in op.refusals), dict[str, Json]()
    paths: dict[str, Json] = {}
    for operation in told:
        methods = paths.setdefault(operation.route.path, {})
        methods[operation.route.method.lower()] = described = _operation(operation, made, responses)
        if operation.plays and operation.route.method == "GET":
            methods["head"] = _head_of(described, responses)
    components: Json = {"schemas": {"Error": error, **made.named}, "responses": dict(sorted(responses.items()))}
    if schemes := _schemes(told):
        components["securitySchemes"] = schemes
    info = {
        "title": f"Call recordings: {surface.name}",
        "version": version,
        "license": LICENSE,
        "description": f"{surface.about} {HEADS}".lstrip(),
    }
    return {
        "openapi": "3.1.0",
        "info": info,
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "paths": paths,
        "components": components,
    }


def _schemas(told: Sequence[Operation]) -> Schemas:
    docs = [operation.route.doc for operation in told]
    return schemas(
        (doc.body for doc in docs if doc.body is not None), (doc.answer for doc in docs if doc.answer is not None)
    )


def _operation(operation: Operation, made: Schemas, responses: dict[str, Json]) -> Json:
    doc = operation.route.doc
    described: Json = {"operationId": operation.id, "summary": operation.summary}
    if doc.description:
        described["description"] = doc.description
    if operation.parameters:
        described["parameters"] = [_parameter(parameter) for parameter in operation.parameters]
    if operation.takes_body:
        content = {JSON: {"schema": made.body(doc.body)}}
        described["requestBody"] = {"content": content, "required": made.body_required(doc.body)}
    refused: Json = {}
    for status, refusals in operation.by_status().items():
        name = ".".join([str(status), *sorted(refusal.reason for refusal in refusals)])
        refused[str(status)] = {"$ref": _RESPONSES + _shared(_refused(status, refusals), name, responses)}
    described["responses"] = {**_success(operation, made), **refused}
    described["security"] = _security(operation)
    return described


def _shared(response: Json, name: str, responses: dict[str, Json]) -> str:
    """The name under which ``response`` stands in ``responses`` from now on: ``name``, where no other has it."""
    names = [name, *(f"{name}.{number}" for number in range(2, len(responses) + 3))]
    free = next(each for each in names if responses.get(each, response) == response)
    responses[free] = response
    return free


def _parameter(parameter: Parameter) -> Json:
    described: Json = {"name": parameter.name, "in": parameter.place, "schema": dict(parameter.schema)}
    if parameter.description:
        described["description"] = parameter.description
    if parameter.required:
        described["required"] = True
    return described


def _success(operation: Operation, made: Schemas) -> Json:
    route, doc = operation.route, operation.route.doc
    if operation.plays:
        return _audio(doc.media or MEDIA, ranges=route.ranges)
    content: Json = {name: {"schema": _TEXT} for name in doc.media}
    if doc.answer is not None:
        content[JSON] = {"schema": made.answer(doc.answer)}
    beside = {"content": content} if content else {}
    return {
        str(status): {
            "description": HTTPStatus(status).phrase,
            "headers": {"X-Request-Id": _REQUEST_ID, **{name: _GIVEN[name] for name in doc.given.get(status, ())}},
            **beside,
        }
        for status in (doc.status, *doc.also)
    }


def _audio(media: Sequence[str], *, ranges: bool) -> Json:
    fields = {name: _field(told, schema) for name, (told, schema) in _OF_AUDIO.items()}
    fields["X-Request-Id"] = _REQUEST_ID
    content: Json = {name: {} for name in media}
    answers: Json = {"200": {"description": "The whole recording", "headers": fields, "content": content}}
    if ranges:
        answers["206"] = {
            "description": "The bytes asked for",
            "headers": {**fields, "Content-Range": {**_field(*_CONTENT_RANGE), "required": False}},
            "content": {**content, "multipart/byteranges": {}},
        }
    unchanged = {name: field for name, field in fields.items() if name in {*_OF_UNCHANGED, "X-Request-Id"}}
    answers["304"] = {"description": "Not changed since", "headers": unchanged}
    return answers


def _field(told: str, schema: Json) -> Json:
    return {"description": told, "schema": schema, "required": True}


def _refused(status: int, refusals: Sequence[Worded]) -> Json:
    fields: Json = {"X-Request-Id": _REQUEST_ID}
    for name in dict.fromkeys(name for refusal in refusals for name in refusal.fields):
        example = next(refusal.fields[name] for refusal in refusals if name in refusal.fields)
        fields[name] = {
            "description": _FIELDS.get(name, ""),
            "schema": _COUNT if example.isdecimal() else _TEXT,
            "example": int(example) if example.isdecimal() else example,
            "required": all(name in refusal.fields for refusal in refusals),
        }
    messages = dict.fromkeys(refusal.message for refusal in refusals if refusal.message)
    examples = {refusal.reason: {"value": refusal.body} for refusal in refusals}
    content = {
        kind: {"schema": {"$ref": "#/components/schemas/Error"}, "examples": examples}
        for kind in dict.fromkeys(refusal.media_type for refusal in refusals)
    }
    return {"description": " · ".join(messages) or HTTPStatus(status).phrase, "headers": fields, "content": content}


def _security(operation: Operation) -> list[Json]:
    """Any one of them; none: the path itself is the credential, or no credential is known to these documents."""
    taken = operation.credentials
    return [{BEARER: []}] * taken.bearer + [{name: []} for name in taken.keys]


def _schemes(told: Iterable[Operation]) -> Json:
    schemes: Json = {}
    for operation in told:
        if operation.credentials.bearer:
            schemes[BEARER] = {
                "type": "http",
                "scheme": "bearer",
                "description": "An API key, or a JWT of a configured issuer.",
            }
        for name in operation.credentials.keys:
            schemes[name] = {"type": "apiKey", "in": "header", "name": name, "description": "An API key."}
    return schemes


def _head_of(described: Mapping[str, Any], responses: dict[str, Json]) -> Json:
    """HEAD equals GET field for field, without the body that a client would read; Range is ignored."""
    head = {**described, "operationId": "head" + str(described["operationId"]).removeprefix("get")}
    head["summary"] = f"{described['summary']}: its header fields alone"
    head["responses"] = {
        status: _bare(answer, responses)
        for status, answer in described["responses"].items()
        if status not in {"206", "416"}
    }
    return head


def _bare(answer: Json, responses: dict[str, Json]) -> Json:
    """``answer``, or the one of ``responses`` that it refers to, without its content."""
    if "$ref" not in answer:
        return {name: told for name, told in answer.items() if name != "content"}
    name = str(answer["$ref"]).removeprefix(_RESPONSES)
    return {"$ref": _RESPONSES + _shared(_bare(responses[name], responses), f"{name}.head", responses)}
