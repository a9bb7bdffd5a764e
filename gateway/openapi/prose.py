"""What the OpenAPI document says, for people and language models: ``llms.txt``, an index, and ``llms-full.txt``, all of it.

The form is that of https://llmstxt.org: Markdown with one title, one summary and lists of links.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from ..contract import Surface
from ..model import Verb
from .operations import HEADS, Operation
from .schemas import Json
from .shapes import shape

_EXAMPLE_IDS = {"call_sid": "call_8c1f", "token": "TOKEN"}


@dataclass(frozen=True, slots=True)
class Place:
    """A surface at one of its mounts."""

    name: str
    about: str
    base: str


def index(surface: Surface, told: Sequence[Operation], base: str, others: Sequence[Place]) -> str:
    """``llms.txt``: one line for each operation. ``others``: further surfaces to link to."""
    lines = [*_head(surface, told, base), "", "## Endpoints", ""]
    lines += [f"- [{_line(operation)}]({base}/llms-full.txt): {operation.summary}" for operation in told]
    lines += [
        *("", "## Documents", ""),
        f"- [OpenAPI 3.1]({base}/openapi.json): the same for programs",
        f"- [The whole page]({base}/llms-full.txt): parameters, answers and errors of every endpoint",
    ]
    if others:
        lines += ["", "## Other contracts that this gateway serves the same recordings under", ""]
        lines += [f"- [{place.name}]({place.base}/llms.txt): {place.about}" for place in others]
    return "\n".join(lines) + "\n"


def whole(surface: Surface, told: Sequence[Operation], described: Json, base: str) -> str:
    """``llms-full.txt``: parameters, answers and errors of each operation. ``described``: the OpenAPI document."""
    lines = [*_head(surface, told, base), *_errors(described)]
    for operation in told:
        lines += ["", f"## {_line(operation)}", ""]
        lines += _operation(operation, described["paths"], described["components"]["schemas"], base)
    return "\n".join(lines) + "\n"


def _head(surface: Surface, told: Sequence[Operation], base: str) -> Iterator[str]:
    yield f"# Call recordings: {surface.name}"
    yield ""
    yield f"> {surface.about or 'Recordings of calls: audio, links and metadata.'}"
    yield ""
    yield f"Base URL: {base or '/'}"
    yield ""
    yield HEADS
    if audio := [operation.route for operation in told if operation.plays]:
        ranges = "ranges (206, 416), " if all(route.ranges for route in audio) else ""
        yield f"Audio endpoints answer by RFC 9110: {ranges}conditions (304, 412), strong ETags."
    yield "An answer's X-Request-Id names it in the log and in the audit. Retry-After, where there is one, is in seconds."


def _errors(described: Json) -> Iterator[str]:
    yield ""
    yield "Every error has this form:"
    yield from _block(shape(described["components"]["schemas"]["Error"], described["components"]["schemas"]))


def _line(operation: Operation) -> str:
    return f"{operation.route.method} {operation.route.path}"


def _operation(operation: Operation, paths: Json, named: Mapping[str, Json], base: str) -> Iterator[str]:
    described = paths[operation.route.path].get(operation.route.method.lower(), {"responses": {}})  # never granted
    yield f"{operation.summary.rstrip('.')}."
    if operation.route.doc.description:
        yield ""
        yield operation.route.doc.description
    yield ""
    yield f"Credential: {_credential(operation)}"
    yield from _block(_curl(operation, base), "sh")
    if operation.parameters:
        yield ""
        for parameter in operation.parameters:
            required = "" if parameter.required else ", optional"
            told = f": {parameter.description}" if parameter.description else ""
            yield f"- `{parameter.name}` ({parameter.place}{required}) {shape(dict(parameter.schema), named)}{told}"
    if operation.takes_body:
        yield ""
        yield "Body:"
        yield from _block(shape(described["requestBody"]["content"]["application/json"]["schema"], named))
    yield from _successes(described["responses"], named)
    yield ""
    yield from _refusals(operation)


def _credential(operation: Operation) -> str:
    taken, route = operation.credentials, operation.route
    if taken.public:
        return "none; the call's id is enough"
    if taken.link:
        return "none; the token in the path is enough"
    places = ["`Authorization: Bearer …`"] * taken.bearer + [f"`{name}: …`" for name in taken.keys]
    if not places:
        return "see above"
    needs = [f"scope {' or '.join(f'`{scope}`' for scope in sorted(route.scopes))}"] if route.scopes else []
    needs += [f"role `{route.role}` or above"] if route.role else []
    return " or ".join(places) + (f", with {' and '.join(needs)}" if needs else "")


def _curl(operation: Operation, base: str) -> str:
    route, path = operation.route, operation.route.path
    for parameter in operation.parameters:
        if parameter.place == "path":
            examples = parameter.schema.get("examples")
            example = examples[0] if isinstance(examples, list) else _EXAMPLE_IDS.get(parameter.name, "ID")
            path = path.replace(f"{{{parameter.name}}}", str(example))
    words = ["curl"]
    if route.method != "GET":
        words.append(f"-X {route.method}")
    if operation.credentials.bearer:
        words.append('-H "Authorization: Bearer $KEY"')
    elif operation.credentials.keys:
        words.append(f'-H "{operation.credentials.keys[0]}: $KEY"')
    words += [f"-H '{p.name}: …'" for p in operation.parameters if p.place == "header" and p.required]
    if operation.takes_body:
        words.append("-H 'Content-Type: application/json' -d @body.json")
    if operation.plays:
        words.append("-o recording")
    return " ".join([*words, f"{base}{path}"])


def _successes(responses: Json, named: Mapping[str, Json]) -> Iterator[str]:
    for status, answer in responses.items():
        if "$ref" in answer:
            continue
        yield ""
        content = answer.get("content", {})
        told = "application/json" in content
        fields = [name for name in answer["headers"] if told and name != "X-Request-Id"]
        yield f"{status}{_beside(fields)}: {answer['description']}"
        if told:
            yield from _block(shape(content["application/json"]["schema"], named))
        elif content:
            yield f"Content-Type: {', '.join(content)}"


def _beside(fields: Collection[str]) -> str:
    return f" (with {', '.join(fields)})" if fields else ""


def _refusals(operation: Operation) -> Iterator[str]:
    yield "It never succeeds:" if operation.route.verb is Verb.DELETE else "Errors:"
    yield ""
    for status, refusals in operation.by_status().items():
        fields = dict.fromkeys(name for refusal in refusals for name in refusal.fields)
        messages = dict.fromkeys(refusal.message for refusal in refusals if refusal.message)
        yield f"- {status}{_beside(fields)}: {' · '.join(messages) or HTTPStatus(status).phrase}"


def _block(text: str, language: str = "") -> Iterator[str]:
    yield from ("", f"```{language}", text, "```")
