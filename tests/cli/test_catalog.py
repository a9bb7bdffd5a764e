"""``migrate``, ``tenants``, ``keys``."""

import asyncio
import hashlib
from datetime import datetime, timedelta
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest
from parts.command import Command, ended, fetch, process
from parts.postgres import Databases

from gateway.identity.keys import parse

NOBODY = "6f9619ff-8b86-4d01-b42d-00c04fc964ff"


@pytest.fixture
async def empty(tmp_path, databases: Databases) -> Command:
    return Command(tmp_path, {"database": {"url": databases.url(await databases.empty())}})


def test_migrate_brings_an_empty_database_up_to_date_and_says_so(empty):
    before = empty("migrate", "--check")
    assert before.code == 1
    assert before.out.startswith("pending: 0001_")
    done = empty("migrate")
    assert (done.code, done.out) == (0, before.out.replace("pending", "applied"))
    assert empty("migrate", "--check").code == 0
    assert empty("migrate").out == ""


def test_migrate_as_the_service_s_login_is_told_of_the_owner_s_unless_there_is_nothing_to_do(empty):
    login, url = f"login_{uuid4().hex[:8]}", empty.settings["database"]["url"]
    fetch(empty, f"CREATE ROLE {login} LOGIN PASSWORD 'secret'")
    try:
        served = urlsplit(url)._replace(netloc=f"{login}:secret@{urlsplit(url).netloc.rpartition('@')[2]}").geturl()
        serving = Command(empty.folder / "serving", {"database": {"url": served}})
        serving.folder.mkdir()
        refused = serving("migrate")
        assert (refused.code, "see database.migrate_url: the database's owner" in refused.err) == (1, True)
        assert empty("migrate").code == 0
        fetch(empty, f"GRANT recording_gateway TO {login}")
        done = serving("migrate")
        assert (done.code, done.out, done.err) == (0, "", "schema: up to date\n")
    finally:
        fetch(empty, f"DROP ROLE {login}")


def test_a_migration_that_fails_says_why(empty):
    fetch(empty, "CREATE TABLE tenants (id integer)")
    done = empty("migrate")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("Error: migration failed: ")
    assert "tenants" in done.err
    assert "up to date" not in done.err


def test_migrate_goes_by_its_own_url_and_its_check_by_the_services(empty):
    database = empty.settings["database"]
    database |= {"migrate_url": database["url"], "url": "postgresql://user@127.0.0.1:1/none", "connect_s": 1}
    assert empty("migrate").code == 0
    assert empty("migrate", "--check").code == 69


def test_a_database_that_was_never_migrated_is_told_from_one_that_is_away(empty):
    done = empty("tenants", "list")
    assert done.code == 69
    assert "recording-gateway migrate" in done.err


@pytest.mark.parametrize(
    "words",
    [
        ("migrate",),
        ("migrate", "--check"),
        ("tenants", "list"),
        ("tenants", "create", "acme"),
        ("tenants", "show", "acme"),
        ("tenants", "set", "acme", "--recording"),
        ("departments", "list", "-t", "acme"),
        ("departments", "create", "-t", "acme", "Sales"),
        ("departments", "delete", "-t", "acme", NOBODY),
        ("keys", "list"),
        ("keys", "create", "-t", "acme", "-n", "x", "-s", "calls:read"),
        ("keys", "revoke", NOBODY),
        ("recordings", "list", "-t", "acme"),
        ("recordings", "show", "-t", "acme", NOBODY),
        ("recordings", "add", "-t", "acme", "--store", "calls", "--key", "a.wav", "--alias", "yotel:a"),
        ("webhooks", "list", "-t", "acme"),
        ("audit", "list"),
        ("audit", "follow"),
    ],
    ids=" ".join,
)
def test_with_postgres_away_every_command_says_so_and_ends_with_69(offline, words):
    done = offline(*words)
    assert (done.code, done.out) == (69, "")
    assert "Postgres cannot be used" in done.err
    assert "hunter2" not in done.err


def test_a_tenant_is_made_set_and_shown(command):
    made = command("tenants", "create", "acme", "Acme Ltd", "--recording", "--retention-days", "365", "--json").rows[0]
    facts = {"slug": "acme", "name": "Acme Ltd", "recording_enabled": True, "transcription_enabled": False}
    assert made == facts | {"id": made["id"], "retention_days": 365}
    for words, change in (
        (
            ("set", "acme", "--no-recording", "--transcription"),
            {"recording_enabled": False, "transcription_enabled": True},
        ),
        (("set", "acme", "--retention-days", "forever"), {"retention_days": None}),
        (("create", "acme", "--retention-days", "30"), {"retention_days": 30}),
        (("set", "acme", "--name", "Acme & Co"), {"name": "Acme & Co"}),
        (("show", "acme"), {}),
    ):
        made |= change
        assert command("tenants", *words, "--json").rows == [made]
    assert command("tenants", "show", "acme").table == [["acme", "Acme & Co", "off", "on", "30 d", made["id"]]]
    words = ("set", "acme", "--retention-days", "forever", "--recording", "--no-transcription")
    assert command("tenants", *words).table == [["acme", "Acme & Co", "on", "off", "for ever", made["id"]]]


def test_a_department_is_made_renamed_listed_and_deleted(acme):
    id_ = acme("departments", "create", "-t", "acme", "Sales").out.strip()
    assert acme("departments", "create", "-t", "acme", "--id", id_, "Support").out.strip() == id_
    (listed,) = acme("departments", "list", "-t", "acme", "--json").rows
    assert (listed["id"], listed["name"]) == (id_, "Support")
    assert acme("departments", "create", "-t", "acme", "Billing").code == 0
    billing, support = acme("departments", "list", "-t", "acme").table
    assert billing[1] == "Billing"
    assert support == [id_, "Support", str(listed["created_at"])[:10]]
    assert acme("tenants", "create", "other").code == 0
    for words, said in (
        (("create", "-t", "other", "--id", id_, "Theirs"), "This id cannot be used"),
        (("delete", "-t", "other", id_), "not found"),
    ):
        done = acme("departments", *words)
        assert (done.code, done.out) == (1, "")
        assert said in done.err
    deleted = acme("departments", "delete", "-t", "acme", id_)
    assert (deleted.code, deleted.out, deleted.err) == (0, "", f"department {id_} of acme: deleted\n")
    assert acme("departments", "list", "-t", "acme").table == [billing]


def test_tenants_are_listed_by_slug_and_made_twice_once(command):
    for words in (("zeta",), ("acme", "Acme Ltd"), ("acme",)):
        assert command("tenants", "create", *words).code == 0
    rows = command("tenants", "list", "--json").rows
    assert [(row["slug"], row["name"]) for row in rows] == [("acme", "Acme Ltd"), ("zeta", "zeta")]
    assert [row[:2] for row in command("tenants", "list").table] == [["acme", "Acme Ltd"], ["zeta", "zeta"]]


@pytest.mark.parametrize("name", ["Acme [/x]", "[red]Acme[/red]", ":bell: Acme"])
def test_names_are_shown_as_they_are_whatever_they_look_like(command, name):
    assert command("tenants", "create", "acme", name).code == 0
    assert command("departments", "create", "-t", "acme", name).code == 0
    for words in (("tenants", "list"), ("departments", "list", "-t", "acme")):
        listed = command(*words)
        assert listed.code == 0
        assert name in listed.out


def test_a_slug_that_is_none_is_refused(command):
    done = command("tenants", "create", "Acme Ltd")
    assert (done.code, done.out) == (2, "")
    assert "lower-case" in done.err


def test_a_keys_secret_is_all_that_stdout_holds(acme):
    done = ended(process("-c", acme.file, "keys", "create", "-t", "acme", "-n", "player", "-s", "calls:read"))
    assert done.code == 0
    (secret,) = done.out.splitlines()
    assert parse(secret, ("rg_live",)) is not None
    assert secret not in done.err


async def test_only_the_keys_digest_is_kept(acme, database):
    words = ("keys", "create", "-t", "acme", "-n", "player", "-s", "calls:read")
    secret = (await asyncio.to_thread(acme, *words)).out.strip()
    connection = await asyncpg.connect(database)
    (row,) = await connection.fetch("SELECT k::text AS whole, sha256 FROM api_keys k")
    await connection.close()
    assert row["sha256"] == hashlib.sha256(secret.encode()).digest()
    assert secret not in row["whole"]


def test_a_key_is_listed_with_what_it_may_and_until_when(acme):
    created = acme(
        *("keys", "create", "-t", "acme", "-n", "ci", "-s", "calls:read", "-s", "recordings:download"),
        *("--role", "manager", "--expires", "90d", "--prefix", "yt_live", "--json"),
    ).rows[0]
    assert acme("tenants", "create", "other").code == 0
    theirs = acme("keys", "create", "-t", "other", "-n", "theirs", "-s", "calls:read", "--json").rows[0]
    (listed,) = acme("keys", "list", "-t", "acme", "--json").rows
    secret = str(created.pop("secret"))
    assert secret.startswith("yt_live_")
    assert listed == created
    assert (listed["name"], listed["hint"]) == ("ci", f"yt_live_…{secret[-4:]}")
    assert (listed["scopes"], listed["role"]) == (["calls:read", "recordings:download"], "manager")
    made, over = (datetime.fromisoformat(str(listed[name])) for name in ("created_at", "expires_at"))
    assert over - made == timedelta(days=90)
    assert sorted(acme("keys", "list").table) == sorted(
        [
            [
                *(str(listed["id"]), "acme", "ci", str(listed["hint"]), "calls:read recordings:download", "manager"),
                *(f"{made:%Y-%m-%d}", f"good until {over:%Y-%m-%d %H:%M} UTC"),
            ],
            [
                *(str(theirs["id"]), "other", "theirs", str(theirs["hint"]), "calls:read", "-"),
                *(str(theirs["created_at"])[:10], "good until revoked"),
            ],
        ]
    )


def test_a_revoked_key_says_when_and_stays_listed(acme):
    key = acme("keys", "create", "-t", "acme", "-n", "x", "-s", "calls:read", "--json").rows[0]
    fetch(acme, "UPDATE api_keys SET created_at = now() - interval '1 day', expires_at = now() - interval '1 minute'")
    (expired,) = acme("keys", "list").table
    assert expired[-1].startswith("expired 20")
    done = acme("keys", "revoke", key["id"])
    (listed,) = acme("keys", "list", "--json").rows
    since = f"revoked {datetime.fromisoformat(str(listed['revoked_at'])):%Y-%m-%d %H:%M} UTC"
    assert (done.code, done.out, done.err) == (0, "", f"key {key['id']} ({key['hint']}) of acme: {since}\n")
    (row,) = acme("keys", "list").table
    assert row[-1] == since


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("keys", "create", "-t", "nobody", "-n", "x", "-s", "calls:read"), 1, "tenants list"),
        (("keys", "create", "-t", "acme", "-n", "x", "-s", "calls:write"), 2, "calls:write"),
        (("keys", "create", "-t", "acme", "-n", "x"), 2, "--scope, or a --role"),
        (("keys", "create", "-t", "acme", "-n", "x", "--role", "owner"), 2, "attendant, supervisor, manager, admin"),
        (("keys", "create", "-t", "acme", "-n", "x", "-s", "calls:read", "--expires", "soon"), 2, "write 90d"),
        (("keys", "create", "-t", "acme", "-n", "x", "-s", "calls:read", "--expires", "9999w"), 2, "36500d at most"),
        (
            ("keys", "create", "-t", "acme", "-n", "x", "-s", "calls:read", "--prefix", "sk"),
            2,
            "identity.keys.prefixes",
        ),
        (("keys", "revoke", "01936f2e-8d3b-7c11-9a52-0d6f5be0c0de"), 1, "keys list"),
        (("keys", "revoke", "mine"), 2, "write the key's id, as `recording-gateway keys list` shows it"),
        (("tenants", "show", "nobody"), 1, "tenants list"),
        (("tenants", "set", "nobody", "--recording"), 1, "tenants list"),
        (("tenants", "set", "acme"), 2, "--retention-days"),
        (("tenants", "set", "acme", "--retention-days", "0"), 2, "write 365, or forever"),
        (("tenants", "set", "acme", "--retention-days", "36501"), 2, "write 36500 at most, or forever"),
        (("departments", "list", "-t", "nobody"), 1, "tenants list"),
        (("departments", "delete", "-t", "acme", NOBODY), 1, "departments list"),
        (
            ("departments", "delete", "-t", "acme", "Sales"),
            2,
            "department's id, as `recording-gateway departments list`",
        ),
        (("webhooks", "delete", "-t", "acme", "mine"), 2, "webhook's id, as `recording-gateway webhooks list`"),
        (("departments", "create", "-t", "acme", ""), 2, "write 1 to 200 characters on one line"),
        (("departments", "create", "-t", "acme", "Sales\nand more"), 2, "write 1 to 200 characters on one line"),
        (("departments", "create", "-t", "acme", "S\udcffles"), 2, "write 1 to 200 characters on one line"),
        (("tenants", "create", "zeta", ""), 2, "write 1 to 200 characters on one line"),
        (("tenants", "set", "acme", "--name", "A" * 201), 2, "write 1 to 200 characters on one line"),
        (("keys", "create", "-t", "acme", "-n", "", "-s", "calls:read"), 2, "write 1 to 200 characters on one line"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_fix(acme, words, code, said):
    done = acme(*words)
    assert (done.code, done.out) == (code, "")
    assert said in done.err


def test_a_secret_given_for_a_key_s_id_is_not_repeated(acme):
    done = acme("keys", "revoke", "rg_live_hunter2")
    assert (done.code, "hunter2" in done.err) == (2, False)
