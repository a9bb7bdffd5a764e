"""The tables of the file that have no module of their own. Every key's ``description`` gives its unit and its reason."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator

from .forms import (
    MOST,
    BaseUrl,
    BufferBytes,
    Bytes,
    Count,
    CountsUrl,
    Days,
    Delay,
    Folder,
    Host,
    Milliseconds,
    MountHost,
    Network,
    Port,
    PostgresUrl,
    Rate,
    Seconds,
    Section,
    Workers,
    is_origin,
    strong,
)

SURFACES = ("native", "yotel", "agentphone", "callsid", "voki", "envoy")
"""The surfaces that can be mounted."""

_STEP = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._~!$&'()*+,;=:@%-]+")
"""A path segment as clients send it; with other characters no request would find the mount."""


class Server(Section):
    """The listener towards clients."""

    host: Host = Field("127.0.0.1", description="address to bind; loopback unless you say otherwise")
    port: Port = Field(8080, description="TCP port; 0 takes a free one")
    public_url: BaseUrl | None = Field(
        None,
        description="base of every link the gateway emits, as clients reach it; a request's own Host is never used."
        " Unset: http://host:port",
    )
    trusted_proxies: tuple[Network, ...] = Field(
        (),
        description="networks whose X-Forwarded-For, X-Request-Id and traceparent are believed; none unless you say so",
    )
    backlog: Count = Field(1024, le=MOST, description="connections the kernel queues before accept")
    header_timeout_s: Seconds = Field(10, description="seconds a client has to send a whole request head")
    keepalive_s: Seconds = Field(75, description="seconds an idle connection is kept; longer than the proxy's in front")
    write_stall_s: Seconds = Field(60, description="seconds a client may take no byte at all before it is cut off")
    max_header_bytes: Bytes = Field(
        16_384, description="bytes of one header line, or of the request line; a whole head may have four times as many"
    )
    max_body_bytes: Bytes = Field(1_048_576, description="bytes of a request body")
    send_buffer_bytes: BufferBytes = Field(
        131_072,
        description="bytes on their way to one client that the kernel may hold; 0 lets it choose, up to megabytes per slow client",
    )
    drain_delay_s: Delay = Field(
        5, description="seconds between failing readiness and closing the listener, for balancers to notice"
    )
    drain_s: Seconds = Field(60, description="seconds that downloads in flight get to complete at shutdown")
    flush_s: Seconds = Field(
        10, description="seconds the audit gets to reach Postgres at shutdown; the rest stays journalled"
    )
    zero_copy: bool = Field(
        True,
        description="whether the kernel moves bodies from socket to socket where it can; false: always through this process,"
        " which is slower but otherwise the same",
    )
    repeats: bool = Field(
        True,
        description="whether a request that differs from one before in its Range alone takes a shorter way to the same answer;"
        " false: each takes the whole",
    )
    workers: Workers = Field(
        1,
        description="processes that share the port, each with its own journal; auto: one for each CPU that may be used",
    )


class Mount(Section):
    """Where one surface stands: by host, by path prefix, or both."""

    surface: str = Field(description="one of: " + ", ".join(SURFACES))
    prefix: str = Field("/", description="path prefix, / for the root")
    host: MountHost | None = Field(
        None, description="host name this mount answers on; unset: any host that no other mount names"
    )
    public_url: BaseUrl | None = Field(
        None, description="base of the links this mount emits; unset: server.public_url and the prefix"
    )
    ranges: bool | None = Field(
        None, description="whether its downloads take Range; unset: as the surface's contract says (callsid: no)"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.surface not in SURFACES:
            raise ValueError(f"surface: no surface is called {self.surface!r}; there are {', '.join(SURFACES)}")
        steps = self.prefix.removesuffix("/").split("/")[1:]
        if not self.prefix.startswith("/") or any(_STEP.fullmatch(step) is None for step in steps):
            raise ValueError(f"prefix {self.prefix!r} must start with one slash and hold plain segments")
        return self


def default_mounts() -> tuple[Mount, ...]:
    named = [name for name in SURFACES if name != "native"]
    return (
        Mount(surface="native"),
        *(Mount(surface=name, prefix=f"/{name}") for name in named),
        *(Mount(surface=name, host=f"{name}.localhost") for name in named),
    )


class Database(Section):
    """Postgres: the catalog and the audit's last home."""

    url: PostgresUrl = Field(
        SecretStr("postgresql:///recording_gateway"), description="postgresql:// URL the service connects with"
    )
    migrate_url: PostgresUrl | None = Field(
        None, description="URL of the owner that migrations run as; unset: url. Keep the two apart in production"
    )
    role: str | None = Field(
        "recording_gateway",
        min_length=1,
        description="role that every service connection takes on, made by the migrations: it can append to the audit"
        " but not change it; unset: the login's own",
    )
    pool_min: Count = Field(2, description="connections made at the start; any that is made is kept")
    pool_max: Count = Field(10, description="connections at most, per process")
    connect_s: Seconds = Field(3, description="seconds to connect before Postgres counts as away")
    query_s: Seconds = Field(3, description="seconds for one catalog query before Postgres counts as away")


class Catalog(Section):
    """The in-process cache of resolved ids and credentials."""

    cache_entries: Count = Field(100_000, description="call ids held in memory; about 2 KB each")
    cache_ttl_s: Seconds = Field(
        60, description="seconds an entry is believed without asking again; changes also come by NOTIFY"
    )
    stale_s: float = Field(
        600, ge=0, description="seconds that cached ids and credentials go on being served while Postgres is away"
    )
    key_cache_entries: Count = Field(10_000, description="API keys held in memory, and gateway links as many")


class Audit(Section):
    """The journal on this machine, and its way to Postgres."""

    journal_dir: Folder = Field(
        Path("/var/lib/recording-gateway/journal"), description="folder for journals, on a disk that survives a crash"
    )
    journal_bytes: Bytes = Field(
        1_073_741_824, description="bytes of journal not yet in Postgres, beyond which the answer is 503"
    )
    segment_bytes: Bytes = Field(
        16_777_216, description="bytes of one journal file; it is deleted once Postgres has all of it"
    )
    gather_ms: Milliseconds = Field(
        0,
        description="milliseconds a write to disk waits for more records to join it; 0: it takes those that are there",
    )
    commit_s: Seconds = Field(5, description="seconds a record may wait for the disk before the answer is 503")
    batch: Count = Field(
        8000,
        description="most records sent to Postgres at once; without a backlog no more than 200, with one 1000 at first, and"
        " more where such a shipment takes long",
    )
    ship_interval_ms: Milliseconds = Field(
        100, gt=0, description="milliseconds between shipments when there is little to ship"
    )
    retry_max_s: Seconds = Field(15, description="most seconds between tries while Postgres is away")
    adopt_interval_s: Seconds = Field(15, description="seconds between looks for journals of dead processes")
    partitions_ahead: Count = Field(3, le=120, description="months of partitions made ahead of need")
    session_idle_s: Seconds = Field(
        300, description="seconds of silence after which a listener's next request is another playback"
    )


class Limits(Section):
    """How much anybody may ask before the answer is 429."""

    url: CountsUrl = Field(
        SecretStr("memory://"),
        description="where counts are kept: memory:// counts for this process alone, redis://host:6379 for all replicas",
    )
    key: Rate | None = Field(None, description='requests of one key, link or user, as "600/minute"; unset: any number')
    tenant: Rate | None = Field(None, description="requests of one tenant; unset: any number")
    public: Rate | None = Field(
        "1200/minute",
        description="requests from one address (of IPv6: one /64) that need no credential; unset: any number",
    )
    failing: Rate | None = Field(
        "300/minute",
        description="requests with a bad credential from one address; beyond it only credentials that were proven lately"
        " are looked at; unset: any number",
    )
    wait_s: Seconds = Field(
        0.25, description="seconds that counting in Redis may take; after that this process counts alone for a while"
    )
    streams: Count = Field(
        2048, description="bodies under way at once, per process; beyond it the answer is 503 and no store is asked"
    )
    streams_per_tenant: Count | None = Field(
        None, description="of these, to one tenant; beyond it the answer is 429; unset: any number"
    )
    streams_per_address: Count | None = Field(
        None,
        description="of these, to one address (of IPv6: one /64); beyond it the answer is 429; unset: any number",
    )


class Pipeline(Section):
    """Which objects may be registered over the API and by storage notifications."""

    key_prefix: str = Field(
        "{tenant}/",
        description="what a key must begin with for a tenant to register it, {tenant} being its slug, so that nobody registers"
        ' another tenant\'s object; "" where every holder of recordings:write is trusted with every object',
    )
    key_pattern: str = Field(
        r"^(?P<tenant>[a-z0-9][a-z0-9_-]*)/(?P<surface>[a-z][a-z0-9_]*)/(?P<id>[A-Za-z0-9_.+-]+)\.[A-Za-z0-9]+$",
        description="how a key in a storage notification names its call, where no call has registered that key: a regular"
        " expression with the groups surface, id and, if need be, tenant",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        # A slug that goes on would begin with another tenant's prefix.
        if re.search(r"\{tenant\}([a-z0-9_-]|$)", self.key_prefix):
            raise ValueError('key_prefix: {tenant} must be followed by what no slug holds; write "{tenant}/"')
        if other := re.search(r"\{(?!tenant\})[^{}]*\}", self.key_prefix):
            raise ValueError(f"key_prefix: {other[0]} is filled in by nothing; write {{tenant}}")
        try:
            groups = re.compile(self.key_pattern).groupindex
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"key_pattern: no regular expression: {error}") from error
        if not {"surface", "id"} <= groups.keys():
            raise ValueError("key_pattern: lacks a group surface or id; write (?P<surface>…) and (?P<id>…)")
        return self


class Webhooks(Section):
    """Telling others of what has happened."""

    allow_networks: tuple[Network, ...] = Field(
        (),
        description="private, loopback or link-local networks where endpoints may be nevertheless; none unless you say so",
    )
    allow_http: bool = Field(False, description="whether endpoints may be plain http://")
    connect_s: Seconds = Field(5, description="seconds to connect to an endpoint")
    answer_s: Seconds = Field(15, description="seconds an endpoint has to answer")
    schedule_s: tuple[Seconds, ...] = Field(
        (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400),
        min_length=1,
        description="seconds before each further try; after the last the delivery is given up",
    )
    concurrency: Count = Field(40, le=MOST, description="deliveries under way at once, per process")
    per_endpoint: Count = Field(
        4,
        le=MOST,
        description="of these, to one endpoint; an endpoint whose last try failed gets one, and all such endpoints together half of all",
    )
    poll_s: Seconds = Field(5, description="seconds between looks for due deliveries; new ones are sent at once")
    max_endpoints: Count = Field(20, le=MOST, description="endpoints a tenant may have")
    overlap_s: Delay = Field(
        86_400,
        description="seconds for which the old secret also signs after a rotation, unless the rotation says otherwise",
    )
    secret_keys: tuple[SecretStr, ...] = Field(
        (),
        description="secrets that seal endpoints' secrets in Postgres, at least 32 bytes each: the first seals, all open,"
        " so that they can be rotated; none: endpoints' secrets rest in Postgres as they are",
    )
    keep_days: int = Field(  # a bound of Days would outdo the one here
        30,
        ge=7,
        le=100_000,
        description="days that events and the log of their deliveries are kept, unless one is still pending",
    )
    patience_days: Days | None = Field(
        7, description="days without a success after which an endpoint is switched off; unset: never"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not all(map(strong, self.secret_keys)):
            raise ValueError("secret_keys: each must have at least 32 bytes; `openssl rand -base64 48` makes one")
        return self


class Retention(Section):
    """Ending recordings past their retention, and deleting their objects. Each tenant has its own number of days."""

    sweep: bool = Field(
        True,
        description="whether this process takes part; of all that do, one at a time does the work. If no process does, run"
        " `recording-gateway retention` by a timer of your own",
    )
    interval_s: Seconds = Field(3600, description="seconds between sweeps, about; the first begins within a minute")
    batch: Count = Field(
        100,
        le=1000,
        description="recordings ended together: the events of all are in the journal before the first one ends",
    )


class Cors(Section):
    """Which web origins may read answers."""

    origins: tuple[str, ...] = Field(
        (), description='origins allowed, as "https://app.example.com"; "*" for any; none unless you say so'
    )
    max_age_s: int = Field(600, ge=0, description="seconds a preflight's answer is kept")

    @model_validator(mode="after")
    def _check(self) -> Self:
        for origin in self.origins:
            if origin != "*" and not is_origin(origin):
                raise ValueError(f'origins: {origin!r} is no origin; write "https://host" or "https://host:port"')
        return self
