"""``webhooks``: an operator's way to a tenant's endpoints."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from parts.command import fetch
from standardwebhooks import Webhook

URL = "https://93.184.215.14/hook"


def test_a_webhook_is_added_listed_changed_rotated_and_deleted(acme):
    added = acme("webhooks", "add", "-t", "acme", URL, "-d", "CRM")
    assert added.code == 0
    Webhook(added.out.strip())
    (listed,) = acme("webhooks", "list", "-t", "acme", "--json").rows
    assert (listed["url"], listed["description"], listed["enabled"]) == (URL, "CRM", True)
    assert "secret" not in listed
    assert added.err == f"webhook {listed['id']}: its secret is shown once:\n"
    off = acme("webhooks", "change", "-t", "acme", listed["id"], "--off")
    assert off.err.strip() == f"webhook {listed['id']}: off (asked)"
    for words in (("-d", "ERP"), ("--url", f"{URL}/2")):
        assert acme("webhooks", "change", "-t", "acme", listed["id"], *words).err == off.err
    assert acme("webhooks", "list", "-t", "acme").table == [[listed["id"], f"{URL}/2", "ERP", "off (asked)"]]
    refused = acme("webhooks", "ping", "-t", "acme", listed["id"])
    assert (refused.code, refused.out) == (1, "")
    assert "switched off" in refused.err
    on = acme("webhooks", "change", "-t", "acme", listed["id"], "--on")
    assert on.err.strip() == f"webhook {listed['id']}: on"
    fetch(acme, "UPDATE webhook_endpoints SET failing_since = '2026-05-25T10:00:00Z'")
    assert acme("webhooks", "list", "-t", "acme").table[0][-1] == "failing since 2026-05-25 10:00 UTC"
    deleted = acme("webhooks", "delete", "-t", "acme", listed["id"])
    assert (deleted.code, deleted.out) == (0, "")
    assert acme("webhooks", "list", "-t", "acme", "--json").rows == []


def test_a_former_secret_signs_for_as_long_as_was_said(acme):
    made = acme("webhooks", "add", "-t", "acme", URL, "--json").rows[0]
    for words, overlap in (
        ((), timedelta(days=1)),
        (("--overlap", "2h"), timedelta(hours=2)),
        (("--overlap", "2d"), timedelta(days=2)),
        (("--at-once",), None),
    ):
        rotated = acme("webhooks", "rotate", "-t", "acme", made["id"], *words, "--json").rows[0]
        Webhook(rotated["secret"])
        assert (rotated["id"], rotated["secret"] == made["secret"]) == (made["id"], False)
        assert (rotated["former_until"] is None) == (overlap is None)
        if overlap is not None:
            until = datetime.fromisoformat(rotated["former_until"])
            assert abs(until - overlap - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_ping_is_in_the_log_and_can_be_delivered_again(acme):
    made = acme("webhooks", "add", "-t", "acme", URL, "--json").rows[0]
    queued = acme("webhooks", "ping", "-t", "acme", made["id"]).out.strip()
    (logged,) = acme("webhooks", "deliveries", "-t", "acme", made["id"], "--json").rows
    assert (logged["id"], logged["state"], logged["type"]) == (queued, "pending", "webhook.ping")
    assert acme("webhooks", "redeliver", "-t", "acme", made["id"], queued).out.strip() == queued
    created = datetime.fromisoformat(logged["created_at"])
    assert len(logged["created_at"]) == len("2026-11-02T10:00:00Z")
    row = [queued, "webhook.ping", "-", f"{created:%Y-%m-%d %H:%M:%S}", "pending"]
    assert acme("webhooks", "deliveries", "-t", "acme", made["id"]).table == [[*row, "0", "-"]]
    for number, status, error in ((1, "500", "'status'"), (2, "NULL", "'timeout'"), (3, "429", "'status'")):
        values = f"id, {number}, now(), 1, {status}, {error} FROM webhook_deliveries"
        fetch(acme, f"INSERT INTO webhook_attempts (delivery_id, number, at, took_ms, status, error) SELECT {values}")
    assert acme("webhooks", "deliveries", "-t", "acme", made["id"]).table == [[*row, "3", "429 status"]]
    assert acme("webhooks", "deliveries", "-t", "acme", made["id"], "--state", "failed", "--json").rows == []
    second = acme("webhooks", "ping", "-t", "acme", made["id"]).out.strip()
    (newest,) = acme("webhooks", "deliveries", "-t", "acme", made["id"], "--limit", "1", "--json").rows
    assert newest["id"] == second


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("add", "https://127.0.0.1/hook"), "url: its host must"),
        (("rotate", str(uuid4())), "no such webhook of this tenant; `recording-gateway webhooks list` shows"),
        (("add", "http://93.184.215.14/"), "https://"),
        (("list",), "no tenant"),
        (("delete", str(uuid4())), "webhooks list"),
        (("redeliver", str(uuid4()), str(uuid4())), "no such webhook"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_what_cannot_be_done_says_why(acme, words, said):
    done = acme("webhooks", *words, "-t", "nobody" if said == "no tenant" else "acme")
    assert done.code == 1
    assert said in done.err


def test_a_former_secret_cannot_both_sign_and_not(acme):
    done = acme("webhooks", "rotate", str(uuid4()), "-t", "acme", "--overlap", "2h", "--at-once")
    assert (done.code, done.out, "exclude each other" in done.err) == (2, "", True)


@pytest.mark.parametrize(
    ("words", "said"),
    [(("rotate", "--overlap", "8d"), "write a week at most: 7d"), (("change",), "name what shall change: --url")],
)
def test_what_the_api_would_refuse_is_refused(acme, words, said):
    done = acme("webhooks", *words, str(uuid4()), "-t", "acme")
    assert (done.code, done.out, said in done.err) == (2, "", True)


@pytest.mark.parametrize("words", [("add", URL), ("change", str(uuid4()))])
def test_a_description_that_cannot_be_kept_is_refused_with_what_can(acme, words):
    done = acme("webhooks", *words, "-t", "acme", "-d", "A" * 201)
    assert (done.code, done.out) == (2, "")
    assert "write at most 200 characters on one line" in done.err
