"""What becomes of a delivery after each try, and what a secret signs."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from gateway.config import Webhooks
from gateway.lifecycle.webhooks.schedule import Fate, Tried, Verdict, asked_wait_s, judge
from gateway.lifecycle.webhooks.signing import Sealer, Unsealable, mint_secret, signed_headers

NOW = datetime(2026, 11, 2, 3, 4, 5, tzinfo=UTC)
SCHEDULE = (5, 300, 1800)
PAGE = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text()


def tried(status: int | None = 500, error: str | None = "refused", retry_after: str | None = None) -> Tried:
    return Tried(NOW, 7, status, error, retry_after)


@pytest.mark.parametrize(
    ("tried", "tries", "verdict"),
    [
        (tried(204, None), 0, Verdict(Fate.DELIVERED)),
        (tried(204, None), 99, Verdict(Fate.DELIVERED)),
        (tried(500), 0, Verdict(Fate.RETRY, 5)),
        (tried(302, "redirected"), 1, Verdict(Fate.RETRY, 300)),
        (tried(None, "timed_out"), 2, Verdict(Fate.RETRY, 1800)),
        (tried(500), 3, Verdict(Fate.FAILED)),
        (tried(410, "gone"), 0, Verdict(Fate.GONE)),
        (tried(410, "gone"), 3, Verdict(Fate.GONE)),
        (tried(429, retry_after="60"), 0, Verdict(Fate.RETRY, 60)),
        (tried(503, retry_after="60"), 0, Verdict(Fate.RETRY, 60)),
        (tried(503, retry_after="60"), 1, Verdict(Fate.RETRY, 300)),
        (tried(503, retry_after="999999999"), 0, Verdict(Fate.RETRY, 1800)),
        (tried(503, retry_after="-60"), 0, Verdict(Fate.RETRY, 5)),
        (tried(503, retry_after="soon"), 0, Verdict(Fate.RETRY, 5)),
        (tried(500, retry_after="60"), 0, Verdict(Fate.RETRY, 5)),
        (tried(503, retry_after="60"), 3, Verdict(Fate.FAILED)),
    ],
)
def test_a_try_has_its_verdict(tried, tries, verdict):
    assert judge(tried, tries, SCHEDULE, 0.5) == verdict


def test_the_longest_wait_bounds_what_is_asked_for_wherever_it_stands():
    assert judge(tried(503, retry_after="999999999"), 0, (5, 1800, 300), 0.5) == Verdict(Fate.RETRY, 1800)


@pytest.mark.parametrize(("chance", "delay"), [(0.0, 270), (1.0, 330)])
def test_a_wait_is_spread_by_a_tenth(chance, delay):
    assert judge(tried(), 1, SCHEDULE, chance).delay_s == pytest.approx(delay)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, 0),
        ("", 0),
        (" 7 ", 7),
        ("1e3", 0),
        ("٧", 0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90),
        (format_datetime(NOW, usegmt=True), 0),
        (format_datetime(NOW - timedelta(days=1), usegmt=True), 0),
    ],
)
def test_retry_after_is_seconds_or_a_date(text, seconds):
    assert asked_wait_s(text, NOW) == seconds


def test_the_schedule_is_published_and_lasts_for_days():
    """docs/webhooks.md prints the defaults, as a table of waits."""
    schedule = Webhooks().schedule_s
    assert timedelta(seconds=sum(schedule)) > timedelta(days=3)
    units = {"s": 1, "min": 60, "h": 3600}
    printed = re.findall(r"^\| (\d+) \| (\d+) (s|min|h) ", PAGE, re.MULTILINE)
    assert [int(number) * units[unit] for _, number, unit in printed] == list(schedule)
    assert [int(row) for row, _, _ in printed] == [*range(2, len(schedule) + 2)]


def test_the_receiver_that_is_printed_takes_what_is_sent_and_nothing_else(capsys):
    """docs/webhooks.md: its example of a body, through its example of a receiver."""
    (source,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (body,) = re.findall(r"^\{\"type\".*\}$", PAGE, re.MULTILINE)
    printed: dict[str, Any] = {}
    exec(source, printed)  # noqa: S102  the page's own example
    secret, event = mint_secret(), body.encode()
    headers = signed_headers("01936f2e-8d3b-7c11-9a52-0d6f5be0c0de", datetime.now(UTC), event, [secret])
    for name in headers:
        assert f"\n{name}: " in PAGE
    assert printed["receive"](secret, headers, event) == 204
    assert capsys.readouterr().out == "fetch 7d9f…\n"
    assert printed["receive"](mint_secret(), headers, event) == 400
    assert printed["receive"](secret, headers, event + b" ") == 400


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=200), st.integers(1, 3))
def test_each_secret_verifies_and_no_other_does(text, number):
    secrets, body = [mint_secret() for _ in range(number)], text.encode()
    headers = signed_headers("msg", datetime.now(UTC), body, secrets)
    for secret in secrets:
        Webhook(secret).verify(body, headers, json_parse=False)
    for other, content in ((mint_secret(), body), (secrets[0], body + b"x")):
        with pytest.raises(WebhookVerificationError):
            Webhook(other).verify(content, headers, json_parse=False)


def test_a_sealed_secret_is_opened_by_any_key_and_by_no_other():
    old, new, secret = "o" * 32, "n" * 32, mint_secret()
    resting = Sealer([old]).seal(secret)
    assert secret.removeprefix("whsec_") not in resting
    assert Sealer([new, old]).unseal(resting) == secret
    for keys in ([new], []):
        with pytest.raises(Unsealable):
            Sealer(keys).unseal(resting)
    assert Sealer([new]).unseal(Sealer([]).seal(secret)) == secret
    assert Sealer([new, old]).seal(secret) != resting
