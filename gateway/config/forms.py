"""The forms that tables and values take, each with the words in which a wrong one is refused."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr


class Section(BaseModel):
    """A table of the file. Unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


Seconds = Annotated[float, Field(ge=0.001, le=2_000_000)]
"""Bounded as Postgres bounds its timeouts: milliseconds below 2**31, of which 0 would mean no timeout."""
Delay = Annotated[float, Field(ge=0, le=2_000_000)]
"""Seconds, 0 included."""
Milliseconds = Annotated[float, Field(ge=0, le=60_000)]
Count = Annotated[int, Field(ge=1)]
Bytes = Annotated[int, Field(ge=1, le=2**63 - 1)]
"""No file is larger."""
MOST = 2**31 - 1
"""The largest int that the kernel and Postgres take."""
BufferBytes = Annotated[int, Field(ge=0, le=MOST)]
Days = Annotated[int, Field(ge=1, le=100_000)]
"""As far back as Postgres can count."""
Port = Annotated[int, Field(ge=0, le=65535)]

_MAPPED = 96
"""Bits before an IPv4 address in an IPv6 one."""


def unmapped(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    """A network of IPv4-mapped IPv6 addresses as the IPv4 network it means: addresses are compared as IPv4."""
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is None:
        return network
    return IPv4Network((int(mapped), network.prefixlen - _MAPPED))


def _network(value: object) -> object:
    """One problem in our own words; a union would name two, by the library's insides."""
    if isinstance(value, str):
        try:
            return unmapped(ip_network(value))
        except ValueError:
            raise ValueError('give a network as "10.20.0.0/24" or "fd00::/8", with nothing behind its prefix') from None
    return value


def _workers(value: object) -> object:
    if value == "auto" or (str(value).isascii() and str(value).isdigit() and int(str(value)) > 0):
        return value
    raise ValueError('give "auto" or a number above 0')


Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)]
Workers = Annotated[Literal["auto"] | Count, BeforeValidator(_workers)]


SECRET_BYTES = 32
"""Least length of a secret that signs or seals."""


def strong(secret: SecretStr, least: int = SECRET_BYTES) -> bool:
    """Whether it is as long as it should be."""
    return len(secret.get_secret_value().encode()) >= least


def _is_host(text: str) -> bool:
    """Whether ``text`` can be looked up. What cannot raises UnicodeError in the resolver, where only OSError is expected."""
    try:
        text.encode("idna")
    except UnicodeError:
        return False
    return re.search(r"[\s\x00-\x1f\x7f]", text) is None


def _base_url(url: str) -> str:
    parts = urlsplit(url)
    if (
        parts.scheme not in {"http", "https"}
        or not parts.hostname
        or not _is_host(parts.hostname)
        or not _is_port(parts)
        or re.search(r"[\s\x00-\x1f\x7f]", url)
        or "@" in parts.netloc
        or parts.query
        or parts.fragment
    ):
        raise ValueError("give an absolute http or https URL without credentials, query, fragment or spaces")
    return url.rstrip("/")


def _is_port(parts: SplitResult) -> bool:
    try:
        return parts.port != 0
    except ValueError:
        return False


BaseUrl = Annotated[str, AfterValidator(_base_url)]


_ORIGIN = re.compile(r"https?://([a-z0-9_.-]+|\[[0-9a-f:.]+\])(:(?P<port>[0-9]{1,5}))?", re.IGNORECASE | re.ASCII)


def is_origin(text: str) -> bool:
    """Whether ``text`` is a web origin as browsers write it; letter case and a default port do not matter."""
    read = _ORIGIN.fullmatch(text)
    return read is not None and _is_number(read["port"] or "1")


_HOST = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^:\[\]]*)(:(?P<port>[0-9]{1,5}))?")


def _postgres_url(url: SecretStr) -> SecretStr:
    """Checked here because the driver's own message for a bad URL quotes parts of it, perhaps half a password."""
    try:
        parts = urlsplit(url.get_secret_value())
        query = parse_qs(parts.query, strict_parsing=True)
        hosts = [parts.netloc.rpartition("@")[2], *query.get("host", ())]
        places = [place for several in hosts if several for place in several.split(",")]
        ports = [port for several in query.get("port", ()) for port in several.split(",")]
        known = parts.scheme in {"postgresql", "postgres"} and "@" not in parts.path and not parts.fragment
        known = known and all(map(_is_place, places)) and all(map(_is_number, ports))
    except ValueError:
        known = False
    if not known:
        raise ValueError(
            "give postgresql://user:password@host:port/database, with %2F, %23, %3F, %40 for / # ? @ in it"
        )
    return url


def _is_place(text: str) -> bool:
    """Whether it is a host, or a socket's folder, with a port that there can be."""
    host = _HOST.fullmatch(text)
    if not text or host is None:
        return False
    name = unquote(host[1])
    return (name.startswith("/") or _is_host(name)) and _is_number(host["port"] or "1")


def _is_number(port: str) -> bool:
    return re.fullmatch("[0-9]{1,5}", port) is not None and int(port) in range(1, 65_536)


PostgresUrl = Annotated[SecretStr, AfterValidator(_postgres_url)]


def _mount_host(host: str) -> str:
    """In the form in which requests' hosts are compared: lower-case, no port, no dot at the end."""
    bare = host.lower().rstrip(".")
    if re.fullmatch(r"[a-z0-9_.-]+|\[[0-9a-f:.]+\]", bare) is None:
        raise ValueError("give a host name alone, without scheme, port or path")
    return bare


MountHost = Annotated[str, AfterValidator(_mount_host)]


def _folder(path: object) -> object:
    if path == "":
        raise ValueError('give a folder; "" would be the one that the service happens to be started in')
    return path


def _host(text: str) -> str:
    if not _is_host(text) or "/" in text or (":" in text and not _is_address(text)):
        raise ValueError("give an address or a host name, without port or brackets")
    return text


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


Host = Annotated[str, Field(min_length=1), AfterValidator(_host)]
"""Never empty: that would bind every address of the machine."""
Folder = Annotated[Path, BeforeValidator(_folder)]


def _rate(text: str) -> str:
    if re.fullmatch("[1-9][0-9]{0,8}/(second|minute|hour|day)", text) is None:
        raise ValueError('give a rate as "600/minute", or per second, hour or day')
    return text


Rate = Annotated[str, AfterValidator(_rate)]


def _counts_url(url: SecretStr) -> SecretStr:
    text = url.get_secret_value()
    try:
        parts = urlsplit(text)
        known = parts.scheme in {"redis", "rediss"} and parts.hostname is not None and _is_host(parts.hostname)
        shared = known and parts.port != 0 and re.fullmatch("(/[0-9]*)?", parts.path) is not None
    except ValueError:  # which would quote the password of a URL that lacks its host
        shared = False
    if not shared and text != "memory://":
        raise ValueError("give memory://, or redis://host:port/number (rediss:// for TLS) of a Redis or Valkey")
    return url


CountsUrl = Annotated[SecretStr, AfterValidator(_counts_url)]
