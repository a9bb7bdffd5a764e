"""The tables of the file that say what an operator is told."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .forms import BaseUrl, Host, Port, Section


class Log(Section):
    """What the operator reads."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="least level written: debug, info, warning or error"
    )
    format: Literal["json", "console"] = Field("json", description="json: one object a line; console: text for people")
    requests: bool = Field(True, description="one line per request; the audit is kept either way")


class Metrics(Section):
    """Figures for Prometheus, on a listener of their own."""

    host: Host = Field("127.0.0.1", description="address to bind; loopback unless you say otherwise")
    port: Port | None = Field(None, description="TCP port of /metrics, for all workers together; unset: none")


class Tracing(Section):
    """Traces, sent by OpenTelemetry. Needs the extra `tracing` installed."""

    endpoint: BaseUrl | None = Field(
        None,
        description="base URL of a collector that takes OTLP over HTTP, as http://localhost:4318; unset: no traces",
    )
    sample: float = Field(
        0.01,
        ge=0,
        le=1,
        description="share of requests that begin a trace; where a trusted proxy began one, its sampled flag decides",
    )
