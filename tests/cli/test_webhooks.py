"""``webhooks``: an operator's way to a tenant's endpoints."""

from uuid import uuid4

import pytest
from parts.command import Command
from standardwebhooks import Webhook

URL = "https://93.184.215.14/hook"


@pytest.fixture
def acme(command: Command) -> Command:
    assert command("tenants", "create", "acme", "Acme Ltd").code == 0
    return command


def test_a_webhook_is_added_listed_changed_rotated_and_deleted(acme):
    added = acme("webhooks", "add", "-t", "acme", URL, "-d", "CRM")
    assert added.code == 0
    Webhook(added.out.strip())
    (listed,) = acme("webhooks", "list", "-t", "acme", "--json").rows
    assert (listed["url"], listed["description"], listed["enabled"]) == (URL, "CRM", True)
    assert "secret" not in listed
    assert listed["id"] in added.err
    off = acme("webhooks", "change", "-t", "acme", listed["id"], "--off")
    assert off.err.strip() == f"webhook {listed['id']}: off (asked)"
    assert "off (asked)" in acme("webhooks", "list", "-t", "acme").out
    refused = acme("webhooks", "ping", "-t", "acme", listed["id"])
    assert (refused.code, refused.out) == (1, "")
    assert "switched off" in refused.err
    acme("webhooks", "change", "-t", "acme", listed["id"], "--on")
    rotated = acme("webhooks", "rotate", "-t", "acme", listed["id"], "--overlap", "2h", "--json")
    assert rotated.rows[0]["secret"] != added.out.strip()
    assert rotated.rows[0]["former_until"] is not None
    assert acme("webhooks", "delete", "-t", "acme", listed["id"]).code == 0
    assert acme("webhooks", "list", "-t", "acme", "--json").rows == []


def test_a_ping_is_in_the_log_and_can_be_delivered_again(acme):
    made = acme("webhooks", "add", "-t", "acme", URL, "--json").rows[0]
    queued = acme("webhooks", "ping", "-t", "acme", made["id"]).out.strip()
    (logged,) = acme("webhooks", "deliveries", "-t", "acme", made["id"], "--json").rows
    assert (logged["id"], logged["state"], logged["type"]) == (queued, "pending", "webhook.ping")
    assert acme("webhooks", "redeliver", "-t", "acme", made["id"], queued).out.strip() == queued
    assert queued in acme("webhooks", "deliveries", "-t", "acme", made["id"]).out
    assert acme("webhooks", "deliveries", "-t", "acme", made["id"], "--state", "failed", "--json").rows == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("add", "https://127.0.0.1/hook"), "public addresses"),
        (("add", "http://93.184.215.14/"), "https://"),
        (("list",), "no tenant"),
        (("delete", str(uuid4())), "no such webhook"),
        (("redeliver", str(uuid4()), str(uuid4())), "no such webhook"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_what_cannot_be_done_says_why(acme, words, said):
    done = acme("webhooks", *words, "-t", "nobody" if said == "no tenant" else "acme")
    assert done.code == 1
    assert said in done.err


@pytest.mark.parametrize("words", [("add", URL), ("change", str(uuid4()))])
def test_a_description_that_cannot_be_kept_is_refused_with_what_can(acme, words):
    done = acme("webhooks", *words, "-t", "acme", "-d", "A" * 201)
    assert (done.code, done.out) == (2, "")
    assert "write at most 200 characters on one line" in done.err
