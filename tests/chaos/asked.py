"""Which schema a request's output must satisfy: its own, else that of its prompt's file."""

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

_PROMPTS: Final = Path(__file__).parents[2] / "services" / "worker" / "prompts"
_VERSION: Final = re.compile(r"v(\d+)\.md")


def schema_of(value: bytes | None) -> str | None:
    """Return the schema as JSON, None where the request asks for none or cannot be read."""
    try:
        body = json.loads(value or b"")
    except ValueError:
        return None
    if not isinstance(body, dict):
        return None
    if body.get("output_schema") is not None:
        return json.dumps(body["output_schema"])
    prompt, variables = body.get("prompt"), body.get("variables")
    if not isinstance(prompt, str) or not isinstance(variables, dict):
        return None
    return _of_prompt(prompt, json.dumps(variables.get("labels")))


@cache
def _of_prompt(prompt: str, labels: str) -> str | None:
    """Read a prompt's front matter and narrow it to the labels of the request."""
    name, _, version = prompt.partition("@")
    matter = _front_matter(name, version)
    schema = matter.get("output_schema")
    if schema is None:
        return None
    chosen = json.loads(labels)
    for member, variable in (matter.get("choices") or {}).items():
        assert variable == "labels", "the only choice that a shipped prompt offers"
        if chosen is not None:
            schema["properties"][member]["enum"] = chosen
    return json.dumps(schema)


def _front_matter(name: str, version: str) -> Mapping[str, Any]:
    named = ((_VERSION.match(file.name), file) for file in (_PROMPTS / name).glob("v*.md"))
    files = {match[1]: file for match, file in named if match}
    if not files:
        return {}
    chosen = files.get(version) or files[max(files, key=int)]
    found: Mapping[str, Any] = yaml.safe_load(chosen.read_text().split("---\n", 2)[1])
    return found
