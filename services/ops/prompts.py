"""`sluice prompts list | show`: the released versions of the prompt library, from its files.

The files are the worker's; its code is not imported here. What a version means is the worker's
business, and `docs/` explains the format.
"""

import json
import tomllib
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Final

import typer
import yaml

from services.ops.failure import CommandFailed

LIBRARY: Final = Path(__file__).parents[1] / "worker" / "prompts"
_DEFAULTS: Final = "prompts.toml"

prompts_app: Final = typer.Typer(
    no_args_is_help=True, help="Look at the prompt library: names, versions, variables."
)
Library = Annotated[
    Path | None,
    typer.Option("--library", help="Folder of the prompt library; default: the worker's own."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dataclass(frozen=True, slots=True)
class Released:
    """One version of a prompt."""

    name: str
    version: int
    is_default: bool
    path: Path
    text: str
    front_matter: dict[str, Any]

    def facts(self) -> dict[str, Any]:
        """Describe the version, fit for JSON."""
        variables = self.front_matter.get("variables", {})
        return {
            "name": self.name,
            "version": self.version,
            "default": self.is_default,
            "tier": self.front_matter.get("tier"),
            "description": self.front_matter.get("description"),
            "max_tokens": self.front_matter.get("max_tokens"),
            "variables": {
                name: {"required": bool(one.get("required")), "description": one.get("description")}
                for name, one in variables.items()
            },
            "file_sha256": sha256(self.text.encode()).hexdigest(),
        }


@prompts_app.command("list")
def list_(*, library: Library = None, json_: Json = False) -> None:
    """List every released version; the one marked * answers requests that name none."""
    found = released(library or LIBRARY)
    if json_:
        typer.echo(json.dumps([one.facts() for one in found], ensure_ascii=False, indent=1))
        return
    for one in found:
        mark = "*" if one.is_default else " "
        matter = one.front_matter
        needs = ", ".join(
            name if of.get("required") else f"[{name}]"
            for name, of in matter.get("variables", {}).items()
        )
        name = f"{one.name}@{one.version}"
        typer.echo(f"{mark} {name:<24} {matter.get('tier', '-'):<7} {needs}")
        typer.echo(f"  {'':<24} {'':<7} {matter.get('description', '')}")


@prompts_app.command("show")
def show(
    prompt: Annotated[str, typer.Argument(help="name or name@version.")],
    *,
    library: Library = None,
    json_: Json = False,
) -> None:
    """Show one version as it is written; without a version, the default one."""
    name, _, version = prompt.partition("@")
    every = released(library or LIBRARY)
    of_name = [one for one in every if one.name == name]
    if not of_name:
        known = ", ".join(sorted({one.name for one in every}))
        raise CommandFailed(f"there is no prompt '{name}'; released: {known}")
    chosen = [
        one for one in of_name if (str(one.version) == version if version else one.is_default)
    ]
    if not chosen:
        known = ", ".join(str(one.version) for one in of_name)
        wanted = f"version {version}" if version else f"default version in {_DEFAULTS}"
        raise CommandFailed(f"prompt '{name}' has no {wanted}; released: {known}")
    if json_:
        facts = {**chosen[0].facts(), "text": chosen[0].text}
        typer.echo(json.dumps(facts, ensure_ascii=False, indent=1))
    else:
        typer.echo(chosen[0].text)


def released(library: Path) -> list[Released]:
    """Read every version, by name and number.

    Raises:
        CommandFailed: The folder is no prompt library.
    """
    try:
        defaults = tomllib.loads((library / _DEFAULTS).read_text(encoding="utf-8"))["defaults"]
    except (OSError, KeyError, tomllib.TOMLDecodeError) as exc:
        raise CommandFailed(f"{library} is no prompt library: {exc}") from exc
    found = []
    for path in library.glob("*/v*.md"):
        number = path.stem.removeprefix("v")
        if number.isdigit():
            text = path.read_text(encoding="utf-8")
            name, version = path.parent.name, int(number)
            is_default = defaults.get(name) == version
            found.append(Released(name, version, is_default, path, text, _front_matter(path, text)))
    return sorted(found, key=lambda one: (one.name, one.version))


def _front_matter(path: Path, text: str) -> dict[str, Any]:
    _, _, rest = text.partition("---\n")
    written, _, _ = rest.partition("\n---\n")
    try:
        parsed = yaml.safe_load(written)
    except yaml.YAMLError as exc:
        raise CommandFailed(f"{path}: the front matter is no YAML: {exc}") from exc
    return parsed if isinstance(parsed, dict) else {}
