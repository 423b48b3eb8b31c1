"""One released version of one prompt: its front matter, its sections, and how a request fills it.

A version's file is YAML front matter, the four sections of a system prompt (Role, Instructions,
Output format, Guardrails), and `# User`, the template of the user's turn. Where versions are kept
and chosen is `library.py`.
"""

import re
from hashlib import sha256
from typing import Any, Final

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import to_json

from services.worker.causes import NO_VARIABLE, ODD_VARIABLE
from services.worker.schemas import OutputSchema
from sluice_contracts import Effort, Tier

SECTIONS: Final = ("Role", "Instructions", "Output format", "Guardrails", "User")
_PLACEHOLDER: Final = re.compile(r"\{\{([a-z_]+)\}\}")
_HEADING: Final = re.compile(r"^# (.+)$", re.MULTILINE)


class PromptError(Exception):
    """A prompt file is wrong: found at start and in CI, never at a request's cost."""


class Variable(BaseModel):
    """A value that a request fills in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    required: bool
    description: str


class _FrontMatter(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    description: str
    tier: Tier
    max_tokens: int = Field(ge=1)
    effort: Effort | None = None
    thinking: dict[str, Any] | None = None
    variables: dict[str, Variable] = Field(default_factory=dict)
    output_schema: dict[str, Any] | None = None
    choices: dict[str, str] = Field(default_factory=dict)
    """Property of the output to the variable that lists its values, where it is given."""


class Prompt:
    """One released version of one prompt."""

    def __init__(self, name: str, version: int, text: str) -> None:
        self.name: Final = name
        self.version: Final = version
        self.reference: Final = f"{name}@{version}"
        try:
            _, matter, body = text.split("---\n", 2)
            self.meta: Final = _FrontMatter.model_validate(yaml.safe_load(matter))
        except (ValueError, ValidationError, yaml.YAMLError) as exc:
            raise PromptError(f"prompt {self.reference!r}: front matter: {exc}") from exc
        sections = _sections(body)
        if tuple(sections) != SECTIONS:
            raise PromptError(
                f"prompt {self.reference!r} has sections {list(sections)}; write {list(SECTIONS)}"
            )
        self.user: Final = sections.pop("User")
        self.system: Final = "\n\n".join(f"# {key}\n\n{said}" for key, said in sections.items())
        self.sha256: Final = sha256(self.system.encode()).hexdigest()
        self.schema: Final = (
            OutputSchema.compile(to_json(self.meta.output_schema))
            if self.meta.output_schema is not None
            else None
        )
        used = set(_PLACEHOLDER.findall(self.user))
        if used != set(self.meta.variables):
            raise PromptError(
                f"prompt {self.reference!r} declares {sorted(self.meta.variables)} and uses"
                f" {sorted(used)}; they must agree"
            )

    def schema_for(self, variables: dict[str, Any]) -> OutputSchema | None:
        """Return the schema of an answer, narrowed to the choices that the request gives.

        Raises:
            SluiceError: `invalid_event`: choices are not a list of different strings.
        """
        given = {
            place: variables[name]
            for place, name in self.meta.choices.items()
            if variables.get(name) is not None
        }
        if not given or self.meta.output_schema is None:
            return self.schema
        schema = dict(self.meta.output_schema)
        schema["properties"] = dict(schema["properties"])
        for place, values in given.items():
            if not _are_choices(values):
                raise ODD_VARIABLE.error(
                    f"prompt {self.reference!r}: variable {self.meta.choices[place]!r} must be a"
                    " list of different strings"
                )
            schema["properties"][place] = {**schema["properties"][place], "enum": values}
        return OutputSchema.compile(to_json(schema))

    def fill(self, variables: dict[str, Any]) -> str:
        """Write the user's turn: each value inside tags of its own name, as data.

        Values are inserted in one pass and never read again, so nothing in them can act as a
        template, and they cannot close their tag. A paragraph whose optional value is not given
        is left out.

        Raises:
            SluiceError: `variables_missing`, or `invalid_event` for one that is not known.
        """
        known = self.meta.variables
        missing = [n for n, v in known.items() if v.required and variables.get(n) is None]
        if missing:
            raise NO_VARIABLE.error(
                f"prompt {self.reference!r} needs variable {missing[0]!r}: "
                f"{known[missing[0]].description}"
            )
        unknown = sorted(name for name in variables if name not in known)
        if unknown:
            raise ODD_VARIABLE.error(
                f"prompt {self.reference!r} takes {', '.join(known)}, and not this variable",
                quoted=repr(unknown[0][:64]),
            )
        paragraphs = [
            _PLACEHOLDER.sub(lambda found: _tagged(found[1], variables[found[1]]), paragraph)
            for paragraph in self.user.split("\n\n")
            if all(variables.get(name) is not None for name in _PLACEHOLDER.findall(paragraph))
        ]
        return "\n\n".join(paragraphs)


def _sections(body: str) -> dict[str, str]:
    headings = list(_HEADING.finditer(body))
    ends = [heading.start() for heading in headings[1:]] + [len(body)]
    return {
        heading[1]: body[heading.end() : end].strip()
        for heading, end in zip(headings, ends, strict=True)
    }


def _are_choices(values: Any) -> bool:
    return (
        isinstance(values, list)
        and bool(values)
        and all(isinstance(value, str) for value in values)
        and len(set(values)) == len(values)
    )


def _tagged(name: str, value: Any) -> str:
    text = value if isinstance(value, str) else to_json(value, indent=None).decode()
    # Only the tag that could be closed is disarmed: quotes from the text stay exact.
    guarded = re.sub(rf"<(?=/?\s*{name}\b)", "&lt;", text, flags=re.IGNORECASE)
    return f"<{name}>\n{guarded}\n</{name}>"
