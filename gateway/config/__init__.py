"""One TOML file plus environment overrides → one frozen Config, or a ConfigError that names the key and the fix.

The only reader of either. Every key's ``description`` gives its unit and its reason; ``config/defaults.toml`` is checked
against them. An environment variable ``RECORDING_GATEWAY__SERVER__PORT`` overrides ``[server] port``; a list or a
table is given as JSON, in which null unsets what has a default. ``RECORDING_GATEWAY_CONFIG`` names the file.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError

from .environment import ENV_PREFIX, sourced
from .identity import Identity, Issuer, Keys
from .sections import (
    SURFACES,
    Audit,
    Catalog,
    Cors,
    Database,
    Limits,
    Mount,
    Pipeline,
    Retention,
    Server,
    Webhooks,
    default_mounts,
)
from .stores import AnyStore, DiskStore, GcsStore, Origin, S3Store
from .telemetry import Log, Metrics, Tracing

__all__ = [
    "ENV_FILE",
    "ENV_PREFIX",
    "SURFACES",
    "AnyStore",
    "Audit",
    "Catalog",
    "Config",
    "ConfigError",
    "Cors",
    "Database",
    "DiskStore",
    "GcsStore",
    "Identity",
    "Issuer",
    "Keys",
    "Limits",
    "Log",
    "Metrics",
    "Mount",
    "Origin",
    "Pipeline",
    "Retention",
    "S3Store",
    "Server",
    "Tracing",
    "Webhooks",
    "load",
]

ENV_FILE = "RECORDING_GATEWAY_CONFIG"
LEAST_JOURNAL = 65_536
"""Of ``audit.journal_bytes``: one access may take 4096, and some are under way."""
_EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104  only compared with
_TABLES = frozenset({"mounts", "issuers"})
_OWN_KEY = re.compile(r"[a-z0-9_.]+: ")


class ConfigError(Exception):
    """The configuration is refused. ``problems`` are lines of ``key: what is wrong, and what to do``.

    What the environment has set is told with the name of its variable.
    """

    def __init__(self, problems: list[str]) -> None:
        self.problems = [sourced(problem) for problem in problems]
        super().__init__("\n".join(self.problems))


class Unbindable(ConfigError):
    """What is configured cannot be listened on at present; it may be free in a moment."""


class Config(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=ENV_PREFIX, env_nested_delimiter="__", hide_input_in_errors=True
    )

    server: Server = Server()
    mounts: tuple[Mount, ...] = Field(default_factory=default_mounts, min_length=1)
    database: Database = Database()
    catalog: Catalog = Catalog()
    stores: Mapping[str, AnyStore] = Field({}, description="named stores; several at once")
    origin: Origin = Origin()
    audit: Audit = Audit()
    identity: Identity = Identity()
    limits: Limits = Limits()
    pipeline: Pipeline = Pipeline()
    webhooks: Webhooks = Webhooks()
    retention: Retention = Retention()
    cors: Cors = Cors()
    log: Log = Log()
    metrics: Metrics = Metrics()
    tracing: Tracing = Tracing()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  the signature is the library's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  likewise
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  likewise
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.audit.journal_bytes < LEAST_JOURNAL:
            raise ValueError(
                f"audit.journal_bytes: less than {LEAST_JOURNAL}, where few accesses have room; make it larger"
            )
        if self.audit.segment_bytes > self.audit.journal_bytes:
            raise ValueError("audit.segment_bytes: larger than audit.journal_bytes; make it smaller")
        if self.database.pool_min > self.database.pool_max:
            raise ValueError("database.pool_min: larger than database.pool_max; make it smaller")
        hosts = {self.server.host, self.metrics.host}
        if self.metrics.port and self.metrics.port == self.server.port and (len(hosts) == 1 or hosts & _EVERYWHERE):
            raise ValueError(f"metrics.port: {self.metrics.port} is server.port; give another")
        return self

    @property
    def own_url(self) -> str:
        """Where this process itself answers."""
        return f"http://{_literal(self.server.host)}:{self.server.port}"

    def listening_on(self, port: int) -> Self:
        """The same, with the port that was really bound."""
        return self.model_copy(update={"server": self.server.model_copy(update={"port": port})})

    def public_url(self, mount: Mount) -> str:
        """The base of what ``mount`` emits, without a slash at its end."""
        if mount.public_url is not None:
            return mount.public_url
        base = self.server.public_url or self.own_url
        if mount.host is not None:
            parts = urlsplit(base)
            port = f":{parts.port}" if parts.port else ""
            base = f"{parts.scheme}://{mount.host}{port}{parts.path}"
        return base + mount.prefix.rstrip("/")


def _literal(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def load(path: Path | None = None, *, overrides: Mapping[str, Any] | None = None) -> Config:
    """Reads the file (``path``, else ``$RECORDING_GATEWAY_CONFIG``, else none) and the environment. Raises ConfigError."""
    named = path or (Path(os.environ[ENV_FILE]) if os.environ.get(ENV_FILE) else None)
    values: dict[str, Any] = {}
    if named is not None:
        try:
            values = tomllib.loads(named.read_text("utf-8-sig"))
        except OSError as error:
            raise ConfigError(
                [f"{named}: cannot be read ({error.strerror}); check the path and its permissions"]
            ) from error
        except (ValueError, RecursionError) as error:  # a number or a nesting beyond all measure is no TOMLDecodeError
            raise ConfigError([f"{named}: not valid TOML: {error}"]) from error
    for section, table in (overrides or {}).items():
        values[section] = {**values.get(section, {}), **table} if isinstance(table, Mapping) else table
    _refuse_unknown_environment()
    try:
        return Config(**values)
    except ValidationError as error:
        raise ConfigError(_problems([dict(e) for e in error.errors()])) from error
    except SettingsError as error:
        problems = [f"{name}: not JSON; a list or a table is given as JSON" for name in _no_json()]
        raise ConfigError(problems or [f"environment: {error}"]) from None


def _no_json() -> list[str]:
    """The variables that the library cannot read, each tried by itself: it names no more than their section."""
    found = []
    for name, value in os.environ.items():
        if name.upper().startswith(ENV_PREFIX):
            source = EnvSettingsSource(Config)
            source.env_vars = {name.lower(): value}
            try:
                source()
            except SettingsError:
                found.append(name)
    return found


def _refuse_unknown_environment() -> None:
    """pydantic-settings passes over unknown top-level sections in the environment; a typo there is refused as well."""
    known = {name.upper() for name in Config.model_fields}
    near = ENV_PREFIX.removesuffix("_")
    problems = []
    for name in os.environ:
        section, between, _ = name.upper().removeprefix(ENV_PREFIX).removeprefix(near).partition("__")
        if name.upper().startswith(ENV_PREFIX):
            if section not in known:
                problems.append(
                    f"{name}: no such section; write {ENV_PREFIX}SECTION__KEY, of {', '.join(sorted(Config.model_fields))}"
                )
        elif name.upper().startswith(near) and between and section in known:  # others' variables have no __
            problems.append(f"{name}: sets nothing; write {ENV_PREFIX}{name[len(near) :]}")
    if problems:
        raise ConfigError(problems)


def _problems(errors: list[dict[str, Any]]) -> list[str]:
    """A list that has lost what is wrong in it is called too short as well: that alone is no problem."""

    def follows(error: dict[str, Any]) -> bool:
        within = error["loc"]
        return error["type"] == "too_short" and any(
            other["loc"][: len(within)] == within and len(other["loc"]) > len(within) for other in errors
        )

    return [_problem(error) for error in errors if not follows(error)]


def _problem(error: dict[str, Any]) -> str:
    steps = error["loc"]
    if steps[:1] == ("stores",):
        steps = steps[:2] + steps[3:]  # behind a store's name stands its kind
    path = ".".join(map(str, steps))
    message = str(error["msg"]).removeprefix("Value error, ")
    match error["type"]:
        case "extra_forbidden":
            message = "no such key; `recording-gateway config show --defaults` lists those there are"
        case "missing":
            message = "required; add it"
        case "union_tag_not_found" | "union_tag_invalid":
            message = 'kind must be "s3", "gcs" or "disk"'
        case "tuple_type":
            message = "give a list"
            if steps[-1] in _TABLES:
                message += f"; each of its tables begins with [[{path}]]"
        case "too_short":
            message = "give at least one"
        case "model_type" | "model_attributes_type" | "mapping_type" | "dict_type":
            message = "give a table"
    within = path and _OWN_KEY.match(message)  # found by looking at a whole table, whose words begin with the key in it
    return f"{path}{'.' if within else ': '}{message}" if path else message
