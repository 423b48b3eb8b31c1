"""The rules of `tools` and `tool_choice`.

Tools with a `type` other than `custom` run on the server or have their own schema; they are
accepted and not looked at.
"""

import re
from typing import Any

from services.simulator.errors import invalid
from services.simulator.models import ModelFacts
from services.simulator.validation.schema import check_schema

MAX_STRICT = 20

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}\Z")


def check_tools(body: dict[str, Any], facts: ModelFacts) -> None:
    """Raise the API's 400 for the first broken rule."""
    tools = body.get("tools") or []
    names: set[str] = set()
    strict = 0
    for number, tool in enumerate(tools):
        if not isinstance(tool, dict):
            raise invalid(f"tools.{number}: Input should be a valid dictionary")
        if tool.get("type") not in (None, "custom"):
            continue
        _check_tool(f"tools.{number}", tool)
        if tool["name"] in names:
            raise invalid("tools: Tool names must be unique.")
        names.add(tool["name"])
        if tool.get("strict"):
            strict += 1
            check_schema(tool["input_schema"], f"tools.{number}.custom.input_schema")
    if strict > MAX_STRICT:
        raise invalid(f"tools: too many strict tools: {strict}; the maximum is {MAX_STRICT}")
    _check_choice(body, facts, names, has_tools=bool(tools))


def _check_tool(place: str, tool: dict[str, Any]) -> None:
    name = tool.get("name")
    if name is None:
        raise invalid(f"{place}.custom.name: Field required")
    if not isinstance(name, str) or not _NAME.match(name):
        raise invalid(
            f"{place}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'"
        )
    schema = tool.get("input_schema")
    if schema is None:
        raise invalid(f"{place}.custom.input_schema: Field required")
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise invalid(f"{place}.custom.input_schema.type: Input should be 'object'")


def _check_choice(
    body: dict[str, Any], facts: ModelFacts, names: set[str], *, has_tools: bool
) -> None:
    choice = body.get("tool_choice")
    if not choice:
        return
    kind = choice.get("type")
    if kind not in ("auto", "any", "tool", "none"):
        raise invalid(
            f"tool_choice: Input tag '{kind}' found using 'type' does not match any of the "
            "expected tags: 'auto', 'any', 'tool', 'none'"
        )
    if kind in ("any", "tool") and not facts.forced_tool_choice:
        raise invalid(f"tool_choice.type: '{kind}' is not supported on {facts.id}")
    if kind in ("any", "tool") and not has_tools:
        raise invalid("tool_choice may only be specified while providing tools")
    if kind == "tool" and names and choice.get("name") not in names:
        raise invalid(f"tool_choice: Tool '{choice.get('name')}' not found in provided tools")
