"""schemathesis against one surface of a running demo: its own document, its credentials, its calls."""

import json
import os
import re
import subprocess
import sys
import tomllib
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit

CALLS = {"id", "call_id", "call_sid"}
"""Path parameters that name a call, wherever the path speaks of calls or recordings."""
FAR = 10_000
"""Characters."""
SETTINGS = tomllib.loads((Path(__file__).parents[2] / "schemathesis.toml").read_text("utf-8"))
"""What users have, too."""


@dataclass(frozen=True)
class Fuzzed:
    """What came of it. ``cases``: requests that were generated and checked."""

    code: int
    cases: int
    output: str


def fuzz(facts: dict[str, Any], surface: str, cases: int, folder: Path) -> Fuzzed:
    """All checks: they are on unless they are switched off. At most ``cases`` generated requests of each kind for each operation, beside those that cover its parameters."""
    described = facts[surface]
    with urllib.request.urlopen(f"{described['mount']}/openapi.json") as answer:
        document = json.load(answer)
    _acquaint(document, described, [_link(described)] if surface == "native" else [])
    schema, config = folder / f"{surface}.json", folder / f"{surface}.toml"
    schema.write_text(json.dumps(document))
    config.write_text(_config(surface, described["headers"]))
    command = [Path(sys.executable).with_name("schemathesis"), "--config-file", config, "run", schema]
    command += ["--url", described["mount"], "--max-examples", str(cases)]
    command += ["--seed", "1", "--no-color", "--continue-on-failure", "--suppress-health-check", "all"]
    kept = {"HYPOTHESIS_STORAGE_DIRECTORY": str(folder.parent / "hypothesis")}  # tables of characters, for all surfaces
    done = subprocess.run(command, cwd=folder, env=os.environ | kept, capture_output=True, text=True, check=False)
    generated = re.search(r"^\s*(\d+) generated", done.stdout, re.MULTILINE)
    return Fuzzed(done.returncode, int(generated[1]) if generated else 0, done.stdout + done.stderr)


def _link(described: dict[str, Any]) -> str:
    """The token of a gateway link."""
    url = f"{described['mount']}/v1/recordings/{described['calls']['ready']}/links"
    request = urllib.request.Request(url, b'{"delivery": "gateway"}', described["headers"], method="POST")
    with urllib.request.urlopen(request) as answer:
        return str(json.load(answer)["url"].split("/")[-2])


def _acquaint(document: dict[str, Any], described: dict[str, Any], links: list[str]) -> None:
    """Lets values that there are come up beside those of the right form, which name nothing."""
    calls, departments = list(described["calls"].values()), list(described["departments"].values())
    lasting = described["departments"]["with_recordings"]
    for path, methods in document["paths"].items():
        for operation in methods.values():
            for parameter in operation.get("parameters", []):
                name, schema = parameter["name"], parameter["schema"]
                if parameter["in"] == "path" and name == "id" and "departments" in path:
                    parameter["schema"] = {"anyOf": [{"enum": departments}, schema]}
                elif parameter["in"] == "path" and name in CALLS:
                    parameter["schema"] = {"anyOf": [{"enum": calls}, schema]}
                elif name == "token":
                    parameter["schema"] = {"anyOf": [{"enum": links}, schema]}
                elif name == "slug":
                    parameter["schema"] = {"anyOf": [{"const": "demo"}, schema]}
    _shorten(document)
    bodies = document["components"]["schemas"]
    asked = [operation.get("requestBody") for methods in document["paths"].values() for operation in methods.values()]
    _close({name: schema for name, schema in bodies.items() if name not in _reached(asked, bodies)})
    for name, member, values in (
        ("CallBody", "department", [lasting, None]),
        ("RecordingBody", "store", ["s3", "disk", None]),
        ("RecordingBody", "key", ["demo/calls/survey.wav", "demo/calls/booking.wav", "demo/calls/none.wav", None]),
    ):
        if name in bodies:
            bodies[name]["properties"][member] = {"enum": values}


def _shorten(schema: Any) -> None:
    """Takes away bounds that no generated text comes near: each is made a part of a pattern, and that takes seconds."""
    if isinstance(schema, dict):
        if isinstance(bound := schema.get("maxLength"), int) and bound > FAR:
            del schema["maxLength"]
        for each in schema.values():
            _shorten(each)
    elif isinstance(schema, list):
        for each in schema:
            _shorten(each)


def _reached(schema: Any, named: dict[str, Any]) -> set[str]:
    """The names that ``schema`` refers to, and those refer to."""
    found = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(schema)))
    return found.union(*(_reached(named[name], named) for name in found))


def _close(schema: Any) -> None:
    """Clients are to pass over members they don't know; here one that is not documented is a defect."""
    if isinstance(schema, dict):
        if schema.get("type") == "object" and "properties" in schema:
            schema.setdefault("additionalProperties", False)
        for each in schema.values():
            _close(each)
    elif isinstance(schema, list):
        for each in schema:
            _close(each)


def _config(surface: str, headers: dict[str, str]) -> str:
    """The project's own settings; the credential goes where the document says that one is taken, and nowhere else."""
    fields = dict(headers)
    secret = (fields.pop("Authorization", None) or fields.pop("X-API-Key")).removeprefix("Bearer ")
    (project,) = (each for each in SETTINGS["project"] if each["title"] == f"Call recordings: {surface}")
    return tomlkit.dumps(
        {"project": [{**project, "headers": fields, "auth": {"openapi": {"bearer": {"bearer": secret}}}}]}
    )
