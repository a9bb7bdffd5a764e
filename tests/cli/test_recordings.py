import wave
from pathlib import Path
from uuid import uuid4

import orjson
import pytest
from parts.command import Command, Ended, fetch


@pytest.fixture
def acme(command: Command) -> Command:
    """With two recordings in the store, two seconds each, and one object that is none."""
    assert command("tenants", "add", "acme", "Acme Ltd").code == 0
    for name, channels in (("mono.wav", 1), ("stereo.wav", 2)):
        write_wav(command.folder / "calls" / name, channels)
    (command.folder / "calls" / "notes.txt").write_text("not a recording at all")
    return command


def write_wav(path: Path, channels: int) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(2 * 8000 * 2 * channels))


def add(acme: Command, key: str, alias: str, *words: str) -> Ended:
    return acme("recordings", "add", "-t", "acme", "--store", "calls", "--key", key, "--alias", alias, *words)


def test_one_is_looked_at_before_it_is_ready(acme):
    done = add(acme, "stereo.wav", "yotel:call_a1", "--voice-agent", "--started-at", "2026-05-25T10:00:00Z", "--json")
    assert (done.code, done.err.strip(), done.rows[0]["fate"]) == (0, "1 ready", "ready")
    (shown,) = acme("recordings", "show", "-t", "acme", "yotel:call_a1", "--json").rows
    assert shown | {"call": 0, "etag": 0, "created_at": 0, "ready_at": 0} == {
        "call": 0,
        "state": "ready",
        "aliases": {"yotel": "call_a1"},
        "voice_agent": True,
        "store": "calls",
        "key": "stereo.wav",
        "media_type": "audio/wav",
        "size": 64044,
        "etag": 0,
        "duration_ms": 2000,
        "channels": 2,
        "started_at": "2026-05-25T10:00:00Z",
        "created_at": 0,
        "ready_at": 0,
        "expires_at": None,
        "hold": False,
        "failure": None,
    }
    lines = acme("recordings", "show", "-t", "acme", "yotel:call_a1").out.splitlines()
    said = {name: "-" if value is None else str(value) for name, value in shown.items()}
    assert dict(line.split(maxsplit=1) for line in lines) == said | {"aliases": "yotel:call_a1"}
    row = [shown["call"], "ready", "calls", "stereo.wav", "64044", "2", "yotel:call_a1"]
    assert acme("recordings", "list", "-t", "acme").table == [row]


def test_all_that_is_said_of_one_is_kept(acme):
    call = str(uuid4())
    done = add(
        *(acme, "mono.wav", f"envoy:call_{call.upper()}", "--call", call, "--direction", "outbound", "--human"),
        *("--started-at", "2020-05-25T12:00:00+02:00", "--expires-at", "2020-01-01", "--retention-days", "7"),
        *("--media-type", "audio/ogg"),
    )
    assert (done.code, done.err) == (0, "1 ready\n")
    (shown,) = acme("recordings", "show", "-t", "acme", f"envoy:{call.upper()}", "--json").rows
    assert (shown["call"], shown["aliases"]) == (call, {"envoy": call})
    assert (shown["voice_agent"], shown["media_type"], shown["state"]) == (False, "audio/ogg", "expired")
    # The longest of all that is said: seven days after it began.
    assert (shown["started_at"], shown["expires_at"]) == ("2020-05-25T10:00:00Z", "2020-06-01T10:00:00Z")
    (row,) = fetch(acme, "SELECT direction, retention_days FROM calls JOIN recordings ON call_id = calls.id")
    assert tuple(row) == ("outbound", 7)


def test_doing_it_again_changes_nothing(acme):
    add(acme, "mono.wav", "yotel:a", "--voice-agent")
    done = add(acme, "mono.wav", "yotel:a")
    assert (done.code, done.err.strip()) == (0, "1 unchanged")
    assert acme("recordings", "show", "-t", "acme", "yotel:a", "--json").rows[0]["voice_agent"] is True


def test_a_surface_that_is_none_here_is_taken_and_told_of_once(acme):
    lines = "".join(f'{{"key": "mono.wav", "aliases": "{n}"}}\n' for n in ("yotl:a", "yotl:b callsid:call_b", "crm:c"))
    done = acme("recordings", "add", "-t", "acme", "--store", "calls", "--manifest", "-", input=lines)
    assert (done.code, done.err.count("no surface is called 'yotl'"), done.err.count("note: ")) == (0, 1, 2)
    assert acme("recordings", "show", "-t", "acme", "crm:c").code == 0


def test_an_object_that_is_none_fails_and_says_why(acme):
    done = add(acme, "notes.txt", "yotel:b")
    assert done.code == 1
    assert "failed: none of WAV" in done.err
    assert acme("recordings", "show", "-t", "acme", "yotel:b", "--json").rows[0]["state"] == "failed"


def test_an_object_that_is_not_there_yet_is_pending_unless_told_otherwise(acme):
    assert add(acme, "later.wav", "yotel:c").code == 0
    (shown,) = acme("recordings", "show", "-t", "acme", "yotel:c", "--json").rows
    assert (shown["state"], shown["voice_agent"]) == ("pending", False)
    assert acme("recordings", "list", "-t", "acme").table == [[shown["call"], "pending", "yotel:c"]]
    assert add(acme, "later.wav", "yotel:c", "--fail-missing").code == 1


def test_a_manifests_good_rows_are_done_whatever_becomes_of_the_others(acme):
    manifest = acme.folder / "may.csv"
    manifest.write_text(
        "key,aliases,voice_agent\n"
        "mono.wav,yotel:one,false\n"
        "notes.txt,yotel:two,false\n"
        "stereo.wav,yotel:three,true\n"
        "stereo.wav,,true\n"
        "later.wav,yotel:five,false\n"
    )
    done = acme("recordings", "add", "-t", "acme", "--store", "calls", "--manifest", manifest)
    assert (done.code, done.out) == (1, "")
    assert "line 3: failed: none of WAV" in done.err
    assert "line 5: invalid: give call or aliases" in done.err
    assert done.err.splitlines()[-1] == "1 failed, 1 invalid, 1 pending, 2 ready"
    rows = acme("recordings", "list", "-t", "acme", "--json").rows
    assert sorted((row["aliases"]["yotel"], row["state"]) for row in rows) == [
        ("five", "pending"),
        ("one", "ready"),
        ("three", "ready"),
        ("two", "failed"),
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("MAY.CSV", "key,aliases\nmono.wav,yotel:one\nmono.wav,yotel:zwölf\nstereo.wav,yotel:three\n"),
        (
            "may.jsonl",
            "".join(f'{{"key": "mono.wav", "aliases": "yotel:{id_}"}}\n' for id_ in ("one", "zwölf", "three")),
        ),
    ],
)
def test_a_line_that_is_no_utf_8_spoils_no_other(acme, name: str, text: str):
    manifest = acme.folder / name
    manifest.write_bytes(text.encode("latin-1"))
    done = acme("recordings", "add", "-t", "acme", "--store", "calls", "--manifest", manifest)
    assert (done.code, done.err.splitlines()[-1]) == (1, "1 invalid, 2 ready")
    assert "UTF-8" in done.err


@pytest.mark.parametrize(
    "column",
    [
        {"key": "a\x00.wav"},
        {"key": "/srv/calls/mono.wav"},
        {"key": "a" * 256},
        {"store": "calls\x00"},
        {"aliases": {"yotel": "o\x00ne"}},
        {"from": "+1\x00"},
        {"media_type": "audio/wav\r\nX: y"},
        {"retention_days": 10**10},
    ],
)
def test_a_row_with_what_nothing_holds_leaves_the_others_alone(acme, column):
    bad = {"key": "mono.wav", "aliases": {"yotel": "one"}} | column
    lines = f'{orjson.dumps(bad).decode()}\n{{"key": "stereo.wav", "aliases": "yotel:two"}}\n'
    done = acme("recordings", "add", "-t", "acme", "--store", "calls", "--manifest", "-", "--json", input=lines)
    assert done.code == 1
    assert sorted((row["number"], row["fate"]) for row in done.rows) == [(1, "invalid"), (2, "ready")]
    assert done.err.strip() == "1 invalid, 1 ready"


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("kez,aliases\n", 1, "Error: {}: line 1: no such column: 'kez'"),
        ("", 1, "Error: {}: line 1: names the columns"),
        ("key,aliases\n", 0, "nothing to do"),
    ],
)
def test_a_manifest_without_columns_or_lines_is_told_of(acme, text: str, code: int, said: str):
    manifest = acme.folder / "may.csv"
    manifest.write_text(text)
    done = acme("recordings", "add", "-t", "acme", "--store", "calls", "--manifest", manifest)
    assert (done.code, done.out) == (code, "")
    assert done.err.strip().startswith(said.format(manifest))


def test_a_manifest_may_come_by_stdin_as_json_lines(acme):
    lines = '{"key": "mono.wav", "aliases": {"yotel": "one"}}\n{"key": "stereo.wav", "aliases": "yotel:two"}\n'
    done = acme("recordings", "add", "-t", "acme", "--store", "calls", "--manifest", "-", "--json", input=lines)
    assert done.code == 0
    assert sorted((row["number"], row["fate"]) for row in done.rows) == [(1, "ready"), (2, "ready")]


def test_a_listing_goes_past_one_page_and_stops_at_its_limit(acme):
    lines = "".join(f'{{"key": "mono.wav", "aliases": "yotel:n{n}"}}\n' for n in range(205))
    assert acme("recordings", "add", "-t", "acme", "--store", "calls", "--manifest", "-", input=lines).code == 0
    assert len(acme("recordings", "list", "-t", "acme", "--limit", "1000", "--json").rows) == 205
    assert len(acme("recordings", "list", "-t", "acme", "--limit", "203", "--json").rows) == 203
    assert len(acme("recordings", "list", "-t", "acme", "--limit", "3", "--state", "ready", "--json").rows) == 3
    assert acme("recordings", "list", "-t", "acme", "--state", "failed", "--json").out == ""
    for words in (("--since", "2999-01-01"), ("--until", "1h")):
        assert acme("recordings", "list", "-t", "acme", *words, "--json").out == ""
    words = ("--since", "1h", "--until", "2999-01-01")
    assert len(acme("recordings", "list", "-t", "acme", "--limit", "1000", *words, "--json").rows) == 205
    assert "yotel:n204" in acme("recordings", "list", "-t", "acme").out


def test_where_nobody_watches_a_listed_row_is_one_line_however_many_ids_it_has(acme):
    ids = [f"{surface}:{uuid4()}" for surface in ("yotel", "agentphone", "callsid", "voki", "envoy")]
    assert add(acme, "mono.wav", ids[0], *(word for id_ in ids[1:] for word in ("--alias", id_))).code == 0
    head, row = acme("recordings", "list", "-t", "acme").out.splitlines()
    assert head.split()[-1] == "ids"
    assert sorted(row.split()[-5:]) == sorted(ids)


def test_a_key_steers_no_terminal_and_begins_no_line(acme):
    odd = "\x1b[2J\x9b2J\u202e\nstate ready é"
    (acme.folder / "calls" / "mono.wav").rename(acme.folder / "calls" / odd)
    assert add(acme, odd, "yotel:one").code == 0
    listed, shown = acme("recordings", "list", "-t", "acme"), acme("recordings", "show", "-t", "acme", "yotel:one")
    for told in (listed.out, shown.out):
        assert r"\x1b[2J\x9b2J\u202e\nstate ready é" in told
    assert shown.out.count("\nstate ") == 1
    assert acme("recordings", "list", "-t", "acme", "--json").rows[0]["key"] == odd


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("add", "-t", "acme", "--store", "calls"), 2, "--manifest"),
        (("add", "-t", "acme", "--store", "calls", "--key", "mono.wav", "--manifest", "-"), 2, "give either --key"),
        (("add", "-t", "acme", "--manifest", "-", "--alias", "yotel:x", "--human"), 2, "aliases, voice_agent: goes"),
        (("add", "-t", "acme", "--key", "mono.wav", "--expires-at", "90d"), 2, "write 2026-05-25T10:00:00Z"),
        (("add", "-t", "acme", "--key", "mono.wav", "--retention-days", 10**20), 2, "1<=x<=36500"),
        (("add", "-t", "acme", "--store", "calls", "--key", "mono.wav"), 1, "give call or aliases"),
        (("add", "-t", "acme", "--store", "nowhere", "--key", "mono.wav", "--alias", "yotel:x"), 1, "calls"),
        (("add", "-t", "nobody", "--store", "calls", "--key", "mono.wav", "--alias", "yotel:x"), 1, "tenants list"),
        (
            ("add", "-t", "acme", "--store", "calls", "--key", "../mono.wav", "--alias", "yotel:x"),
            1,
            "key: can be no object's in that store: an empty, . or .. component",
        ),
        (("show", "-t", "acme", "yotel:none"), 1, "recordings list"),
        (("show", "-t", "acme", "none"), 2, "its UUID, or SURFACE:ID"),
        (("show", "-t", "acme", uuid4()), 1, "not found"),
        (("list", "-t", "acme", "--since", "yesterday"), 2, "2h for two hours ago"),
        (("list", "-t", "acme", "--since", "0001-01-01T00:00:00+14:00"), 2, "2h for two hours ago"),
        (("list", "-t", "acme", "--since", "999999w"), 2, "36500d at most"),
        (("list", "-t", "acme", "--state", "absent"), 2, "absent"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_fix(acme, words, code, said):
    done = acme("recordings", *words)
    assert (done.code, done.out) == (code, "")
    assert said in done.err


@pytest.mark.parametrize("option", ["--store", "--key", "--alias", "--media-type"])
def test_what_is_not_utf8_is_refused_by_its_option(acme, option):
    done = add(acme, "mono.wav", "yotel:a", option, "m\udcf6no.wav")
    assert (done.code, done.out) == (2, "")
    assert f"'{option}'" in done.err
    assert "is not UTF-8" in done.err


@pytest.mark.parametrize("call", ["s\udcff", "yotel:s\udcff", "s\udcff:a"])
def test_an_id_that_is_not_utf8_is_nobodys(acme, call: str):
    done = acme("recordings", "show", "-t", "acme", call)
    assert (done.code, done.out, "is not UTF-8" in done.err) == (2, "", True)


@pytest.mark.parametrize("wrong", [{"store": "nowhere"}, {"media_type": "nonsense"}])
def test_a_line_that_is_invalid_leaves_no_call_behind(acme, wrong):
    line = orjson.dumps({"key": "mono.wav", "store": "calls", "aliases": "yotel:a"} | wrong).decode()
    done = acme("recordings", "add", "-t", "acme", "--manifest", "-", input=line)
    assert (done.code, done.err.splitlines()[-1]) == (1, "1 invalid")
    assert "not found" in acme("recordings", "show", "-t", "acme", "yotel:a").err


def test_with_the_store_away_nothing_is_decided_and_it_ends_with_69(acme):
    acme.settings["stores"]["calls"] = {"kind": "s3", "bucket": "calls", "endpoint": "http://127.0.0.1:1"}
    acme.settings["stores"]["calls"] |= {"access_key_id": "hunter2", "secret_access_key": "hunter2"}
    done = add(acme, "mono.wav", "yotel:a")
    assert done.code == 69
    assert done.err.splitlines()[-1] == "1 undecided"
    assert "hunter2" not in done.err
