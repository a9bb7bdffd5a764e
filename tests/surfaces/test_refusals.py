"""Every surface words every refusal, and none of them echoes or leaks."""

import orjson
import pytest
from multidict import CIMultiDict

from gateway import errors
from gateway.errors import Refusal
from gateway.model import Head
from gateway.surfaces import SURFACES

HEAD = Head("GET", {"id": "x", "call_id": "x"}, CIMultiDict(), CIMultiDict(), request_id="0123456789abcdef")
SECRET = "detail-for-the-operator-only"


MADE: dict[type[Refusal], Refusal] = {
    type(refusal): refusal
    for refusal in (
        errors.Malformed("path", "id"),
        errors.Unsatisfiable(1000),
        errors.Forbidden("calls:read"),
        errors.MethodNotAllowed("GET, HEAD"),
        errors.Contradicts("hold", "The recording is held."),
        errors.TooMany("key", quota=10, window_s=60, retry_after=7),
        errors.StreamsLimited("streams_per_tenant", quota=3, retry_after=5),
    )
}
"""Those that take more than a detail."""


def raised(kind: type[Refusal]) -> Refusal:
    return MADE[kind] if kind in MADE else kind(SECRET)


@pytest.mark.parametrize("surface", SURFACES.values(), ids=lambda s: s.name)
@pytest.mark.parametrize("kind", Refusal.__subclasses__(), ids=lambda k: k.__name__)
def test_every_surface_words_every_refusal(surface, kind):
    reply = surface.refuse(raised(kind), HEAD)
    assert 400 <= reply.status < 600
    assert reply.headers["Cache-Control"] == "no-store"
    assert isinstance(orjson.loads(reply.body), dict)
    assert SECRET.encode() not in reply.body


@pytest.mark.parametrize("surface", SURFACES.values(), ids=lambda s: s.name)
def test_too_many_streams_is_told_apart_from_an_outage_and_from_a_bound_of_ones_own(surface):
    full = surface.refuse(errors.TooManyStreams(), HEAD)
    own = surface.refuse(errors.StreamsLimited("streams_per_tenant", quota=3, retry_after=5), HEAD)
    assert (full.status, own.status) == (503, 429)
    assert len({full.body, own.body, surface.refuse(errors.Unavailable(), HEAD).body}) == 3
    assert "RateLimit" not in full.headers, "the bound is not the client's"


OUTAGES = {errors.Unavailable: 503, errors.OriginFailed: 502, errors.OriginTimeout: 504, errors.Internal: 500}


@pytest.mark.parametrize("surface", SURFACES.values(), ids=lambda s: s.name)
@pytest.mark.parametrize(("kind", "status"), OUTAGES.items(), ids=lambda k: getattr(k, "__name__", k))
def test_an_outage_is_never_a_404(surface, kind, status):
    assert surface.refuse(raised(kind), HEAD).status == status


@pytest.mark.parametrize("surface", SURFACES.values(), ids=lambda s: s.name)
@pytest.mark.parametrize(
    ("refusal", "field", "value"),
    [
        (errors.Unauthenticated(), "WWW-Authenticate", "Bearer"),
        (errors.Unauthenticated(presented=True), "WWW-Authenticate", 'Bearer error="invalid_token"'),
        (errors.Forbidden("x:y"), "WWW-Authenticate", 'Bearer error="insufficient_scope", scope="x:y"'),
        (errors.Unsatisfiable(7), "Content-Range", "bytes */7"),
        (errors.MethodNotAllowed("GET"), "Allow", "GET"),
        (errors.CodedBody(), "Accept-Encoding", "identity"),
        (errors.Unavailable(), "Retry-After", "5"),
        (errors.TooMany("key", quota=10, window_s=60, retry_after=7), "Retry-After", "7"),
        (errors.StreamsLimited("streams_per_tenant", quota=3, retry_after=5), "Retry-After", "5"),
        (
            errors.StreamsLimited("streams_per_tenant", quota=3, retry_after=5),
            "RateLimit-Policy",
            '"streams_per_tenant";q=3;qu="concurrent-requests"',
        ),
        (errors.StreamsLimited("streams_per_tenant", quota=3, retry_after=5), "RateLimit", '"streams_per_tenant";r=0'),
        (errors.TooManyStreams(), "Retry-After", "5"),
    ],
)
def test_a_refusal_carries_its_field(surface, refusal, field, value):
    assert surface.refuse(refusal, HEAD).headers[field] == value


UNFINISHED = {"native": 409, "yotel": 409, "agentphone": 404, "callsid": 409, "voki": 404, "envoy": 404}
"""A recording that is not ready, or failed for good, as the contracts have it."""


@pytest.mark.parametrize(("name", "status"), UNFINISHED.items())
def test_what_is_not_ready_says_when_to_ask_again_unless_it_is_a_404(name, status):
    reply = SURFACES[name].refuse(errors.NotReady(retry_after=15), HEAD)
    assert (reply.status, reply.headers.get("Retry-After")) == (status, "15" if status == 409 else None)


@pytest.mark.parametrize(("name", "status"), UNFINISHED.items())
def test_what_failed_for_good_does_not_ask_to_be_retried(name, status):
    reply = SURFACES[name].refuse(errors.Failed(), HEAD)
    assert reply.status == status
    assert "Retry-After" not in reply.headers


ONE_404 = (errors.Absent, errors.NotReady, errors.Failed, errors.Expired, errors.ObjectMissing)


@pytest.mark.parametrize("kind", ONE_404, ids=lambda k: k.__name__)
def test_public_surface_tells_no_404_from_another(kind):
    refuse = SURFACES["agentphone"].refuse
    assert refuse(kind(retry_after=15), HEAD) == refuse(errors.NotFound(), HEAD)


FORMS = {
    "native": {"type", "title", "status", "code", "detail"},
    "yotel": {"error"},
    "agentphone": {"detail"},
    "callsid": {"success", "error"},
    "voki": {"errors"},
    "envoy": {"detail"},
}


@pytest.mark.parametrize(("name", "members"), FORMS.items())
def test_what_contradicts_is_told_in_the_surfaces_form(name, members):
    body = orjson.loads(SURFACES[name].refuse(errors.Contradicts("hold", "The recording is held."), HEAD).body)
    assert body.keys() == members
    if name != "yotel":  # it has nothing that could
        assert "The recording is held." in str(body)


def test_voki_words_a_department_that_is_missing_or_malformed_alike():
    refuse, head = SURFACES["voki"].refuse, Head("DELETE", {"id": "x"}, CIMultiDict(), CIMultiDict())
    told = refuse(errors.NotFound(), head)
    assert (told.status, told.body) == (404, b'{"errors":{"detail":"Department not found"}}')
    assert refuse(errors.Malformed("path", "id"), head) == told


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        (errors.Forbidden("x:y"), {"status": 403, "code": "forbidden", "needed": "x:y"}),
        (
            errors.Malformed("query", "limit", message="no"),
            {"status": 422, "code": "malformed", "errors": [{"loc": ["query", "limit"], "msg": "no"}]},
        ),
        (errors.Contradicts("own", "Why."), {"status": 409, "code": "own", "title": "Own", "detail": "Why."}),
        (errors.Expired(), {"status": 410, "code": "recording_expired", "title": "Recording expired"}),
    ],
)
def test_a_problem_tells_what_a_program_can_act_on(refusal, told):
    reply = SURFACES["native"].refuse(refusal, HEAD)
    body = orjson.loads(reply.body)
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert body == {**body, "type": f"urn:recording-gateway:problem:{told['code']}", **told}


def test_a_foreign_call_and_a_missing_one_are_worded_alike():
    for surface in SURFACES.values():
        foreign = surface.refuse(errors.NotFound("another tenant's call"), HEAD)
        assert foreign == surface.refuse(errors.NotFound("no such call"), HEAD)
