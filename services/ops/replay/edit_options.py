"""The options that say what a replay changes, read into an `Edit`."""

import json
from pathlib import Path
from typing import Annotated, Final

from pydantic import ValidationError
from typer import Option

from services.ops.failure import CommandFailed
from services.ops.replay.edit import Edit
from sluice_contracts import Tier

_PANEL: Final = "What to change"

ToTier = Annotated[Tier | None, Option(help="Send to this tier instead.", rich_help_panel=_PANEL)]
PromptVersion = Annotated[
    str | None,
    Option(help="Another version of its prompt, `3`, or `name@3`.", rich_help_panel=_PANEL),
]
MaxTokens = Annotated[int | None, Option(min=1, help="Another max_tokens.", rich_help_panel=_PANEL)]
MergePatch = Annotated[
    str | None, Option(help="JSON merge patch (RFC 7386), or @file.json.", rich_help_panel=_PANEL)
]


def read_edit(
    tier: Tier | None, prompt_version: str | None, max_tokens: int | None, patch: str | None
) -> Edit:
    """Read the options.

    Raises:
        CommandFailed: They make no edit.
    """
    prompt = prompt_version
    if prompt is not None and "@" not in prompt:
        prompt = f"@{prompt}"
    try:
        text = Path(patch[1:]).read_text() if patch and patch.startswith("@") else patch
        merged = None if text is None else json.loads(text)
        return Edit(tier=tier, prompt=prompt, max_tokens=max_tokens, merge_patch=merged)
    except json.JSONDecodeError as exc:
        raise CommandFailed(f"--merge-patch is no JSON: {exc}") from exc
    except ValidationError as exc:
        raise CommandFailed(f"the edit is wrong: {_said(exc)}") from exc


def _said(exc: ValidationError) -> str:
    return exc.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
