"""One handler for every route of every surface: a request in, one answer out, one audit event."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from http import HTTPStatus

import structlog
from aiohttp import HttpVersion11, web
from multidict import istr
from uuid_utils import uuid7

from ..access import Access
from ..config import Config
from ..contract import Reply, Route, Surface
from ..draft import Draft, method_of
from ..errors import BadRequest, CodedBody, Internal, MethodNotAllowed, Refusal, TooLarge, UnknownRoute
from ..event import Result
from ..http.cors import preflight_headers, response_headers
from ..http.forwarded import client_address, is_trusted, request_id, trace_id
from ..http.head import response_head
from ..http.target import NOWHERE, read_query, read_target
from ..model import Head
from ..playback import Answer
from ..telemetry.spans import Tracer
from .delivery import Delivery, deliver, deliver_whole, lost
from .evenly import until_multiple
from .lifecycle import PROBES, Lifecycle
from .pages import page_reply
from .repeats import Repeats
from .router import Endpoint, Router
from .server import SERVER, Answered, Connection, Ongoing
from .told import Teller, Told

log = structlog.get_logger("gateway.request")

_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_CLOSING = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE})
"""After these the connection is closed: what else is on it cannot be trusted."""
_BODILESS = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
_HOST = istr("Host")
_FORWARDED_FOR = istr("X-Forwarded-For")
_REQUEST_ID = istr("X-Request-Id")
_TRACEPARENT = istr("traceparent")
_ORIGIN = istr("Origin")
_CODING = istr("Transfer-Encoding")
_CHUNKED = "chunked"
_CONTENT_CODING = istr("Content-Encoding")
_UNCODED = frozenset({"", "identity"})


class Handler:
    """What the server calls for each request."""

    def __init__(
        self,
        config: Config,
        router: Router,
        access: Access,
        lifecycle: Lifecycle,
        teller: Teller,
        tracer: Tracer | None = None,
        repeats: Repeats | None = None,
    ) -> None:
        self._settings = config.server
        self._cors = config.cors
        self._teller = teller
        self._tracer = tracer
        self._repeats = repeats
        self._router = router
        self._access = access
        self._lifecycle = lifecycle
        self._clock = asyncio.get_running_loop().time

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Raises ConnectionError where the client has left, or its connection had to be aborted."""
        begun, ongoing = self._clock(), _begun_already(request)
        peer, proxies = request.remote or "", self._settings.trusted_proxies
        address = client_address(peer, request.headers.getall(_FORWARDED_FOR, []), proxies)
        named, parent = None, None
        if proxies and is_trusted(peer, proxies):
            named = request_id(request.headers.get(_REQUEST_ID))
            parent = request.headers.get(_TRACEPARENT)
        told = Told(named or uuid7().hex, address, trace_id(parent), traceparent=parent)
        try:
            self._lifecycle.began()
            if ongoing is not None:
                begun, told.request_id = ongoing.begun, ongoing.request_id
                ongoing.taken_over()
            return await self._answer(request, peer, told, ongoing)
        except (ConnectionError, asyncio.CancelledError) as error:
            if told.result is Result.COMPLETE:
                told.result, told.reason = (
                    (Result.INTERRUPTED, "shutdown") if _ending(request, error) else (Result.CLIENT_GONE, None)
                )
            raise
        finally:
            self._lifecycle.ended()
            if isinstance(request.protocol, Connection):
                request.protocol.answered()
            if not told.quiet:
                self._teller.tell(request.method, told, begun)
            if told.span is not None:
                told.span.end(told.status, told.result, told.sent, told.reason)

    async def _answer(
        self, request: web.BaseRequest, peer: str, told: Told, ongoing: Ongoing | None
    ) -> web.StreamResponse:
        host, path, query = _aim(request)
        if path in PROBES and host is not None:
            health = await self._lifecycle.answer(request.method, path)
            told.quiet = health.status == HTTPStatus.OK
            told.route = path
            return await self._send(request, health, told, vary=None)
        match = self._router.match(host or "", path)
        surface = match.mounted.surface if match.mounted else self._router.fallback
        told.surface, told.route = surface.name, match.endpoint.template if match.endpoint else "-"
        if self._tracer is not None:
            told.span = self._tracer.begin(request.method, told.surface, told.route, told.traceparent)
            if told.span is not None:
                told.trace_id = told.span.trace_id
        head = Head(
            request.method,
            match.path,
            read_query(query),
            request.headers,
            told.address,
            peer,
            told.request_id,
            told.trace_id,
        )
        if host is None or (request.version < HttpVersion11 and _CODING in request.headers):
            return await self._send(request, surface.refuse(BadRequest("framing"), head), told, surface.vary)
        if match.endpoint is None:
            return await self._send(request, surface.refuse(UnknownRoute(), head), told, surface.vary)
        reply, page = self._without_walk(request, match.endpoint, head), match.endpoint.page
        if reply is None and page is not None:
            reply = await page_reply(page, surface, head)
        if reply is not None:
            return await self._send(request, reply, told, None if page else surface.vary)
        return await self._walk(request, match.endpoint, head, told, ongoing)

    def _without_walk(self, request: web.BaseRequest, endpoint: Endpoint, head: Head) -> Reply | None:
        """The answer to what needs neither route nor page; None: it is for one of them."""
        surface = endpoint.mounted.surface
        if request.method == "OPTIONS":
            return self._options(request, endpoint)
        if request.method not in endpoint.methods:
            return surface.refuse(MethodNotAllowed(endpoint.allow), head)
        return None

    async def _walk(
        self, request: web.BaseRequest, endpoint: Endpoint, head: Head, told: Told, ongoing: Ongoing | None
    ) -> web.StreamResponse:
        """The one path, and what becomes of the draft on each way out of it."""
        surface, route = endpoint.mounted.surface, endpoint.routes[head.method]
        draft = Draft.begin(surface.name, method_of(route, head), head)
        if ongoing is not None:
            draft.go_on(ongoing.event, ongoing.occurred_at, ongoing.durable, ongoing.of)
        begun = asyncio.get_running_loop().time()
        try:
            body = partial(self._with_body, request) if head.method in _WITH_BODY else None
            answer = await self._access.serve(surface, route, endpoint.mounted.base, draft, body)
        except (ConnectionError, asyncio.CancelledError) as error:
            self._access.abandoned(draft, ending=_ending(request, error))
            raise
        except Refusal as refusal:
            reply = await self._refused(surface, refusal, draft, told)
        except Exception:
            log.exception("defect", request_id=head.request_id, surface=surface.name, route=told.route)
            reply = await self._refused(surface, Internal(), draft, told)
        else:
            if answer.source is None:
                return await self._send(request, answer.reply, told, surface.vary)
            return await self._deliver(request, answer, draft, told, surface, route)
        if route.even_s:
            await until_multiple(route.even_s, begun)
        return await self._send(request, reply, told, surface.vary)

    async def _deliver(
        self, request: web.BaseRequest, answer: Answer, draft: Draft, told: Told, surface: Surface, route: Route
    ) -> web.StreamResponse:
        assert answer.source is not None and answer.plan is not None
        came, settings = Delivery(), self._settings
        try:
            fields = self._fields(request, answer.reply.headers, told, surface.vary)
            head, answered = self._head(request, answer.reply.status, fields)
            await deliver(
                request,
                head,
                answer.source,
                answer.plan.length,
                came,
                stall_s=settings.write_stall_s,
                zero_copy=settings.zero_copy,
            )
        finally:
            told.status, told.sent, told.began = answer.reply.status, answer.object_bytes(came.sent), came.began
            told.result, told.reason = came.result, came.reason
            self._access.delivered(draft, told.status, came.result, told.sent, came.reason)
            if came.detail is not None:
                log.warning("aborted", reason=came.reason, detail=came.detail, request_id=told.request_id)
            await answer.close()
        if self._repeats is not None and answered.keep_alive and answer.reply.status == HTTPStatus.PARTIAL_CONTENT:
            self._learn(request, draft, told, surface, route, fields)
        return answered

    def _learn(
        self,
        request: web.BaseRequest,
        draft: Draft,
        told: Told,
        surface: Surface,
        route: Route,
        fields: Mapping[str, str],
    ) -> None:
        connection = request.protocol
        if (
            self._repeats is not None
            and isinstance(connection, Connection)
            and connection.raw is not None
            and request.version == HttpVersion11
            and request.method == "GET"
        ):
            self._repeats.learn(connection.raw, connection.peer, surface, route, told.route, draft, fields)

    async def _refused(self, surface: Surface, refusal: Refusal, draft: Draft, told: Told) -> Reply:
        """The refusal worded, once its event is closed."""
        reply = surface.refuse(refusal, draft.head)
        try:
            await self._access.refused(draft, reply.status, refusal)
        except Refusal as worse:
            refusal, reply = worse, surface.refuse(worse, draft.head)
        told.result, told.reason = Result.REFUSED, refusal.reason
        if reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR and not refusal.repeated:
            log.warning("refused", reason=refusal.reason, detail=refusal.detail, request_id=told.request_id)
        return reply

    async def _send(self, request: web.BaseRequest, reply: Reply, told: Told, vary: str | None) -> web.StreamResponse:
        """An answer whose whole body is here."""
        told.status = reply.status
        fields = self._fields(request, reply.headers, told, vary)
        body = reply.body or b""
        if reply.body is not None or (request.method != "HEAD" and reply.status not in _BODILESS):
            fields["Content-Length"] = str(len(body))
        head, answered = self._head(request, reply.status, fields)
        await deliver_whole(
            request, head, b"" if request.method == "HEAD" else body, stall_s=self._settings.write_stall_s
        )
        return answered

    async def _with_body(self, request: web.BaseRequest, head: Head) -> Head:
        if (request.content_length or 0) > self._settings.max_body_bytes:
            raise TooLarge(most=self._settings.max_body_bytes)  # by its own word: it need not come first
        if request.body_exists and not _UNCODED.issuperset(map(str.strip, _codings(request))):
            raise CodedBody
        if request.headers.get(_CODING, _CHUNKED).strip().lower() != _CHUNKED:
            raise BadRequest("a transfer coding beside chunked")  # of which the parser undoes the chunks alone
        if _awaits_word(request) and request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            async with asyncio.timeout(self._settings.header_timeout_s):
                body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            raise TooLarge(most=self._settings.max_body_bytes) from None
        except TimeoutError:
            raise BadRequest("the body did not come in time") from None
        except (web.RequestPayloadError, ValueError):
            raise BadRequest("the body could not be read") from None
        return replace(head, body=body)

    def _options(self, request: web.BaseRequest, endpoint: Endpoint) -> Reply:
        origin = request.headers.get(_ORIGIN)
        fields = preflight_headers(self._cors.origins, origin, methods=endpoint.methods, max_age_s=self._cors.max_age_s)
        return Reply(204, fields | {"Allow": endpoint.allow, "Cache-Control": "no-store"})

    def _fields(self, request: web.BaseRequest, own: Mapping[str, str], told: Told, vary: str | None) -> dict[str, str]:
        fields = {**own, **response_headers(self._cors.origins, request.headers.get(_ORIGIN))}
        if vary:
            fields["Vary"] += ", " + vary
        fields["X-Request-Id"] = told.request_id
        fields["Server"] = SERVER
        return fields

    def _head(self, request: web.BaseRequest, status: int, fields: Mapping[str, str]) -> tuple[bytes, Answered]:
        keep = request.keep_alive and status not in _CLOSING and not self._lifecycle.draining
        if not request.content.is_eof() and _awaits_word(request):
            keep = False  # answered unasked, it may send its body or not: what comes next could be either
        minor = 1 if request.version >= HttpVersion11 else 0
        return response_head(status, fields, keep_alive=keep, minor=minor), Answered(keep_alive=keep)


def _begun_already(request: web.BaseRequest) -> Ongoing | None:
    """What was begun of it before it came here."""
    return request.protocol.take_over() if isinstance(request.protocol, Connection) else None


def _ending(request: web.BaseRequest, error: BaseException) -> bool:
    """Whether it was this process that ended the request, because it ends itself, and not the client."""
    return isinstance(error, asyncio.CancelledError) and not lost(request)


def _codings(request: web.BaseRequest) -> list[str]:
    return ",".join(request.headers.getall(_CONTENT_CODING, ())).lower().split(",")


def _awaits_word(request: web.BaseRequest) -> bool:
    """Whether the client keeps its body back until it is told to go on (RFC 9110 section 10.1.1)."""
    return request.version >= HttpVersion11 and request.headers.get("Expect", "").lower() == "100-continue"


def _aim(request: web.BaseRequest) -> tuple[str | None, str, str]:
    """As ``read_target``; what is not HTTP/1 is aimed nowhere."""
    if isinstance(request.protocol, Connection) and request.protocol.foreign:
        return NOWHERE
    hosts = request.headers.getall(_HOST, ())
    return read_target(request.raw_path, hosts, http_1_0=request.version < HttpVersion11)
