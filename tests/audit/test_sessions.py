from uuid import RFC_4122, uuid4

import pytest
from multidict import CIMultiDict, MultiDict

from gateway.app import _listener
from gateway.audit.sessions import Sessions, session_id
from gateway.draft import Draft
from gateway.event import Method
from gateway.model import Caller, Head

IDLE = 300.0
RECORDING = uuid4()
KEY = (uuid4(), "user-7", "key-1", "203.0.113.7", "mpv", RECORDING, '"etag"')
NOW = 1_000_000 * IDLE


def test_requests_close_together_share_a_session():
    sessions = Sessions(IDLE)
    first = sessions.of(KEY, NOW)
    assert {sessions.of(KEY, NOW + step * (IDLE - 1)) for step in range(50)} == {first}


def test_a_long_silence_ends_a_session():
    sessions = Sessions(IDLE)
    assert len({sessions.of(KEY, NOW + step * IDLE) for step in range(50)}) == 50


def test_a_clock_that_is_set_back_makes_no_session_last_until_it_has_caught_up():
    sessions = Sessions(IDLE)
    first = sessions.of(KEY, NOW)
    assert sessions.of(KEY, NOW - IDLE + 1) == first
    assert sessions.of(KEY, NOW - 12 * IDLE) != first


def test_a_body_on_its_way_is_no_silence():
    sessions = Sessions(IDLE)
    first = sessions.of(KEY, NOW)
    over = [sessions.playing(KEY), sessions.playing(KEY)]
    over[0](NOW + 1)
    assert sessions.of(KEY, NOW + 3 * IDLE) == first
    over[1](NOW + 5 * IDLE)
    assert sessions.of(KEY, NOW + 6 * IDLE - 1) == first
    assert sessions.of(KEY, NOW + 7 * IDLE) != first


def test_a_body_of_a_listener_who_was_forgotten_ends_all_the_same():
    sessions = Sessions(IDLE, kept=1)
    sessions.of(KEY, NOW)
    early = sessions.playing(KEY)
    sessions.of(("another",), NOW)
    late = sessions.playing(KEY)
    for over in (early, late):
        over(NOW + 1)
    assert len(sessions._known) == 1


def test_each_part_of_the_key_tells_sessions_apart():
    sessions = Sessions(IDLE)
    keys = [KEY, *((*KEY[:n], other, *KEY[n + 1 :]) for n in range(len(KEY)) for other in (None, "", "None", uuid4()))]
    assert len({sessions.of(key, NOW) for key in keys}) == len(keys)
    assert session_id(("a+b", "c"), 1) != session_id(("a", "b+c"), 1)


def test_replicas_that_begin_in_one_step_agree():
    assert Sessions(IDLE).of(KEY, NOW + 1) == Sessions(IDLE).of(KEY, NOW + IDLE - 1)


def test_a_listener_who_was_forgotten_gets_his_session_back_within_the_step():
    sessions = Sessions(IDLE, kept=2)
    first = sessions.of(KEY, NOW)
    for n in range(5):
        sessions.of((str(n),), NOW)
    assert sessions.of(KEY, NOW + 2) == first


def test_no_more_listeners_are_remembered_than_asked_and_the_longest_silent_goes_first():
    sessions = Sessions(IDLE, kept=2)
    sessions.of(("a",), NOW)
    late = sessions.of(("b",), NOW + IDLE - 1)
    sessions.of(("a",), NOW + 1)
    last = sessions.of(("c",), NOW + IDLE - 1)
    assert sessions.of(("c",), NOW + 2 * IDLE - 2) == last
    assert sessions.of(("a",), NOW + IDLE) == session_id(("a",), int(NOW // IDLE))
    assert late == session_id(("b",), int(NOW // IDLE))
    assert len(sessions._known) == 2


def test_a_session_is_a_uuid_of_version_8():
    session = session_id(KEY, 7)
    assert (session.version, session.variant) == (8, RFC_4122)


def test_a_header_that_is_not_utf_8_is_hashed_like_any():
    assert session_id(("caf\udce9",), 1) != session_id(("caf\udce8",), 1)


@pytest.mark.parametrize("caller", [None, Caller(uuid4(), "link", "l", "l", "link")])
def test_a_listener_is_remembered_by_as_much_of_its_player_as_the_audit_keeps(caller: Caller | None):
    def listener(agent: str) -> tuple[object, ...]:
        head = Head("GET", {}, MultiDict(), CIMultiDict({"User-Agent": agent}), address="203.0.113.7")
        draft = Draft.begin("native", Method.STREAM, head)
        draft.caller = caller
        assert draft.intent().user_agent in _listener(draft, RECORDING, '"etag"')
        return _listener(draft, RECORDING, '"etag"')

    assert max(len(str(part)) for part in listener("x" * 16_000)) < 1000
    assert listener("mpv 1") != listener("mpv 2")
