"""What bad credentials, foreign calls and altered links get: nothing, and not a word of what there is."""

import hmac
import json
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import timedelta

import pytest
from parts.issuer import b64, claims, jwk, pem, rsa_key, token
from parts.stage import LINK_KEY, ORIGIN
from parts.wary import KEY, MARK, MISSING, Wary
from parts.wire import Answer, Lines
from pydantic import SecretStr

from gateway.identity.keys import mint
from gateway.identity.links import Links

ATTACKER = rsa_key("attacker")


@pytest.mark.parametrize("target", ["{0.own.native}", "{0.own.yotel}", "/v1/recordings/{0.own.id}", "/v1/recordings"])
def test_two_credentials_at_once_are_ambiguous(wary: Wary, target: str):
    for second in (wary.full["Authorization"], f"Bearer {token(KEY)}", f"Bearer {MARK}", ""):
        answer = wary.ask("GET", target.format(wary), wary.allowed(("Authorization", second)))
        assert (answer.status, answer.get("Connection")) == (400, "close")


async def test_link_and_bearer_at_once_are_ambiguous(wary: Wary):
    path = wary.gateway_link()
    assert wary.ask("GET", path).status == 200
    assert wary.ask("GET", path, wary.allowed()).status == 400
    assert wary.ask("GET", path, [("Authorization", "bEARER " + MARK)]).status == 400
    assert wary.ask("GET", path, [("Authorization", "Basic " + MARK)]).status == 200  # a browser's own


def macced(secret: bytes) -> str:
    """Signed with HS256, which PyJWT itself refuses to do with a public key."""
    signing = f"{b64(json.dumps({'alg': 'HS256', 'kid': 'k1'}).encode())}.{b64(json.dumps(claims()).encode())}"
    return f"{signing}.{b64(hmac.digest(secret, signing.encode(), 'sha256'))}"


HOSTILE = {
    "nothing known": f"Bearer {MARK}",
    "Bearer alone": "Bearer",
    "two tokens": f"Bearer {MARK} {MARK}",
    "key nobody was given": f"Bearer {mint('yt_live').secret}",
    "key mistyped": f"Bearer {mint('yt_live').secret[:-1]}_",
    "key with another tail": "Bearer yt_live_" + "A" * 43,
    "key with a wrong prefix": "Bearer zz_live_" + "A" * 43,
    "long": "Bearer " + MARK * 500,
    "not ASCII": "Bearer é",
    "JWT alg none": f"Bearer {b64(json.dumps({'alg': 'none'}).encode())}.{b64(json.dumps(claims()).encode())}.",
    "JWT by the public key": f"Bearer {macced(pem(KEY))}",
    "JWT by another": f"Bearer {token(ATTACKER)}",
    "JWT by its own jwk": f"Bearer {token(ATTACKER, header={'jwk': jwk(ATTACKER)})}",
    "JWT critical": f"Bearer {token(KEY, header={'crit': ['x'], 'x': 1})}",
    "JWT for another audience": f"Bearer {token(KEY, aud='elsewhere')}",
    "JWT of another issuer": f"Bearer {token(KEY, iss='https://elsewhere.example')}",
    "JWT expired": f"Bearer {token(KEY, exp=int(time.time()) - 3600)}",
    "JWT without exp": f"Bearer {token(KEY, exp=None)}",
    "JWT without aud": f"Bearer {token(KEY, aud=None)}",
    "JWT of an unknown tenant": f"Bearer {token(KEY, tenant='nobody')}",
    "JWT without a tenant": f"Bearer {token(KEY, tenant=None)}",
}  # fmt: skip


@pytest.mark.parametrize("credential", HOSTILE.values(), ids=HOSTILE)
def test_credential_that_proves_nothing_is_unauthenticated(wary: Wary, credential: str):
    for target in (wary.own.native, wary.own.yotel, "/v1/recordings", wary.foreign.native):
        answer = wary.ask("GET", target, [("Authorization", credential)])
        assert (answer.status, answer.get("WWW-Authenticate")) == (401, 'Bearer error="invalid_token"')


NONE: dict[str, Lines] = {
    "nothing": (),
    "empty": (("Authorization", ""),),
    "no scheme": (("Authorization", MARK),),
    "Basic": (("Authorization", f"Basic {MARK}"),),
    "a word that begins as Bearer": (("Authorization", f"BearerToken {MARK}"),),
}
"""RFC 6750 section 3.1: who comes by another scheme is told which one it takes, and of no error."""


@pytest.mark.parametrize("lines", NONE.values(), ids=NONE)
def test_no_credential_is_asked_for_one(wary: Wary, lines: Lines):
    for target in (wary.own.native, wary.own.yotel, "/v1/recordings", wary.foreign.native, f"/v1/recordings/{MISSING}"):
        answer = wary.ask("GET", target, lines)
        assert (answer.status, answer.get("WWW-Authenticate")) == (401, "Bearer")


@pytest.mark.parametrize(
    ("claim", "status"),
    [({}, 200), ({"scope": ["recordings:download"]}, 200), ({"scope": "calls:read"}, 403), ({"tenant": "other"}, 404)],
    ids=repr,
)
def test_honest_token_is_served_what_it_may_have(wary: Wary, claim: dict[str, object], status: int):
    for scheme in ("Bearer ", "bearer ", "BEARER   "):  # RFC 9110 section 11.4: in any case, and one space or more
        answer = wary.ask("GET", wary.own.native, [("Authorization", scheme + token(KEY, **claim))])
        assert answer.status == status
        assert status != 200 or answer.body == wary.own.data


ROUTES = (
    ("GET", "/v1/recordings/{id}"),
    ("HEAD", "/v1/recordings/{id}"),
    ("GET", "/v1/recordings/{id}/audio"),
    ("HEAD", "/v1/recordings/{id}/audio"),
    ("POST", "/v1/recordings/{id}/links"),
    ("GET", "/v1/recordings/yotel:{alias}"),
    ("GET", "/v1/recordings/yotel:{alias}/audio"),
    ("GET", "/yotel/api/v1/calls/{alias}/recording"),
    ("GET", "/yotel/api/v1/calls/{alias}/recording/audio"),
    ("HEAD", "/yotel/api/v1/calls/{alias}/recording/audio"),
)


@pytest.mark.parametrize("scopes", [(), ("audit:read",)], ids=["every scope", "no fit scope"])
@pytest.mark.parametrize(("method", "template"), ROUTES, ids=[" ".join(route) for route in ROUTES])
async def test_foreign_call_answers_as_a_missing_one(wary: Wary, method: str, template: str, scopes: tuple[str, ...]):
    key = await wary.stage.key(*scopes)
    conditions = ("Range", "bytes=0-1"), ("If-None-Match", "*"), ("Origin", ORIGIN)
    foreign = template.format(id=wary.foreign.id, alias=wary.foreign.alias)
    missing = template.format(id=MISSING, alias="call_000000000000")
    answers = [wary.ask(method, target, [*key.items(), *conditions]) for target in (foreign, missing)]
    one, other = ((a.status, [f for f in a.fields if f[0] not in {"date", "x-request-id"}], a.body) for a in answers)
    assert one == other
    assert one[0] == 404


# --- links ----------------------------------------------------------------------------------------------------------


def apart_from_status(answer: Answer) -> tuple[object, ...]:
    body = answer.json()
    assert body.pop("status") == answer.status
    return body, [field for field in answer.fields if field[0] not in {"date", "x-request-id"}]


async def test_altered_and_expired_links_get_one_indistinct_body(wary: Wary):
    path = wary.gateway_link()
    token = path.split("/")[-2]
    assert wary.ask("GET", path).body == wary.own.data
    raw = bytearray(urlsafe_b64decode(token))
    altered = []
    for place in range(0, len(raw), 7):
        changed = bytearray(raw)
        changed[place] ^= 1
        altered.append(urlsafe_b64encode(changed).decode())
    other_key = Links((SecretStr("another-key-" + "x" * 32),))
    own = wary.stage.tenant, wary.own.id, timedelta(hours=1)
    altered += [token[:-1], token + "A", token + "=", "A", MARK, "%00", other_key.mint(*own).token]
    refused = [wary.ask("GET", f"/v1/links/{each}/audio") for each in altered]
    assert {answer.status for answer in refused} == {403}
    long_ago = Links((SecretStr(LINK_KEY),), now=lambda: time.time() - 7200)
    expired = wary.ask("GET", f"/v1/links/{long_ago.mint(*own).token}/audio")
    assert expired.status == 410
    first, *others = map(apart_from_status, [expired, *refused])
    assert all(other == first for other in others)


async def test_link_is_good_for_its_own_call_alone(wary: Wary):
    links = Links((SecretStr(LINK_KEY),))
    forged = links.mint(wary.stage.tenant, wary.foreign.id, timedelta(hours=1))
    assert wary.ask("GET", f"/v1/links/{forged.token}/audio").status == 404
    token = wary.gateway_link().split("/")[-2]
    assert wary.ask("GET", wary.own.native, [("Authorization", f"Bearer {token}")]).status == 401
