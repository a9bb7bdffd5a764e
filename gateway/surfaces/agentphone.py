"""AgentPhone: a public download for whoever knows the call's id, which is therefore a secret.

https://api.agentphone.ai, "Get Call Recording". The download is there where the account has switched it on, and the id is
too hard to guess; everything else is one 404.
"""

from __future__ import annotations

from typing_extensions import TypedDict

from .. import errors
from ..asks.tenants import EnableRecording
from ..contract import ANY_STATE, MEDIA, Doc, Found, Reply, Route, Schema, Surface, Transcribed
from ..event import Method
from ..http.headers import content_disposition, extension_for
from ..model import CallRef, Head, Presented, State, Verb
from . import _fastapi
from ._agentphone_calls import DISCREET, CallAnswer, TranscriptAnswer, described, transcript
from ._strength import secret
from ._words import NO_STORE, alias, audio, bearer, form, json_reply, known, refuser

EVEN_S = 0.025
"""Refusals of the download leave at multiples of so many seconds: longer than looking a call up takes."""
ID = r"[A-Za-z0-9_-]{1,128}"

_call = alias("agentphone", ID)


def _secret_call(head: Head) -> CallRef:
    """As ``_call``; an id that could be guessed is nobody's. Raises Malformed, NotFound."""
    ref = _call(head)
    if not secret(ref.id):
        raise errors.NotFound("an id too easy to guess for a public download")
    return ref


def _file_name(found: Found) -> str:
    _, _, stored = known(found)
    extension = extension_for(stored.media_type)
    return content_disposition("attachment", f"recording-{found.head.path['call_id']}{extension}")


class EnabledAnswer(TypedDict):
    """Answer of the switch."""

    recordingEnabled: bool


def _enabled(_found: Found) -> Reply:
    answer: EnabledAnswer = {"recordingEnabled": True}
    return json_reply(200, answer)


_PATH: dict[str, Schema] = {"call_id": form(ID)}

SURFACE = Surface(
    name="agentphone",
    about="AgentPhone's contract: a public download for whoever knows the call's id, where the account has switched it on.",
    present=bearer,
    refuse=refuser(_fastapi.WORDS, _fastapi.detail, fields=DISCREET),
    routes=(
        Route(
            "GET",
            "/v1/calls/{call_id}/recording",
            Verb.PLAY,
            frozenset({"recordings:download"}),
            _secret_call,
            audio(NO_STORE, _file_name, DISCREET),
            present=lambda _head: Presented(None, public=True),
            disposition=_file_name,
            even_s=EVEN_S,
            doc=Doc(
                "Get a call's recording",
                "Public: the call's id is the access token. It must be hard to guess, and the account must have"
                " recording enabled.",
                media=MEDIA,
                path=_PATH,
            ),
        ),
        Route(
            "GET",
            "/v1/calls/{call_id}",
            Verb.DESCRIBE,
            frozenset({"calls:read"}),
            _call,
            described,
            states=ANY_STATE,
            doc=Doc("Get a call", answer=CallAnswer, path=_PATH),
        ),
        Route(
            "GET",
            "/v1/calls/{call_id}/transcript",
            Verb.DESCRIBE,
            frozenset({"recordings:download"}),
            _call,
            transcript,
            states=ANY_STATE - {State.EXPIRED},
            transcript=Transcribed.REQUIRED,
            audited=Method.TRANSCRIPT,
            doc=Doc("Get a call's transcript", answer=TranscriptAnswer, path=_PATH),
        ),
        *(
            Route(
                "POST",
                path,
                Verb.ACT,
                frozenset({"tenants:admin"}),
                lambda _head: None,
                _enabled,
                ask=lambda _head: EnableRecording(),
                audited=Method.SETTINGS,
                doc=Doc("Enable recording for the account", answer=EnabledAnswer),
            )
            for path in ("/v1/credits/recording/enable", "/credits/recording/enable")
        ),
    ),
)
