"""Lines to paste into a shell: what each surface can do. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

Line = tuple[str, str]
"""What it does, and the line that does it."""
Named = Mapping[str, str]


def lines(
    mounts: Named, hosts: Named, fields: Mapping[str, Named], limited: Named, ids: Mapping[str, Named], *, s3: bool
) -> Iterator[Line]:
    """Each argument but ``limited`` (native's) by surface. ``s3``: there is a store that signs URLs."""
    yield from _native(mounts["native"], _headers(fields["native"]), ids["native"], s3=s3)
    yield from _refused(mounts["native"], _headers(fields["native"]), _headers(limited), ids["native"])
    yield from _vendors(mounts, {surface: _headers(each) for surface, each in fields.items()}, ids, s3=s3)
    by_host = f"{hosts['yotel']}/api/v1/calls/{ids['yotel']['ready']}/recording/audio"
    yield "yotel, at the root of a host of its own, as each of them", f"curl {_headers(fields['yotel'])} -I {by_host}"


def _native(native: str, full: str, ids: Named, *, s3: bool) -> Iterator[Line]:
    recording = f"{native}/v1/recordings/{ids['ready']}"
    audio, links = f"{recording}/audio", f"{recording}/links"
    field = full.removeprefix("-H ")
    yield "Fetch a recording", f"curl {full} -o recording.wav {audio}"
    yield "Fetch bytes 1000 to 1999 of it", f"curl {full} -r 1000-1999 -D - -o part.bin {audio}"
    yield "Take up a download again", f"curl {full} -C - -o recording.wav {audio}"
    yield "Ask for its headers alone", f"curl {full} -I {audio}"
    yield "Play it from the second minute on", f"mpv --start=60 --http-header-fields={field} {audio}"
    yield "Describe it", f"curl {full} {recording}"
    yield "List the newest three", f"curl {full} '{native}/v1/recordings?limit=3'"
    yield (
        "A link that plays in a browser for an hour, without headers",
        f'curl {full} -d \'{{"delivery":"gateway"}}\' {links}',
    )
    if s3:
        yield "A link to the store itself", f"curl {full} -d '{{\"ttl_s\":600}}' {links}"
    yield "What the API is, for programs", f"curl {native}/openapi.json"
    yield "What the API is, for people and language models", f"curl {native}/llms.txt"


def _refused(native: str, full: str, limited: str, ids: Named) -> Iterator[Line]:
    recordings = f"{native}/v1/recordings"
    yield "Not ready yet: 409", f"curl -i {full} {recordings}/{ids['pending']}/audio"
    yield "Another tenant's, and nobody's: 404", f"curl -i {full} {recordings}/{ids['foreign']}/audio"
    yield "Past its retention: 410", f"curl -i {full} {recordings}/{ids['expired']}/audio"
    yield "A key that may not download: 403", f"curl -i {limited} {recordings}/{ids['ready']}/audio"


def _vendors(mounts: Named, full: Named, ids: Mapping[str, Named], *, s3: bool) -> Iterator[Line]:
    yotel, agentphone, callsid, voki, envoy = (
        f"{mounts[name]}{path}/{ids[name][part]}"
        for name, path, part in (
            ("yotel", "/api/v1/calls", "ready_stereo"),
            ("agentphone", "/v1/calls", "ready_stereo"),
            ("callsid", "/api/calls", "ready"),
            ("voki", "/api/v1/calls", "ready"),
            ("envoy", "/api/v1/calls", "ready"),
        )
    )
    if s3:
        yield "yotel: a signed URL for seven days", f"curl {full['yotel']} {yotel}/recording"
    yield "yotel: the audio", f"curl {full['yotel']} -o call.wav {yotel}/recording/audio"
    yield "agentphone: the audio, for whoever knows the call's id", f"curl -o public.wav {agentphone}/recording"
    yield "agentphone: the call", f"curl {full['agentphone']} {agentphone}"
    yield "agentphone: what was said", f"curl {full['agentphone']} {agentphone}/transcript"
    if s3:
        yield "callsid: a presigned URL for an hour", f"curl {full['callsid']} {callsid}/recording/stream"
    yield "callsid: a download named by the number called", f"curl {full['callsid']} -OJ {callsid}/recording/download"
    yield "voki: metadata of a video call", f"curl {full['voki']} {voki}/recording"
    yield "voki: the video", f"curl {full['voki']} -o call.webm {voki}/recording/download"
    yield "voki: recordings cannot be deleted: 405", f"curl -i -X DELETE {full['voki']} {voki}/recording"
    if s3:
        yield "envoy: a playback URL for an hour", f"curl {full['envoy']} {envoy}/recording"


def _headers(fields: Named) -> str:
    return " ".join(f"-H {shlex.quote(f'{name}: {value}')}" for name, value in fields.items())
