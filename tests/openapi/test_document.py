"""The OpenAPI documents: whole, valid, and of one piece with the routes they are made from."""

import json
import re
from dataclasses import replace

import jsonschema_rs
import orjson
import pytest
import schemathesis

from gateway import openapi
from gateway.contract import Route
from gateway.errors import Expired, Failed
from gateway.model import State, Verb
from gateway.openapi import Place, pages
from gateway.openapi.document import document
from gateway.openapi.operations import operation_id, operations
from gateway.surfaces import SURFACES

NOTHING_TOLD = {204, 205, 405}
"""Statuses of success without a body, or of no success at all."""


def described(name: str) -> dict:
    surface = SURFACES[name]
    made = pages(surface, [Place(name, surface.about, f"http://gw/{name}")], [], version="1.2.3")
    return orjson.loads(made["/openapi.json"].body())


DOCUMENTS = {name: described(name) for name in SURFACES}
ROUTES = [
    (name, route) for name, surface in SURFACES.items() for route in surface.routes if route.verb is not Verb.DELETE
]


def named(case) -> str:
    return f"{case.method} {case.path}" if isinstance(case, Route) else str(case)


@pytest.mark.parametrize("name", SURFACES)
def test_a_document_is_valid_openapi_and_its_schemas_are_valid(name):
    document = DOCUMENTS[name]
    schemathesis.openapi.from_dict(document).validate()
    schemas = list(document["components"]["schemas"].values())
    for methods in document["paths"].values():
        for operation in methods.values():
            schemas += [parameter["schema"] for parameter in operation.get("parameters", [])]
    for schema in schemas:
        jsonschema_rs.meta.validate(schema)
    assert len(schemas) > 3


@pytest.mark.parametrize("name", SURFACES)
def test_every_reference_leads_somewhere(name):
    document = DOCUMENTS[name]
    references = set(re.findall(r'"\$ref":\s*"#/components/(\w+)/([^"]+)"', json.dumps(document)))
    assert references
    for kind, target in references:
        assert target in document["components"][kind], target


@pytest.mark.parametrize("name", SURFACES)
def test_a_document_has_every_route_and_nothing_else(name):
    told = {
        (method.upper(), path)
        for path, methods in DOCUMENTS[name]["paths"].items()
        for method in methods
        if method != "head"
    }
    granted = [route for route in SURFACES[name].routes if route.verb is not Verb.DELETE]
    assert told == {(route.method, route.path) for route in granted}
    assert DOCUMENTS[name]["info"]["description"].endswith("HEAD is answered wherever GET is.")
    heads = {path for path, methods in DOCUMENTS[name]["paths"].items() if "head" in methods}
    assert heads == {route.path for route in SURFACES[name].routes if route.verb is Verb.PLAY}


@pytest.mark.parametrize(("name", "route"), ROUTES, ids=named)
def test_every_route_says_what_it_does_and_what_it_answers(name, route):
    assert route.doc.summary, "no summary"
    assert not route.doc.summary.endswith("."), "a summary is no sentence"
    if route.verb is not Verb.PLAY and route.doc.status not in NOTHING_TOLD:
        assert route.doc.answer is not None or route.doc.media, "neither an answer's type nor a media type"
    operation = DOCUMENTS[name]["paths"][route.path][route.method.lower()]
    parameters = {parameter["name"] for parameter in operation.get("parameters", []) if parameter["in"] == "path"}
    assert parameters == set(re.findall(r"{(\w+)}", route.path))
    assert set(route.doc.path) <= parameters


@pytest.mark.parametrize("name", SURFACES)
def test_operations_are_told_apart_by_their_ids(name):
    ids = [op["operationId"] for methods in DOCUMENTS[name]["paths"].values() for op in methods.values()]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z]+[A-Za-z0-9]+", each) for each in ids)


@pytest.mark.parametrize("name", SURFACES)
def test_every_refusal_a_route_can_meet_fits_the_error_of_its_surface(name):
    document = DOCUMENTS[name]
    check = jsonschema_rs.validator_for(document["components"]["schemas"]["Error"])
    count = 0
    for operation in operations(SURFACES[name]):
        if operation.route.verb is Verb.DELETE:
            continue
        answers = document["paths"][operation.route.path][operation.route.method.lower()]["responses"]
        for refusal in operation.refusals:
            reference = answers[str(refusal.status)]["$ref"].rpartition("/")[2]
            (content,) = document["components"]["responses"][reference]["content"].values()
            assert content["examples"][refusal.reason]["value"] == refusal.body
            assert check.is_valid(refusal.body)
            assert refusal.message, "an error that says nothing"
            count += 1
    assert count > 15
    assert not check.is_valid({})


@pytest.mark.parametrize(
    ("name", "path", "statuses"),
    [
        ("yotel", "/api/v1/calls/{call_id}/recording", {200, 400, 401, 403, 404, 409, 429, 500, 501, 502, 503, 504}),
        (
            "yotel",
            "/api/v1/calls/{call_id}/recording/audio",
            {200, 206, 304, 400, 401, 403, 404, 409, 412, 416, 429, 500, 502, 503, 504},
        ),
        (
            "agentphone",
            "/v1/calls/{call_id}/recording",
            {200, 206, 304, 400, 404, 412, 416, 422, 429, 500, 502, 503, 504},
        ),
        (
            "callsid",
            "/api/calls/{call_sid}/recording/download",
            {200, 304, 400, 401, 403, 404, 409, 412, 422, 429, 500, 502, 503, 504},
        ),
        (
            "native",
            "/v1/links/{token}/audio",
            {200, 206, 304, 400, 403, 404, 409, 410, 412, 416, 429, 500, 502, 503, 504},
        ),
        # 409: words are asked for, and the account has no transcripts told
        ("native", "/v1/recordings", {200, 400, 401, 403, 409, 422, 429, 500, 503}),
    ],
)
def test_statuses_are_those_of_the_contract(name, path, statuses):
    assert {int(status) for status in DOCUMENTS[name]["paths"][path]["get"]["responses"]} == statuses


WRITING = {400, 401, 403, 404, 409, 413, 415, 422, 429, 500, 503}


@pytest.mark.parametrize(
    ("path", "method", "statuses"),
    [
        ("/v1/calls/{id}/recording", "put", {200, 202, 410, 502, 504, *WRITING}),
        ("/v1/recordings/{id}/hold", "delete", {200, 410, 502, 504, *WRITING} - {409, 413, 415}),
        ("/v1/recordings/{id}/hold", "get", {200, 410, 502, 504, *WRITING} - {409, 413, 415}),
        ("/v1/webhooks", "post", {201, *WRITING} - {404}),
        ("/v1/recordings/batch", "post", {200, *WRITING} - {404, 409}),
    ],
)
def test_statuses_of_what_is_done_are_those_of_the_contract(path, method, statuses):
    assert {int(status) for status in DOCUMENTS["native"]["paths"][path][method]["responses"]} == statuses


@pytest.mark.parametrize(
    ("path", "method", "codes"),
    [
        ("/v1/recordings", "get", {"transcription_disabled"}),
        ("/v1/recordings/{id}/transcript", "put", {"transcription_disabled", "recording_held"}),
        ("/v1/recordings/{id}/hold", "put", {"recording_expired"}),
        ("/v1/calls/{id}", "put", {"id_taken", "department_fixed", "conflict"}),
        (
            "/v1/calls/{id}/recording",
            "put",
            {"recording_ready", "recording_expired", "recording_held", "object_unfit"},
        ),
        ("/v1/departments/{id}", "put", {"id_taken"}),
        ("/v1/departments/{id}", "delete", {"department_has_recordings"}),
        ("/v1/webhooks", "post", {"too_many_webhooks"}),
        ("/v1/webhooks/{id}/ping", "post", {"webhook_off"}),
        ("/v1/webhooks/{id}/deliveries/{delivery_id}/redeliver", "post", {"webhook_off"}),
        ("/v1/webhooks/{id}", "patch", set()),
        ("/v1/links/{link_id}", "delete", set()),
        ("/v1/events/s3", "post", set()),
    ],
)
def test_what_contradicts_what_is_there_is_told_by_its_own_code(path, method, codes):
    told = DOCUMENTS["native"]["paths"][path][method]["responses"].get("409")
    examples = {}
    if told is not None:
        shared = DOCUMENTS["native"]["components"]["responses"][told["$ref"].rpartition("/")[2]]
        examples = shared["content"]["application/problem+json"]["examples"]
    assert {example["value"]["code"] for example in examples.values()} == codes
    assert examples.keys() == codes


def test_header_fields_alone_are_never_partial_and_else_told_as_beside_the_audio():
    methods = DOCUMENTS["yotel"]["paths"]["/api/v1/calls/{call_id}/recording/audio"]
    assert methods["get"]["responses"].keys() - methods["head"]["responses"].keys() == {"206", "416"}
    unchanged = methods["get"]["responses"]["304"]
    assert unchanged["headers"].keys() == {"ETag", "Last-Modified", "Cache-Control", "X-Request-Id"}
    assert "content" not in unchanged


@pytest.mark.parametrize(
    ("path", "method", "status", "fields"),
    [
        ("/v1/webhooks", "post", "201", {"Location"}),
        ("/v1/calls/{id}/recording", "put", "202", {"Retry-After"}),
        ("/v1/calls/{id}/recording", "put", "200", set()),
        ("/v1/calls/{id}", "put", "201", set()),
    ],
)
def test_fields_that_a_client_acts_on_are_told_beside_a_success(path, method, status, fields):
    answer = DOCUMENTS["native"]["paths"][path][method]["responses"][status]
    assert answer["headers"].keys() == {"X-Request-Id", *fields}
    assert all(told["required"] for told in answer["headers"].values())


def parts_of(schema):
    """All objects in it, itself first."""
    if isinstance(schema, dict):
        yield schema
    for each in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from parts_of(each)


@pytest.mark.parametrize("name", SURFACES)
def test_generators_of_clients_find_every_member_and_what_each_list_holds(name):
    for schema in DOCUMENTS[name]["components"]["schemas"].values():
        assert not ("properties" in schema and schema.keys() & {"anyOf", "oneOf"}), "generators take one or the other"
        assert all("items" in part for part in parts_of(schema) if part.get("type") == "array")


@pytest.mark.parametrize("name", SURFACES)
def test_null_is_nothings_default_for_clients_would_send_it(name):
    told = [part["default"] for part in parts_of(DOCUMENTS[name]["components"]["schemas"]) if "default" in part]
    assert None not in told
    assert name != "native" or {"store", 3600, ""} <= set(told)


def test_every_page_tells_alike_of_the_next_one():
    pages_told = [
        each["properties"]
        for each in DOCUMENTS["native"]["components"]["schemas"].values()
        if "next_cursor" in each.get("properties", {})
    ]
    assert [page["links"] for page in pages_told] == [{"$ref": "#/components/schemas/NextPage"}] * 3


def test_a_problem_is_told_alike_by_itself_and_among_several():
    schemas = DOCUMENTS["native"]["components"]["schemas"]
    assert schemas["Problem"]["properties"].keys() == schemas["Error"]["properties"].keys()
    assert schemas["Fault"] == schemas["Error"]["properties"]["errors"]["items"] | {
        "description": schemas["Fault"]["description"]
    }
    assert schemas["Problem"]["properties"]["errors"]["items"] == {"$ref": "#/components/schemas/Fault"}


@pytest.mark.parametrize("name", SURFACES)
def test_no_answer_to_head_has_a_body_to_be_read(name):
    shared, count = DOCUMENTS[name]["components"]["responses"], 0
    for methods in DOCUMENTS[name]["paths"].values():
        for status, answer in methods.get("head", {"responses": {}})["responses"].items():
            head, get = (
                shared[each["$ref"].rpartition("/")[2]] if "$ref" in each else each
                for each in (answer, methods["get"]["responses"][status])
            )
            assert "content" not in head
            assert head["headers"] == get["headers"]
            count += 1
    assert count > 10 or name == "envoy"


def test_a_field_that_one_refusal_of_a_status_lacks_is_not_promised():
    responses = DOCUMENTS["yotel"]["components"]["responses"]
    required = {
        name: {field for field, told in response["headers"].items() if told["required"]}
        for name, response in responses.items()
    }
    assert required["409.recording_not_ready.recording_unavailable"] == {"X-Request-Id"}
    assert "Retry-After" in responses["409.recording_not_ready.recording_unavailable"]["headers"]
    assert {"Retry-After", "RateLimit", "X-Request-Id"} <= required["429.rate_limited"]


@pytest.mark.parametrize(
    ("path", "method", "required"),
    [("/v1/webhooks", "post", True), ("/v1/recordings/{id}/hold", "put", False), ("/v1/events/s3", "post", True)],
)
def test_a_body_is_required_unless_none_means_the_same_as_an_empty_one(path, method, required):
    assert DOCUMENTS["native"]["paths"][path][method]["requestBody"]["required"] is required


def test_a_uuid_among_the_parameters_has_a_pattern():
    (link,) = DOCUMENTS["native"]["paths"]["/v1/links/{link_id}"]["delete"]["parameters"]
    assert jsonschema_rs.is_valid(link["schema"], "0192f5e4-0000-7000-8000-000000000000")
    assert not jsonschema_rs.is_valid(link["schema"], "0192f5e4")


def test_pages_are_made_when_they_are_asked_for_and_once(monkeypatch: pytest.MonkeyPatch):
    made = []
    monkeypatch.setattr(openapi, "document", lambda *given, **named: made.append(given) or document(*given, **named))
    told = pages(SURFACES["voki"], [Place("voki", "", "")], [], version="1")
    assert made == []
    assert told["/openapi.json"].body() is told["/openapi.json"].body()
    assert told["/llms-full.txt"].body() is told["/llms-full.txt"].body()
    assert len(made) == 1


def test_a_surface_at_the_root_stands_on_the_server_itself():
    made = pages(SURFACES["yotel"], [Place("yotel", "", url) for url in ("", "http://gw", "")], [], version="1")
    assert orjson.loads(made["/openapi.json"].body())["servers"] == [{"url": "/"}, {"url": "http://gw"}]


@pytest.mark.parametrize("ranges", [False, True])
def test_ranges_are_told_where_the_mount_heeds_them(ranges):
    surface = SURFACES["callsid"]
    mounted = replace(surface, routes=tuple(replace(route, ranges=ranges) for route in surface.routes))
    document = orjson.loads(pages(mounted, [Place("callsid", "", "")], [], version="1")["/openapi.json"].body())
    download = document["paths"]["/api/calls/{call_sid}/recording/download"]["get"]
    assert ({"206", "416"} <= download["responses"].keys()) is ranges
    assert ("Range" in {parameter["name"] for parameter in download["parameters"]}) is ranges


@pytest.mark.parametrize(
    ("name", "path", "security"),
    [
        ("yotel", "/api/v1/calls/{call_id}/recording", [{"bearer": []}]),
        ("agentphone", "/v1/calls/{call_id}/recording", []),
        ("agentphone", "/v1/calls/{call_id}", [{"bearer": []}]),
        ("voki", "/api/v1/calls/{call_id}/recording", [{"bearer": []}]),
        ("envoy", "/api/v1/calls/{call_id}/recording", [{"bearer": []}, {"X-API-Key": []}]),
        ("native", "/v1/links/{token}/audio", []),
    ],
)
def test_where_a_credential_stands_is_told(name, path, security):
    document = DOCUMENTS[name]
    assert document["paths"][path]["get"]["security"] == security
    for scheme in security:
        assert scheme.keys() <= document["components"]["securitySchemes"].keys()


@pytest.mark.parametrize(
    ("name", "field"), [("voki", "X-Tenant"), ("callsid", "X-Organization-Id"), ("envoy", "X-Organization-ID")]
)
def test_the_field_that_names_a_tenant_is_told_once(name, field):
    for methods in DOCUMENTS[name]["paths"].values():
        for operation in methods.values():
            fields = [p["name"] for p in operation["parameters"] if p["in"] == "header"]
            assert [each for each in fields if each.lower() == field.lower()] == [field]


def test_no_answer_takes_the_errors_name():
    for name in SURFACES:
        types = [getattr(route.doc.answer, "__name__", "") for route in SURFACES[name].routes]
        assert "Error" not in types


def test_an_operations_id_is_made_of_its_method_and_path():
    assert operation_id("GET", "/v1/recordings/{id}/transcript.vtt") == "getV1RecordingsByIdTranscriptVtt"


AUDIO = [(name, route) for name, route in ROUTES if route.verb is Verb.PLAY]


@pytest.mark.parametrize(("name", "route"), AUDIO, ids=named)
def test_several_ranges_are_told_of_with_the_fields_that_they_lack(name, route):
    answers = DOCUMENTS[name]["paths"][route.path]["get"]["responses"]
    assert ("206" in answers) is route.ranges
    if route.ranges:
        assert "multipart/byteranges" in answers["206"]["content"]
        assert answers["206"]["headers"]["Content-Range"]["required"] is False
    assert "multipart/byteranges" not in answers["200"]["content"]


@pytest.mark.parametrize(("name", "route"), ROUTES, ids=named)
def test_a_route_is_refused_for_the_states_that_it_does_not_serve_and_for_ids_that_are_none(name, route):
    (operation,) = [each for each in operations(SURFACES[name]) if each.route is route]
    reasons = {refusal.reason for refusal in operation.refusals}
    assert ("not_found" in reasons) is ("{" in route.path)
    if route.verb in {Verb.PLAY, Verb.LINK, Verb.DESCRIBE}:
        of_states = {Failed.reason: State.FAILED, Expired.reason: State.EXPIRED}
        assert reasons & {*of_states} == {reason for reason, state in of_states.items() if state not in route.states}


@pytest.mark.parametrize("name", SURFACES)
def test_refusals_are_told_least_status_first_and_what_they_share_in_order(name):
    for operation in operations(SURFACES[name]):
        statuses = [refusal.status for refusal in operation.refusals]
        assert statuses == sorted(statuses)
    shared = list(DOCUMENTS[name]["components"]["responses"])
    assert shared == sorted(shared)
