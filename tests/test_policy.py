"""Who may do what to which recording, as a table."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract import RETRY_S
from gateway.errors import Absent, Expired, Failed, Forbidden, Internal, NotFound, NotReady, Refusal
from gateway.model import Call, Caller, Entry, Object, Recording, Stat, State, Tenant
from gateway.policy import Roles, permit, permit_at_large, permit_public, servable

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
OURS, THEIRS = uuid4(), uuid4()
CALL, OTHER_CALL = uuid4(), uuid4()
READ, DOWNLOAD = "calls:read", "recordings:download"
BOTH = frozenset({READ, DOWNLOAD})
OBJECT = Object("main", "a.wav", Stat(4, '"e"', "v", NOW), "audio/wav")
READY = Recording(uuid4(), State.READY, OBJECT)


def caller(*scopes: str, tenant: UUID = OURS, call: UUID | None = None) -> Caller:
    return Caller(tenant, "api_key", "s", "c", "api_key", frozenset(scopes), call=call)


def entry(recording: Recording | None = READY, tenant: UUID = OURS) -> Entry:
    return Entry(Call(CALL, tenant, {}), recording, Tenant(tenant, "ours", "Ours"))


def refusal_of(who: Caller, what: Entry, scopes: frozenset[str]) -> type[Refusal] | None:
    try:
        permit(who, what, scopes)
    except Refusal as refusal:
        return type(refusal)
    return None


PERMITTED = [
    ("the one scope asked for", caller(READ), {READ}),
    ("any one of several", caller(DOWNLOAD), {READ, DOWNLOAD}),
    ("more scopes than needed", caller(READ, DOWNLOAD, "audit:read"), {DOWNLOAD}),
    ("bound to this very call", caller(DOWNLOAD, call=CALL), {DOWNLOAD}),
]

REFUSED: list[tuple[str, Caller, Entry, set[str], type[Refusal]]] = [
    ("another tenant's", caller(READ, tenant=THEIRS), entry(), {READ}, NotFound),
    ("another tenant's, scope too low as well", caller(tenant=THEIRS), entry(), {READ}, NotFound),
    ("another tenant's, bound to that call", caller(READ, tenant=THEIRS, call=CALL), entry(), {READ}, NotFound),
    ("bound to another call", caller(READ, call=OTHER_CALL), entry(), {READ}, NotFound),
    ("bound to another call, scope too low as well", caller(call=OTHER_CALL), entry(), {READ}, NotFound),
    ("no scope at all", caller(), entry(), {READ}, Forbidden),
    ("another scope: neither implies the other", caller(READ), entry(), {DOWNLOAD}, Forbidden),
    ("and the other way round", caller(DOWNLOAD), entry(), {READ}, Forbidden),
    ("a scope that merely begins alike", caller("calls:read:all", "calls"), entry(), {READ}, Forbidden),
    ("a scope in other letters", caller("Calls:Read"), entry(), {READ}, Forbidden),
    ("a route that no scope opens", caller(READ, DOWNLOAD), entry(), set(), Forbidden),
    ("a call without a recording, scope too low", caller(), entry(None), {READ}, Forbidden),
]


@pytest.mark.parametrize(("who", "scopes"), [row[1:] for row in PERMITTED], ids=[row[0] for row in PERMITTED])
def test_a_fitting_scope_permits(who: Caller, scopes: set[str]):
    permit(who, entry(), frozenset(scopes))


@pytest.mark.parametrize(
    ("who", "what", "scopes", "refusal"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_the_rest_is_refused(who: Caller, what: Entry, scopes: set[str], refusal: type[Refusal]):
    with pytest.raises(refusal):
        permit(who, what, frozenset(scopes))


def test_the_refusal_names_a_scope_that_would_do():
    with pytest.raises(Forbidden) as caught:
        permit(caller(), entry(), frozenset({DOWNLOAD, "audit:read"}))
    assert caught.value.needed == "audit:read"


@given(
    held=st.frozensets(st.sampled_from(["a", "b", "c", "d"])),
    needed=st.frozensets(st.sampled_from(["a", "b", "c", "d"])),
    tenant=st.sampled_from([OURS, THEIRS]),
    bound=st.sampled_from([None, CALL, OTHER_CALL]),
    recording=st.sampled_from([None, READY]),
)
def test_a_foreign_recording_is_not_found_and_never_forbidden(
    held: frozenset[str], needed: frozenset[str], tenant: UUID, bound: UUID | None, recording: Recording | None
):
    expected: type[Refusal] | None = None
    if tenant != OURS or bound == OTHER_CALL:
        expected = NotFound
    elif not held & needed:
        expected = Forbidden
    assert refusal_of(caller(*held, tenant=tenant, call=bound), entry(recording), needed) is expected


ROLES = Roles(("viewer", "agent", "admin"))


@pytest.mark.parametrize(
    ("role", "least", "reaches"),
    [
        ("agent", "agent", True),
        ("admin", "agent", True),
        ("viewer", "agent", False),
        ("viewer", "viewer", True),
        (None, "viewer", False),
        ("stranger", "viewer", False),
        ("stranger", "stranger", False),
        ("admin", "stranger", False),
        ("Admin", "admin", False),
    ],
)
def test_a_role_reaches_what_lies_at_it_or_below_and_one_not_configured_nothing(
    role: str | None, least: str, *, reaches: bool
):
    assert ROLES.reach(role, least) is reaches
    who = replace(caller(READ), role=role)
    for scopes, right in ((frozenset({READ}), reaches), (frozenset[str](), reaches), (frozenset({DOWNLOAD}), False)):
        if right:
            permit(who, entry(), scopes, least, ROLES)
            permit_at_large(who, scopes, least, ROLES)
            continue
        with pytest.raises(Forbidden):
            permit(who, entry(), scopes, least, ROLES)
        with pytest.raises(Forbidden):
            permit_at_large(who, scopes, least, ROLES)


def test_a_call_is_public_only_where_its_account_says_so():
    for enabled in (True, False):
        known = entry()
        known = replace(known, account=replace(known.account, recording_enabled=enabled))
        with nullcontext() if enabled else pytest.raises(NotFound):
            permit_public(known)


def test_a_listing_wants_one_of_its_scopes():
    permit_at_large(caller(READ), BOTH)
    with pytest.raises(Forbidden):
        permit_at_large(caller("audit:read"), BOTH)


def test_a_credential_for_one_call_lists_nothing():
    with pytest.raises(Forbidden):
        permit_at_large(caller(READ, DOWNLOAD, call=CALL), BOTH)


PAST, FUTURE = NOW - timedelta(seconds=1), NOW + timedelta(seconds=1)
STATES: list[tuple[str, Recording | None, type[Refusal] | None]] = [
    ("never recorded", None, Absent),
    ("absent", replace(READY, state=State.ABSENT, object=None), Absent),
    ("pending", replace(READY, state=State.PENDING, object=None), NotReady),
    ("pending, its object known already", replace(READY, state=State.PENDING), NotReady),
    ("processing", replace(READY, state=State.PROCESSING), NotReady),
    ("failed", replace(READY, state=State.FAILED, object=None), Failed),
    ("swept", replace(READY, state=State.EXPIRED, object=None), Expired),
    ("past its retention, not yet swept", replace(READY, expires_at=PAST), Expired),
    ("in the instant its retention ends", replace(READY, expires_at=NOW), Expired),
    ("pending and past its retention", replace(READY, state=State.PENDING, expires_at=PAST), Expired),
    ("past its retention, held", replace(READY, expires_at=PAST, hold=True), None),
    ("within its retention", replace(READY, expires_at=FUTURE), None),
    ("ready", READY, None),
    ("ready, says a catalog that knows no object", replace(READY, object=None), Internal),
]


@pytest.mark.parametrize(("recording", "refusal"), [row[1:] for row in STATES], ids=[row[0] for row in STATES])
def test_each_state_has_its_refusal(recording: Recording | None, refusal: type[Refusal] | None):
    if refusal is None:
        assert servable(entry(recording), NOW) is State.READY
        return
    with pytest.raises(refusal) as caught:
        servable(entry(recording), NOW)
    assert caught.value.retry_after == (RETRY_S if refusal is NotReady else None)


@pytest.mark.parametrize("state", [state for state in State if state is not State.READY])
def test_no_other_state_is_served(state: State):
    with pytest.raises((Absent, NotReady, Failed, Expired)):
        servable(entry(replace(READY, state=state)), NOW)
