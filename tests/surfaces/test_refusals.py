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


def raised(kind: type[Refusal]) -> Refusal:
    match kind:
        case errors.Malformed:
            return kind("path", "id")
        case errors.Unsatisfiable:
            return kind(1000)
        case errors.Forbidden:
            return kind("calls:read")
        case errors.MethodNotAllowed:
            return kind("GET, HEAD")
        case errors.Contradicts:
            return kind("hold", "The recording is held.")
        case errors.TooMany:
            return kind("key", quota=10, window_s=60, retry_after=7)
        case _:
            return kind(SECRET)


@pytest.mark.parametrize("surface", SURFACES.values(), ids=lambda s: s.name)
@pytest.mark.parametrize("kind", Refusal.__subclasses__(), ids=lambda k: k.__name__)
def test_every_surface_words_every_refusal(surface, kind):
    reply = surface.refuse(raised(kind), HEAD)
    assert 400 <= reply.status < 600
    assert reply.headers["Cache-Control"] == "no-store"
    assert isinstance(orjson.loads(reply.body), dict)
    assert SECRET.encode() not in reply.body


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
        (errors.NotReady(retry_after=15), "Retry-After", "15"),
        (errors.Unavailable(), "Retry-After", "5"),
    ],
)
def test_a_refusal_carries_its_field(surface, refusal, field, value):
    assert surface.refuse(refusal, HEAD).headers[field] == value


@pytest.mark.parametrize("surface", SURFACES.values(), ids=lambda s: s.name)
def test_what_failed_for_good_does_not_ask_to_be_retried(surface):
    reply = surface.refuse(errors.Failed(), HEAD)
    assert reply.status == 409
    assert "Retry-After" not in reply.headers


def test_a_foreign_call_and_a_missing_one_are_worded_alike():
    for surface in SURFACES.values():
        foreign = surface.refuse(errors.NotFound("another tenant's call"), HEAD)
        assert foreign == surface.refuse(errors.NotFound("no such call"), HEAD)
