"""llms.txt and llms-full.txt: what the routes are, for people and language models."""

import pytest

from gateway.openapi import Place, pages
from gateway.openapi.operations import operations
from gateway.openapi.schemas import common
from gateway.openapi.shapes import shape
from gateway.surfaces import SURFACES

OTHERS = [Place("yotel", "A vendor's.", "http://gw/yotel"), Place("voki", "Another's.", "http://gw/voki")]


def told(name: str, others=()) -> tuple[str, str]:
    surface = SURFACES[name]
    made = pages(surface, [Place(name, surface.about, f"http://gw/{name}")], others, version="1.2.3")
    for page in (made["/llms.txt"], made["/llms-full.txt"]):
        assert page.media_type == "text/markdown; charset=utf-8"
    return made["/llms.txt"].body().decode(), made["/llms-full.txt"].body().decode()


@pytest.mark.parametrize("name", SURFACES)
def test_the_index_has_a_title_a_summary_and_a_line_for_each_route(name):
    index, _ = told(name)
    title, _, summary, *_ = index.splitlines()
    assert title == f"# Call recordings: {name}"
    assert summary == f"> {SURFACES[name].about}"
    assert SURFACES[name].about, "a surface that says nothing of itself"
    for route in SURFACES[name].routes:
        assert f"- [{route.method} {route.path}](http://gw/{name}/llms-full.txt): {route.doc.summary}\n" in index
    assert f"(http://gw/{name}/openapi.json)" in index


@pytest.mark.parametrize("name", SURFACES)
def test_the_whole_page_tells_parameters_and_errors_of_each_route(name):
    _, whole = told(name)
    sections = {section.partition("\n")[0]: section for section in whole.split("\n## ")[1:]}
    for operation in operations(SURFACES[name]):
        section = sections[f"{operation.route.method} {operation.route.path}"]
        assert operation.route.doc.summary in section
        assert "\ncurl " in section
        for parameter in operation.parameters:
            assert f"- `{parameter.name}` ({parameter.place}" in section
        for status, refusals in operation.by_status().items():
            assert f"\n- {status}" in section
            assert all(refusal.message in section for refusal in refusals)
        for scope in operation.route.scopes:
            assert operation.credentials.link or operation.credentials.public or f"`{scope}`" in section


@pytest.mark.parametrize(
    ("name", "audio", "ranges"),
    [("native", True, True), ("yotel", True, True), ("callsid", True, False), ("envoy", False, False)],
)
def test_ranges_are_told_of_where_they_are_heeded_and_audio_where_there_is_any(name, audio, ranges):
    for page in told(name):
        head = page.partition("\n## ")[0]
        assert ("Audio endpoints answer" in head, "ranges (206, 416)" in head) == (audio, ranges)


def test_the_native_index_leads_to_the_other_surfaces():
    index, _ = told("native", OTHERS)
    assert "- [yotel](http://gw/yotel/llms.txt): A vendor's.\n" in index
    assert "- [voki](http://gw/voki/llms.txt): Another's.\n" in index


@pytest.mark.parametrize(
    ("name", "command"),
    [
        (
            "yotel",
            'curl -H "Authorization: Bearer $KEY" -o recording http://gw/yotel/api/v1/calls/ID/recording/audio',
        ),
        ("agentphone", "curl -o recording http://gw/agentphone/v1/calls/ID/recording"),
        ("native", "curl -o recording http://gw/native/v1/links/TOKEN/audio"),
        (
            "native",
            (
                "curl -X PUT -H \"Authorization: Bearer $KEY\" -H 'Content-Type: application/json' -d @body.json"
                " http://gw/native/v1/recordings/ID/hold"
            ),
        ),
    ],
)
def test_a_command_carries_the_credential_that_is_asked_for(name, command):
    assert f"\n{command}\n" in told(name)[1]


NAMED = {
    "Node": {
        "type": "object",
        "properties": {"next": {"anyOf": [{"$ref": "#/components/schemas/Node"}, {"type": "null"}]}},
        "required": ["next"],
    }
}


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": "string", "format": "uuid"}, "string (uuid)"),
        ({"type": "integer", "minimum": 1, "maximum": 9}, "integer (≥ 1, ≤ 9)"),
        ({"enum": ["a", 1, None]}, '"a" | 1 | null'),
        ({"const": True}, "true"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "string | null"),
        ({"type": ["string", "null"]}, "string | null"),
        ({"type": "array", "items": {"type": "number"}}, "[number, …]"),
        ({}, "anything"),
        ({"type": "object", "additionalProperties": {"type": "string"}}, "{[name]: string}"),
        ({"type": "object", "properties": {"a": {"type": "string"}}}, "{\n  a?: string\n}"),
        (
            {
                "type": "object",
                "properties": {"a": {"type": "string"}},
                "anyOf": [{"required": ["a"]}, {"required": []}],
            },
            "{\n  a?: string\n}",
        ),
        ({"type": "string", "pattern": "^call_.+$"}, "string (/^call_.+$/)"),
        ({"type": "string", "pattern": "a" * 100}, "string"),
        ({"$ref": "#/components/schemas/Node"}, "{\n  next: Node | null\n}"),
    ],
)
def test_a_schema_is_read_as_a_shape(schema, text):
    assert shape(schema, NAMED) == text


@pytest.mark.parametrize(
    ("samples", "schema"),
    [
        (["a", "b"], {"type": "string"}),
        (["a", None], {"anyOf": [{"type": "null"}, {"type": "string"}]}),
        ([True, 1], {"anyOf": [{"type": "boolean"}, {"type": "integer"}]}),
        ([[1], ["a"]], {"type": "array", "items": {"anyOf": [{"type": "integer"}, {"type": "string"}]}}),
        (
            [{"a": 1, "b": "x"}, {"a": 2}],
            {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}, "required": ["a"]},
        ),
    ],
)
def test_samples_have_a_schema_in_common(samples, schema):
    assert common(samples) == schema
