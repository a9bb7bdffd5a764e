import asyncio
import re
import resource
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args, get_origin

import orjson
import pytest
from parts.collector import collecting
from parts.command import Command, ended, process
from pydantic import BaseModel

from gateway.cli import annotated, live
from gateway.config import Config, ConfigError, DiskStore, GcsStore, Issuer, Mount, S3Store, load
from gateway.http.forwarded import client_address
from gateway.mounting import router

CONFIG = Path(__file__).parents[2] / "config"
INF = float("inf")
ISSUER = {"issuer": "i", "audience": "a", "jwks_url": "https://i.example"}
ISSUER_OF_A_FILE = {"issuer": "i", "audience": "a", "public_key_file": "/nowhere/a.pem"}
SHARED = {"issuer": "i", "audience": "a", "secret": "x" * 47}
SECRETS = {
    "RECORDING_GATEWAY__DATABASE__URL": "postgresql://app:hunter2@db.example/rg",
    "RECORDING_GATEWAY__DATABASE__MIGRATE_URL": "postgresql://owner@db.example/rg?password=hunter2",
    "RECORDING_GATEWAY__IDENTITY__LINK_KEYS": '["hunter2-hunter2-hunter2-hunter2-hunter2"]',
    "RECORDING_GATEWAY__STORES": (
        '{"s": {"kind": "s3", "bucket": "calls", "access_key_id": "hunter2id", "secret_access_key": "hunter2"}}'
    ),
    "RECORDING_GATEWAY__IDENTITY__ISSUERS": (
        '[{"issuer": "i", "audience": "a", "algorithms": ["HS256"], "secret": "hunter2-hunter2-hunter2-hunter2-h"}]'
    ),
}


def test_defaults_toml_is_what_the_code_says():
    assert (CONFIG / "defaults.toml").read_text() == annotated.defaults(), (
        "run `recording-gateway config show --defaults > config/defaults.toml`"
    )


def test_defaults_toml_changes_nothing():
    assert load(CONFIG / "defaults.toml") == Config()


def test_defaults_toml_holds_every_key():
    text = (CONFIG / "defaults.toml").read_text()
    for model in sections():
        for name in model.model_fields:
            assert re.search(rf"^(#?{name} =|#?\[+(\w+\.)*{name}[.\]])", text, re.MULTILINE), f"{model.__name__}.{name}"


def test_every_key_says_what_it_is_for_and_its_unit():
    units = {"_s": "second", "_ms": "millisecond", "_bytes": "byte", "_days": "day"}
    for model in sections():
        for name, info in model.model_fields.items():
            if isinstance(info.default, BaseModel) or name in {"kind", "mounts"}:
                continue
            assert info.description, f"{model.__name__}.{name} has no description"
            for suffix, unit in units.items():
                if name.endswith(suffix):
                    assert unit in info.description, f"{model.__name__}.{name} does not say {unit}s"


def test_a_key_that_takes_one_of_some_words_names_them():
    for model in sections():
        for name, info in model.model_fields.items():
            if name != "kind" and get_origin(info.annotation) is Literal:
                for word in get_args(info.annotation):
                    assert re.search(rf"\b{word}\b", info.description), f"{model.__name__}.{name} does not say {word}"


def sections() -> Iterator[type[BaseModel]]:
    yield from (S3Store, GcsStore, DiskStore, Issuer, Mount)
    waiting: list[type[BaseModel]] = [Config]
    while waiting:
        model = waiting.pop()
        yield model
        waiting += [type(info.default) for info in model.model_fields.values() if isinstance(info.default, BaseModel)]


def test_the_production_example_is_accepted_as_it_stands(tmp_path):
    command = Command(tmp_path, tomllib.loads((CONFIG / "production.toml").read_text()))
    done = command("config", "check")
    assert done.code == 0, done.err
    assert "https://yotel.recordings.example.com/" in done.err
    assert "configuration: ok" in done.err


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"server": {"prot": 1}}, "server.prot: no such key"),
        ({"sever": {}}, "sever: no such key"),
        ({"server": {"port": 70000}}, "server.port"),
        ({"server": {"public_url": "example.com"}}, "server.public_url: give an absolute http or https URL"),
        (
            {"server": {"public_url": "https://example.com:99999"}},
            "server.public_url: give an absolute http or https URL",
        ),
        ({"server": {"public_url": "https://example.com:0"}}, "server.public_url: give an absolute http or https URL"),
        ({"server": {"public_url": "https://example.com:x"}}, "server.public_url: give an absolute http or https URL"),
        (
            {"server": {"public_url": "https://a:b@example.com"}},
            "server.public_url: give an absolute http or https URL",
        ),
        ({"server": {"public_url": "https://example.com/?a"}}, "server.public_url: give an absolute http or https URL"),
        ({"server": {"public_url": "https://example.com/#a"}}, "server.public_url: give an absolute http or https URL"),
        ({"server": {"public_url": "https://exa mple.com"}}, "server.public_url: give an absolute http or https URL"),
        (
            {"stores": {"a": {"kind": "s3", "bucket": "abc", "endpoint": "http://s3.example:99999"}}},
            "stores.a.endpoint: give an absolute http or https URL",
        ),
        ({"server": {"trusted_proxies": ["10.0.0.1/24"]}}, "\n  server.trusted_proxies.0: give a network as"),
        ({"webhooks": {"allow_networks": ["proxy"]}}, "\n  webhooks.allow_networks.0: give a network as"),
        ({"server": {"workers": 0}}, '\n  server.workers: give "auto" or a number above 0\n'),
        ({"server": {"workers": "many"}}, '\n  server.workers: give "auto" or a number above 0\n'),
        ({"server": {"host": ""}}, "server.host: "),
        ({"metrics": {"host": ""}}, "metrics.host: "),
        ({"server": {"host": "a..b"}}, "server.host: give an address or a host name"),
        ({"metrics": {"host": "a\0b", "port": 0}}, "metrics.host: give an address or a host name"),
        ({"metrics": {"host": "a" * 64, "port": 0}}, "metrics.host: give an address or a host name"),
        *(
            ({section: {"host": host, "port": 0}}, f"\n  {section}.host: give an address or a host name, without")
            for section in ("server", "metrics")
            for host in ("[::1]", "127.0.0.1:8080", "unix:/run/gateway.sock", "/run/gateway.sock")
        ),
        ({"tracing": {"endpoint": "http://a..b:4318"}}, "tracing.endpoint: give an absolute http or https URL"),
        *(
            ({"database": {"url": f"postgresql://u:hunter2@{rest}"}}, "database.url: give postgresql://")
            for rest in (
                "a,b..c/d",
                "a,,b/d",
                "/d?host=a..b",
                "/d?host=a,",
                "/d?host=a:b",
                "/d?port=1,",
                "/d?host=127.0.0.1&port=65536",
                "a/d?sslmode",
            )
        ),
        ({"limits": {"url": "redis://:hunter2@a..b:6379"}}, "limits.url: give memory://, or redis://"),
        ({"audit": {"journal_dir": ""}}, "audit.journal_dir: give a folder"),
        ({"audit": {"partitions_ahead": 121}}, "\n  audit.partitions_ahead: Input should be less than"),
        ({"audit": {"journal_bytes": 2**63}}, "\n  audit.journal_bytes: Input should be less than"),
        ({"database": {"query_s": 2_200_000}}, "database.query_s: Input should be less than or equal to 2000000"),
        ({"database": {"role": ""}}, "\n  database.role: String should have at least 1 character"),
        ({"server": {"drain_delay_s": INF}}, "\n  server.drain_delay_s: Input should be less than"),
        ({"audit": {"gather_ms": INF}}, "\n  audit.gather_ms: Input should be less than"),
        ({"audit": {"ship_interval_ms": 1e9}}, "\n  audit.ship_interval_ms: Input should be less than"),
        ({"webhooks": {"overlap_s": 1e18}}, "\n  webhooks.overlap_s: Input should be less than"),
        ({"webhooks": {"keep_days": 10**9}}, "\n  webhooks.keep_days: Input should be less than"),
        ({"webhooks": {"patience_days": 10**9}}, "\n  webhooks.patience_days: Input should be less than"),
        ({"webhooks": {"concurrency": 2**31}}, "\n  webhooks.concurrency: Input should be less than"),
        ({"webhooks": {"per_endpoint": 2**31}}, "\n  webhooks.per_endpoint: Input should be less than"),
        ({"webhooks": {"max_endpoints": 2**31}}, "\n  webhooks.max_endpoints: Input should be less than"),
        ({"server": {"backlog": 2**31}}, "\n  server.backlog: Input should be less than"),
        ({"server": {"send_buffer_bytes": 2**31}}, "\n  server.send_buffer_bytes: Input should be less than"),
        ({"origin": {"receive_buffer_bytes": 2**31}}, "\n  origin.receive_buffer_bytes: Input should be less than"),
        ({"stores": {"a": {"kind": "disk", "root": ""}}}, "stores.a.root: give a folder"),
        ({"mounts": [{"surface": "native", "host": "https://a.example"}]}, "mounts.0.host: give a host name alone"),
        ({"mounts": [{"surface": "native", "host": "a.example:8080"}]}, "mounts.0.host: give a host name alone"),
        ({"mounts": [{"surface": "native", "host": ""}]}, "mounts.0.host: give a host name alone"),
        ({"mounts": [{"surface": "native", "prefix": "/a b"}]}, "mounts.0: prefix '/a b' must start with one slash"),
        ({"mounts": [{"surface": "native", "prefix": "/a?b"}]}, "mounts.0: prefix '/a?b' must start with one slash"),
        ({"mounts": [{"surface": "native", "prefix": "/a/../b"}]}, "mounts.0: prefix '/a/../b' must"),
        ({"mounts": [{"surface": "native", "prefix": "//"}]}, "mounts.0: prefix '//' must start with one slash"),
        (
            {"mounts": [{"surface": "native", "host": "A.example"}, {"surface": "native", "host": "a.example."}]},
            "mounts: native at a.example/ and native at a.example/ both claim",
        ),
        ({"stores": {"a": {"kind": "ftp"}}}, 'stores.a: kind must be "s3", "gcs" or "disk"'),
        ({"stores": {"a": {"kind": "s3"}}}, "stores.a.bucket: required"),
        ({"stores": {"s3": {"kind": "s3"}}}, "stores.s3.bucket: required"),
        ({"stores": {"disk": {"kind": "ftp"}}}, 'stores.disk: kind must be "s3", "gcs" or "disk"'),
        (
            {"stores": {"a": {"kind": "s3", "bucket": "abc", "endpoint": "http://my_minio:9000"}}},
            "stores.a.endpoint: AWS' library takes no host name but",
        ),
        (
            {"stores": {"a": {"kind": "s3", "bucket": "abc", "public_endpoint": "http://-a.example"}}},
            "stores.a.public_endpoint: AWS' library takes no host name but",
        ),
        (
            {"stores": {"a": {"kind": "s3", "bucket": "abc", "access_key_id": "x"}}},
            "access_key_id and secret_access_key go together",
        ),
        (
            {"stores": {"a": {"kind": "s3", "bucket": "abc", "secret_access_key": "x"}}},
            "access_key_id and secret_access_key go together",
        ),
        ({"mounts": [{"surface": "yotl"}]}, "mounts.0.surface: no surface is called 'yotl'; there are native, yotel"),
        (
            {"identity": {"roles": ["guest", "admin"]}, "mounts": [{"surface": "native"}, {"surface": "voki"}]},
            "identity.roles: voki asks for attendant, not in the list; add",
        ),
        (
            {"identity": {"issuers": [ISSUER | {"scopes": ["calls:read", "recordings:downlod"]}]}},
            "identity.issuers.0.scopes: no scope is called 'recordings:downlod'; there are calls:read, ",
        ),
        (
            {"pipeline": {"key_prefix": "{tenant}"}},
            "pipeline.key_prefix: {tenant} must be followed by what no slug holds",
        ),
        (
            {"pipeline": {"key_prefix": "{slug}/"}},
            "pipeline.key_prefix: {slug} is filled in by nothing; write {tenant}",
        ),
        (
            {
                "identity": {
                    "issuers": [
                        {"issuer": "i", "audience": "a", "jwks_url": "https://i.example", "roles": {"x": "manger"}}
                    ]
                }
            },
            "identity.issuers.0.roles: names manger, not listed in identity.roles",
        ),
        (
            {"identity": {"issuers": [ISSUER | {"jwks_refresh_s": 30}]}},
            "identity.issuers.0.jwks_refresh_s: smaller than jwks_min_interval_s",
        ),
        ({"pipeline": {"key_pattern": "(?P<surface>"}}, "pipeline.key_pattern: no regular expression"),
        ({"pipeline": {"key_pattern": "(?P<id>.*)"}}, "pipeline.key_pattern: lacks a group surface or id"),
        ({"pipeline": {"key_pattern": "(?P<surface>.*)"}}, "pipeline.key_pattern: lacks a group surface or id"),
        ({"identity": {"link_keys": ["x" * 32, "x" * 31]}}, "identity.link_keys: each must have at least 32 bytes"),
        ({"webhooks": {"secret_keys": ["x" * 32, "x" * 31]}}, "webhooks.secret_keys: each must have at least 32 bytes"),
        ({"webhooks": {"keep_days": 6}}, "webhooks.keep_days: Input should be greater than or equal to 7"),
        ({"database": {"pool_min": 11}}, "database.pool_min: larger than database.pool_max"),
        ({"database": {"connect_s": 0.0004}}, "database.connect_s: Input should be greater than or equal to 0.001"),
        *(
            ({"identity": {"issuers": [ISSUER | {"jwks_url": url}]}}, "identity.issuers.0.jwks_url: give an https URL")
            for url in ("http://i.example", "HTTP://10.0.0.7/keys", "http://127.0.0.1.i.example", "http://xlocalhost")
        ),
        (
            {"identity": {"issuers": [ISSUER | {"tenants_only": True}]}},
            "identity.issuers.0.tenants_only: refuses every token while tenants is empty",
        ),
        (
            {"identity": {"issuers": [ISSUER | {"public_key_file": "a.pem"}]}},
            "identity.issuers.0: give exactly one of jwks_url, public_key_file and secret",
        ),
        (
            {"identity": {"issuers": [ISSUER | {"algorithms": ["HS256"]}]}},
            "identity.issuers.0: HS algorithms go with secret, RS and ES with jwks_url",
        ),
        (
            {"identity": {"issuers": [SHARED | {"algorithms": ["RS256"]}]}},
            "identity.issuers.0: HS algorithms go with secret, RS and ES with jwks_url",
        ),
        (
            {"identity": {"issuers": [SHARED | {"algorithms": ["HS256", "RS256"]}]}},
            "identity.issuers.0: HS algorithms go with secret, RS and ES with jwks_url",
        ),
        (
            {"identity": {"issuers": [SHARED | {"algorithms": ["HS256", "HS384"]}]}},
            "identity.issuers.0: secret must have at least 48 bytes",
        ),
        (
            {"identity": {"issuers": [ISSUER, ISSUER | {"leeway_s": 1}]}},
            "identity.issuers: two of them share issuer and audience",
        ),
        ({"audit": {"journal_bytes": 65_535, "segment_bytes": 1}}, "audit.journal_bytes: less than 65536"),
        ({"audit": {"segment_bytes": 2_000_000_000}}, "audit.segment_bytes: larger than audit.journal_bytes"),
        ({"cors": {"origins": ["app.example.com"]}}, "cors.origins: 'app.example.com' is no origin"),
        ({"cors": {"origins": ["https://app.example.com?a"]}}, "is no origin"),
        ({"cors": {"origins": ["https://app.example.com#a"]}}, "is no origin"),
        ({"cors": {"origins": ["https://user@app.example.com"]}}, "is no origin"),
        ({"cors": {"origins": ["https://app.example.com:99999"]}}, "is no origin"),
        ({"cors": {"origins": ["https://app example.com"]}}, "is no origin"),
        (
            {"identity": {"roles": ["attendant", "manager", "attendant"]}},
            "identity.roles: twice in it: attendant; list each",
        ),
        ({"mounts": [{"surface": "native"}, {"surface": "native", "prefix": "/"}]}, "mounts: "),
        ({"cors": {"origins": ["*", "app.example"]}}, "cors.origins: 'app.example' is no origin"),
        *(
            (
                {"server": {"host": host, "port": 9000}, "metrics": {"port": 9000}},
                "metrics.port: 9000 is server.port; give another",
            )
            for host in ("127.0.0.1", "0.0.0.0", "::")  # noqa: S104  nothing is bound
        ),
        ({"audit": {"ship_interval_ms": 0}}, "audit.ship_interval_ms: Input should be greater than 0"),
        ({"retention": {"batch": 1001}}, "retention.batch: Input should be less than or equal to 1000"),
        ({"limits": {"public": "1200 per minute"}}, '\n  limits.public: give a rate as "600/minute", or per second,'),
        ({"identity": {"keys": {"prefixes": ["rg-live"]}}}, '\n  identity.keys.prefixes.0: give a prefix as "rg_live"'),
        ({"server": {"trusted_proxies": "10.0.0.0/8"}}, "\n  server.trusted_proxies: give a list\n"),
        ({"mounts": {"surface": "native"}}, "\n  mounts: give a list; each of its tables begins with [[mounts]]\n"),
        (
            {"identity": {"issuers": ISSUER}},
            "\n  identity.issuers: give a list; each of its tables begins with [[identity.issuers]]\n",
        ),
        ({"mounts": []}, "\n  mounts: give at least one\n"),
        ({"webhooks": {"schedule_s": []}}, "\n  webhooks.schedule_s: give at least one\n"),
        ({"limits": 5}, "\n  limits: give a table\n"),
        ({"stores": 5}, "\n  stores: give a table\n"),
        ({"identity": {"issuers": [ISSUER | {"roles": "admin"}]}}, "\n  identity.issuers.0.roles: give a table\n"),
        *(
            (
                {"stores": {"a": {"kind": "s3", "bucket": "abc", "region": region}}},
                "stores.a.region: give a region's name",
            )
            for region in ("Frank furt", "eu_central_1", "")
        ),
        *(
            (
                {"stores": {"a": {"kind": kind, "bucket": f"{kind}://abc/def"}}},
                "stores.a.bucket: give the bucket's name",
            )
            for kind in ("s3", "gcs")
        ),
    ],
)
def test_a_wrong_configuration_is_refused_by_its_key(tmp_path, settings, named):
    done = Command(tmp_path, settings)("config", "check")
    assert done.code == 78
    assert named in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    "settings",
    [
        {"database": {"pool_min": 7, "pool_max": 7}},
        {"audit": {"segment_bytes": 64_000_000, "journal_bytes": 64_000_000}},
        {"identity": {"issuers": [ISSUER | {"jwks_refresh_s": 60, "jwks_min_interval_s": 60}]}},
    ],
)
def test_what_may_not_be_larger_than_another_may_be_as_large(tmp_path, settings):
    assert load(Command(tmp_path, settings).file)


def test_an_issuer_may_have_several_audiences_and_an_audience_several_issuers(tmp_path):
    issuers = [ISSUER, ISSUER | {"audience": "another"}, ISSUER | {"issuer": "https://another.example"}]
    assert len(load(Command(tmp_path, {"identity": {"issuers": issuers}}).file).identity.issuers) == 3


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "[::1]", "localhost", "login.localhost:8080"])
def test_an_issuer_on_loopback_may_publish_its_keys_over_plain_http(tmp_path, host):
    command = Command(tmp_path, {"identity": {"issuers": [ISSUER | {"jwks_url": f"http://{host}/keys"}]}})
    (issuer,) = load(command.file).identity.issuers
    assert issuer.jwks_url == f"http://{host}/keys"


@pytest.mark.parametrize(
    "settings",
    [
        {"server": {"host": "::ffff:127.0.0.1"}, "metrics": {"host": "fe80::1%lo"}},
        {"tracing": {"endpoint": "http://otel_collector.:4318"}, "limits": {"url": "redis://my_redis:6379/1"}},
        {"database": {"url": f"postgresql://u@%2Fvar%2Frun%2F{'postgresql' * 6}/d"}},
        {"database": {"url": "postgresql://u@[::1]:5432,my_db:5433/d"}},
        {"database": {"url": "postgresql://u@/d?host=[::1],/run/postgresql&port=5432,5433"}},
        {"database": {"url": "postgresql://:5433/d?user=u"}},
        *(
            {"stores": {"a": {"kind": "s3", "bucket": "abc", "endpoint": f"http://{host}:9000"}}}
            for host in ("minio", "A-1.example.", "127.0.0.1", "[::1]")
        ),
    ],
)
def test_hosts_are_accepted_as_whoever_is_asked_takes_them(tmp_path, settings):
    done = Command(tmp_path, settings)("config", "check")
    assert done.code == 0, done.err


@pytest.mark.parametrize("leeway", ["inf", "1e12"])
def test_no_leeway_makes_tokens_good_for_ever(tmp_path, leeway):
    source = 'jwks_url = "https://i.example"'
    (tmp_path / "given.toml").write_text(
        f'[[identity.issuers]]\nissuer = "i"\naudience = "a"\n{source}\nleeway_s = {leeway}\n'
    )
    with pytest.raises(ConfigError, match=r"identity\.issuers\.0\.leeway_s: "):
        load(tmp_path / "given.toml")


def test_proxies_are_trusted_however_their_network_is_written(tmp_path):
    command = Command(tmp_path, {"server": {"trusted_proxies": ["::ffff:10.1.0.0/112"]}})
    trusted = load(command.file).server.trusted_proxies
    assert client_address("10.1.2.3", ["192.0.2.7"], trusted) == "192.0.2.7"
    assert client_address("10.2.2.3", ["192.0.2.7"], trusted) == "10.2.2.3"


def test_a_mount_is_found_by_its_host_however_that_is_written(tmp_path):
    command = Command(tmp_path, {"mounts": [{"surface": "native", "host": "Calls.Example.com."}]})
    found = router(load(command.file)).match("calls.example.com:8080", "/v1/recordings")
    assert found.mounted is not None
    assert found.endpoint is not None


@pytest.mark.parametrize(
    ("server", "mount", "url"),
    [
        ({}, {"prefix": "/calls/"}, "http://127.0.0.1:8080/calls"),
        ({"host": "::1"}, {}, "http://[::1]:8080"),
        ({"public_url": "https://a.example:8443/x/"}, {"host": "b.example"}, "https://b.example:8443/x"),
        ({"public_url": "https://a.example"}, {"host": "b.example", "prefix": "/y"}, "https://b.example/y"),
        (
            {"public_url": "https://a.example"},
            {"prefix": "/y", "public_url": "https://c.example/"},
            "https://c.example",
        ),
    ],
)
def test_a_mount_emits_links_to_where_clients_reach_it(server, mount, url):
    assert Config(server=server).public_url(Mount(surface="native", **mount)) == url


def test_every_problem_is_named_at_once(tmp_path):
    done = Command(tmp_path, {"server": {"port": -1, "x": 1}, "log": {"level": "loud"}})("config", "check")
    assert [part for part in ("server.port", "server.x", "log.level") if part not in done.err] == []


def test_a_list_is_not_called_empty_for_what_is_wrong_in_it(tmp_path):
    done = Command(tmp_path, {"mounts": [{"surface": "yotl"}], "identity": {"keys": {"prefixes": ["A"]}}})(
        "config", "check"
    )
    assert [line.split(":")[0] for line in done.err.splitlines()[1:]] == [
        *["  mounts.0.surface", "  identity.keys.prefixes.0"]
    ]


def test_a_file_that_is_not_there_is_refused_by_name(tmp_path):
    done = ended(process("--config", tmp_path / "none.toml", "config", "check"))
    assert (done.code, done.out) == (78, "")
    assert "none.toml" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("RECORDING_GATEWAY__SEVER__PORT", "no such section; write RECORDING_GATEWAY__SECTION__KEY, of audit, "),
        ("recording_gateway__sever__port", "no such section; "),
        ("RECORDING_GATEWAY__SERVER_PORT", "no such section; "),
        ("RECORDING_GATEWAY_SERVER__PORT", "sets nothing; write RECORDING_GATEWAY__SERVER__PORT"),
    ],
)
def test_a_variable_that_would_set_nothing_is_refused(tmp_path, monkeypatch, name, told):
    monkeypatch.setenv("RECORDING_GATEWAY_SERVICE_PORT", "1")  # as Kubernetes sets for a service of that name
    monkeypatch.setenv(name, "1")
    done = Command(tmp_path)("config", "check")
    assert (done.code, len(done.err.splitlines())) == (78, 2)
    assert f"  {name}: {told}" in done.err


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("IDENTITY__LINK_KEYS", "hunter2"),
        ("SERVER__TRUSTED_PROXIES", "10.0.0.0/8"),
        ("CORS__ORIGINS", "*"),
        ("DATABASE", "hunter2"),
        ("IDENTITY__ISSUERS", '{"secret": "hunter2'),
    ],
)
def test_a_variable_that_is_no_json_is_named_and_not_repeated(tmp_path, monkeypatch, name, value):
    monkeypatch.setenv("RECORDING_GATEWAY__SERVER__PORT", "0")
    monkeypatch.setenv(f"RECORDING_GATEWAY__{name}", value)
    done = Command(tmp_path)("config", "check")
    assert done.code == 78
    assert done.err.splitlines()[1:] == [f"  RECORDING_GATEWAY__{name}: not JSON; a list or a table is given as JSON"]


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("SERVER__PORT", "70000", "server.port: .* 65535 (set by {})"),
        ("server__port", "hunter2", "server.port: .* (set by {})"),
        ("SERVER__PROT", "1", "server.prot: no such key; .* (set by {})"),
        ("SERVER", '{"port": 70000}', "server.port: .* (set by {})"),
        ("SERVER", '{"backlog": 9}', "log.level: .*"),
        ("MOUNTS", '[{"surface": "yotl"}]', "mounts.0.surface: no surface .* (set by {})"),
        ("MOUNTS", '[{"prefix": "/a"}]', "mounts.0.surface: required; add it (set by {})"),
        ("STORES__CALL__SECRET_ACCESS_KEY", "hunter2", "stores.call: kind must be .* (set by {})"),
        ("METRICS__PORT", "8080", "metrics.port: 8080 is server.port; give another (set by {})"),
        ("IDENTITY__ROLES", '["guest"]', "identity.roles: voki asks for .* (set by {})"),
        ("DATABASE__URL", "hunter2", "database.url: give postgresql://.* (set by {})"),
    ],
)
def test_what_a_variable_has_set_is_refused_with_its_name(tmp_path, monkeypatch, name, value, told):
    monkeypatch.setenv(variable := f"RECORDING_GATEWAY__{name}", value)
    settings = {"server": {"header_timeout_s": 5}, "log": {"level": "loud"} if told.startswith("log") else {}}
    done = Command(tmp_path, settings)("config", "check")
    assert done.code == 78
    (said,) = done.err.splitlines()[1:]
    pattern = re.escape(told.format(variable)).replace(re.escape(".*"), ".*")
    assert re.fullmatch(f"  {pattern}", said), said
    assert ("hunter2" in said, said.endswith(")")) == (False, told.endswith(")"))


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_secrets_are_masked(tmp_path, monkeypatch, form):
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    done = Command(tmp_path)("config", "show", *form)
    assert done.code == 0
    assert "hunter2" not in done.out + done.err
    assert "app:**********@db.example" in done.out


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql:///rg", "postgresql:///rg"),
        ("postgresql://db:5432/rg", "postgresql://db:5432/rg"),
        ("postgresql://app@db/rg?host=/run", "postgresql://app@db/rg?host=/run"),
        ("postgresql://app:hunter2@db:5432/rg", "postgresql://app:**********@db:5432/rg"),
        ("postgresql://app:hunter2@x@db/rg", "**********"),
        ("postgresql://app:hunter2/x@db/rg", "**********"),
        ("postgresql://db/rg?user=app&password=hunter2", "**********"),
        ("postgresql://db/rg?user=app&sslPassword=hunter2", "**********"),
        ("hunter2", "**********"),
    ],
)
def test_of_a_url_all_but_the_password_is_shown(url, shown):
    told = annotated.plain(Config().database.model_copy(update={"url": secret(url), "migrate_url": secret(url)}))
    assert (told["url"], told["migrate_url"]) == (shown, shown)


@pytest.mark.parametrize("key", ["url", "migrate_url"])
@pytest.mark.parametrize(
    "url",
    [
        "",
        "mysql://app:hunter2@db/rg",
        "postgresql+asyncpg://app:hunter2@db/rg",
        "postgresql://app:hunter2/x@db/rg",
        "postgresql://app:1/hunter2@db/rg",
        "postgresql://app:1#hunter2@db/rg",
        "postgresql://app:x@db:hunter2/rg",
        "postgresql://app:hunter2@[db/rg",
        "postgresql://app:hunter2@db:99999/rg",
        "postgresql://app:hunter2@one:5432,two:0/rg",
    ],
)
def test_a_database_url_that_is_none_is_refused_by_its_key_and_not_repeated(tmp_path, key, url):
    done = Command(tmp_path, {"database": {key: url}})("config", "check")
    assert (done.code, f"database.{key}: give postgresql://" in done.err) == (78, True)
    assert "hunter2" not in done.err


@pytest.mark.parametrize(
    "url",
    [
        "postgresql:///rg",
        "postgres://app@/rg?host=/run/postgresql",
        "postgresql://app:x%2Fy%40@[::1]:5432/rg",
        "postgresql://app@one:5432,two/rg?target_session_attrs=read-write",
        "postgresql://app@%2Frun%2Fpostgresql/rg",
    ],
)
def test_a_database_url_that_drivers_take_is_taken(tmp_path, url):
    assert Command(tmp_path, {"database": {"url": url}})("config", "check").code == 0


@pytest.mark.parametrize(
    "words", [("serve",), ("config", "check", "--live"), ("tenants", "list"), ("audit", "list"), ("retention",)]
)
def test_a_certificate_of_the_database_that_is_not_there_is_named(tmp_path, monkeypatch, words):
    monkeypatch.setenv("HOME", str(tmp_path))
    url = "postgresql://app:hunter2@127.0.0.1:1/rg?sslmode=verify-full"  # wants ~/.postgresql/root.crt
    settings = {"server": {"port": 0}, "database": {"url": url}, "audit": {"journal_dir": str(tmp_path / "journal")}}
    done = Command(tmp_path, settings)(*words)
    assert (done.code, "database.url: " in done.err, "root.crt" in done.err) == (78, True, True)
    assert "hunter2" not in done.err


@pytest.mark.parametrize("name", ["sslrootcert", "sslcert", "sslkey"])
@pytest.mark.parametrize(
    "words", [("config", "check", "--live"), ("tenants", "list"), ("migrate",), ("migrate", "--check")]
)
def test_a_file_that_the_database_s_url_names_and_that_is_not_there_is_named(tmp_path, database, words, name):
    url = f"{database}{'&' if '?' in database else '?'}sslmode=verify-full&{name}=/nowhere/a.pem"
    done = Command(tmp_path, {"database": {"url": url}})(*words)
    assert (done.code, done.out) == (78, "")
    assert f"database.url: {name}=/nowhere/a.pem cannot be read" in done.err


def test_migrate_tells_a_uid_without_a_name_to_write_one(tmp_path, monkeypatch):
    def nameless() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr("getpass.getuser", nameless)
    monkeypatch.delenv("PGUSER", raising=False)
    urls = {"url": "postgresql://app@127.0.0.1:1/rg", "migrate_url": "postgresql://127.0.0.1:1/rg"}
    done = Command(tmp_path, {"database": urls})("migrate")
    assert (done.code, "database.migrate_url: names no user" in done.err) == (78, True)


@pytest.mark.parametrize(
    ("place", "named"),
    [
        ("/d?host=/nowhere/run", "'/nowhere/run'"),
        ("%2Fnowhere%2Frun/d", "'/nowhere/run'"),
        ("h.invalid/d", "'h.invalid'"),
    ],
)
@pytest.mark.parametrize("words", [("tenants", "list"), ("migrate", "--check")])
def test_a_database_out_of_reach_is_named_by_its_folder_or_host(tmp_path, monkeypatch, words, place, named):
    def nobody(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", nobody)
    done = Command(tmp_path, {"database": {"url": f"postgresql://app:hunter2@{place}"}})(*words)
    assert (done.code, f": {named}\n" in done.err, "hunter2" in done.err) == (69, True, False)


def test_migrate_names_a_certificate_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    url = "postgresql://app:hunter2@127.0.0.1:1/rg?sslmode=verify-full"  # wants ~/.postgresql/root.crt
    done = Command(tmp_path, {"database": {"url": url}})("migrate")
    assert (done.code, "hunter2" in done.err) == (78, False)
    assert re.fullmatch(
        r"  database.url: root certificate file .*root.crt.*; name one as sslrootcert=…", done.err.splitlines()[1]
    )


@pytest.mark.parametrize("words", [("show",), ("show", "--json"), ("show", "--defaults")])
def test_a_full_disk_below_stdout_ends_a_command_without_a_traceback(words):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "gateway", "config", *words],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("Error: No space left on device; make room and run it again")


def test_an_interrupt_ends_with_130_whenever_it_comes(tmp_path, monkeypatch):
    def interrupted(_config: Config) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gateway.cli.config.router", interrupted)
    done = Command(tmp_path)("config", "check")
    assert (done.code, done.out, done.err) == (130, "", "")


def test_a_store_s_key_file_that_is_not_there_is_named_by_commands(command, tmp_path):
    command.settings["stores"]["far"] = {
        "kind": "gcs",
        "bucket": "abc",
        "service_account_file": str(tmp_path / "none.json"),
    }
    assert command("tenants", "create", "acme").code == 0
    done = command("recordings", "add", "-t", "acme", "--store", "calls", "--key", "a.wav", "--alias", "yotel:a")
    assert (done.code, f"stores.far.service_account_file: {tmp_path / 'none.json'}: cannot" in done.err) == (78, True)


def secret(text: str) -> object:
    return type(Config().database.url)(text)


def test_show_prints_what_counts_and_the_default_beside_it(tmp_path, monkeypatch):
    monkeypatch.setenv("RECORDING_GATEWAY__SERVER__PORT", "9001")
    done = Command(tmp_path, {"server": {"drain_s": 5, "port": 9000}})("config", "show")
    assert "port = 9001  # default: 8080" in done.out
    assert re.search(r"drain_s = 5(\.0)?  # default: 60", done.out)


def test_show_prints_what_can_be_read_back(tmp_path):
    settings = tomllib.loads((CONFIG / "production.toml").read_text())
    settings["stores"]["calls of 2026.05"] = {"kind": "disk", "root": "/srv/calls"}
    command = Command(tmp_path, settings)
    shown = tmp_path / "shown.toml"
    shown.write_text(command("config", "show").out)
    assert load(shown) == load(command.file)


def test_what_has_a_default_is_unset_by_the_environment_as_the_defaults_say(tmp_path, monkeypatch):
    ((name, value),) = re.findall(r"unset so: (\w+)='(.*)'", (CONFIG / "defaults.toml").read_text())
    monkeypatch.setenv(name, value)
    monkeypatch.setenv("RECORDING_GATEWAY__DATABASE", '{"role": null}')
    command = Command(tmp_path, {"limits": {"key": "5/minute"}, "database": {"pool_max": 11}})
    found = load(command.file)
    assert (found.limits.public, found.limits.key) == (None, "5/minute")
    assert (found.database.role, found.database.pool_max) == (None, 11)
    assert '\n#role =  # default: "recording_gateway"\n' in command("config", "show").out


def test_defaults_are_toml_alone(tmp_path):
    done = Command(tmp_path)("config", "show", "--json", "--defaults")
    assert (done.code, done.out, "leave out --json" in done.err) == (2, "", True)
    assert Command(tmp_path)("config", "show", "--defaults").out == annotated.defaults()


def test_json_holds_every_section(tmp_path):
    shown = orjson.loads(Command(tmp_path)("config", "show", "--json").out)
    assert shown.keys() == Config.model_fields.keys()
    assert shown["server"]["port"] == 8080


def test_live_names_each_part_that_is_out_of_reach(offline, tmp_path):
    settings = {
        **offline.settings,
        "identity": {
            "issuers": [{"issuer": "i", "audience": "a", "jwks_url": "http://127.0.0.1:1/jwks.json"}],
        },
        "stores": {
            "gone": {"kind": "disk", "root": str(tmp_path / "nowhere")},
            "far": {"kind": "gcs", "bucket": "abc", "endpoint": "http://127.0.0.1:1"},
        },
        "audit": {"journal_dir": "/proc/journal"},
        "limits": {"url": "redis://user:hunter2@127.0.0.1:1"},
    }
    done = Command(tmp_path, settings)("config", "check", "--live")
    assert done.code == 69
    assert (
        "out of reach: database, identity, stores.gone, stores.far, audit.journal_dir, limits.url"
        in done.err.replace("\n", " ")
    )
    assert "hunter2" not in done.err


@pytest.mark.parametrize(
    ("section", "settings"),
    [
        ("identity", {"issuers": [ISSUER_OF_A_FILE]}),
        ("stores.far", {"kind": "gcs", "bucket": "abc", "service_account_file": "/nowhere/a.json"}),
        ("audit", {"journal_dir": __file__}),
        ("limits", {"url": "redis://127.0.0.1:1?no=option"}),
        ("tracing", {"endpoint": "http://127.0.0.1:1"}),
    ],
)
def test_live_refuses_what_no_start_takes_though_more_is_out_of_reach(command, monkeypatch, section, settings):
    monkeypatch.setitem(
        sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None
    )  # as without the extra
    command.settings["stores"]["gone"] = {"kind": "disk", "root": "/nowhere"}
    place, _, name = section.partition(".")
    command.settings[place] = {**command.settings.get(place, {}), name: settings} if name else settings
    done = command("config", "check", "--live")
    assert (done.code, "stores.gone: " in done.err) == (78, True)
    assert f"\nError: the configuration is refused:\n  {section}." in done.err


async def test_live_warns_of_a_collector_that_takes_nothing_and_is_content_all_the_same(command):
    async with collecting() as collector:
        for url, told in (
            (collector.url, "ok"),
            (f"{collector.url}/v2", "warning: traces are lost, requests are not: .*code: 404, reason: Not Found"),
            ("http://127.0.0.1:1", "warning: .*Connection refused.*"),
        ):
            command.settings["tracing"] = {"endpoint": url}
            done = await asyncio.to_thread(command, "config", "check", "--live")
            assert (done.code, done.err.splitlines()[-1]) == (0, "configuration: ok")
            assert re.search(f"^tracing.endpoint: {told}$", done.err, re.MULTILINE), done.err


def test_live_is_content_where_everything_is_there(command):
    done = command("config", "check", "--live")
    assert (done.code, "database: ok" in done.err, "stores.calls: ok" in done.err) == (0, True, True)
    assert "limits.url: ok" in done.err
    assert done.err.splitlines()[-1] == "configuration: ok"
    assert ("\nstore calls: disk\n" in done.err, "no store is configured" in done.err) == (True, False)
    assert not (command.folder / "journal").exists()
    assert {line.index("http") for line in done.err.splitlines() if "http" in line} == {11}


def test_live_names_an_issuer_whose_keys_are_not_to_be_had(command):
    url = "http://127.0.0.1:1/jwks.json"
    command.settings["identity"] = {"issuers": [{"issuer": "i", "audience": "a", "jwks_url": url}]}
    done = command("config", "check", "--live")
    assert (done.code, done.err.splitlines()[-1]) == (69, "Error: out of reach: identity")
    assert f"identity: JWKS {url}: ClientConnectorError" in done.err


def test_one_port_on_two_addresses_is_two(tmp_path):
    command = Command(tmp_path, {"server": {"host": "192.0.2.1", "port": 9000}, "metrics": {"port": 9000}})
    assert command("config", "check").code == 0


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path):
    (tmp_path / "marked.toml").write_text("[server]\nport = 9000\n", "utf-8-sig")
    assert load(tmp_path / "marked.toml").server.port == 9000


def test_without_a_store_it_is_said_how_to_have_one(tmp_path):
    done = Command(tmp_path)("config", "check")
    assert (done.code, done.err.splitlines()[-2].endswith("add [stores.NAME]")) == (0, True)


def test_live_finds_out_that_no_journal_can_be_made_even_as_root(command):
    command.settings["audit"]["journal_dir"] = "/proc/journal"
    done = command("config", "check", "--live")
    assert (done.code, "audit.journal_dir: cannot be written" in done.err) == (69, True)


def test_live_finds_out_that_the_journal_s_disk_is_full(command):
    config = load(command.file)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        said = live._journal(config)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(said).startswith("cannot be written ([Errno 27] File too large")


def test_live_says_so_where_the_way_to_the_journal_is_closed(command, monkeypatch):
    """As it is for a service's user beneath a folder of root's; root itself is let in everywhere."""

    def closed(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "exists", closed)
    assert "Permission denied" in str(live._journal(load(command.file)))
