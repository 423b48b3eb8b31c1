"""`sluice secrets show | rotate`: the versions of the API key, never their values."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from services.ops.api import ask_models
from services.ops.failure import CommandFailed
from services.ops.settings import OpsSettings
from services.runtime.secret import Secret, SecretInvalid, parse
from services.runtime.secrets import open_vault
from services.runtime.settings import read

secrets_app: Final = typer.Typer(
    no_args_is_help=True, help="Show and rotate the API key's versions; values are never shown."
)
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@secrets_app.command("show")
def show(*, json_: Json = False) -> None:
    """Show the secret's name, place and versions with their stages."""
    settings = read(OpsSettings)
    facts = asyncio.run(_facts(settings))
    if json_:
        typer.echo(json.dumps(facts))
        return
    typer.echo(f"{facts['name']} at {facts['place']}: key {facts['key_id']} in use")
    for row in facts["versions"]:
        typer.echo(f"  {row['version']}  {row['created'] or '-':<32}  {', '.join(row['stages'])}")


async def _facts(settings: OpsSettings) -> dict[str, Any]:
    async with open_vault(settings) as vault:
        current = await vault.current()
        return {
            "name": settings.secret_name,
            "place": vault.place,
            "key_id": current.key_id,
            "versions": [
                {
                    "version": row.version,
                    "stages": list(row.stages),
                    "created": row.created.isoformat() if row.created else None,
                }
                for row in await vault.versions()
            ],
        }


@secrets_app.command("rotate")
def rotate(
    *,
    from_file: Annotated[
        Path | None, typer.Option(help="Read the new key from a file; default: ask, or stdin.")
    ] = None,
    create: Annotated[
        bool, typer.Option("--create", help="Create the secret with its first key.")
    ] = False,
    try_first: Annotated[
        bool, typer.Option("--try/--no-try", help="Ask the API with the new key before it is used.")
    ] = True,
    json_: Json = False,
) -> None:
    """Store a new key, try it, and make it the one in use; running workers pick it up.

    The key is read from a prompt, a pipe or a file, never from the command line, which others on
    the machine can see. Deactivate the old key at Anthropic after the longest call has ended.
    """
    settings = read(OpsSettings)
    key = _read_key(from_file)
    facts = asyncio.run(_rotate(settings, key, create=create, try_first=try_first))
    if json_:
        typer.echo(json.dumps(facts))
    else:
        seconds = settings.secrets.poll_interval.total_seconds() * 1.2
        typer.echo(
            f"{facts['name']}: key {facts['key_id']} is in use, version {facts['version']}; every "
            f"worker has it within {seconds:.0f} s, or at its first refused call"
        )


def _read_key(path: Path | None) -> str:
    if path is not None:
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as exc:
            raise CommandFailed(f"cannot read the new key: {exc}") from exc
    elif sys.stdin.isatty():
        text = typer.prompt("New API key", hide_input=True)
    else:
        text = sys.stdin.read()
    try:
        return parse(text)
    except SecretInvalid as exc:
        raise CommandFailed(f"the new key cannot be used: {exc}") from None


async def _rotate(
    settings: OpsSettings, key: str, *, create: bool, try_first: bool
) -> dict[str, Any]:
    async with open_vault(settings) as vault:
        if create:
            if try_first:
                await _try(settings, Secret(key, version="new"))
            fresh = await vault.create(key)
        else:
            fresh = await vault.put_pending(key)
            if try_first:
                # After it was stored: what is tried is what will be used.
                await _try(settings, fresh)
            await vault.promote(fresh)
        return {
            "name": settings.secret_name,
            "place": vault.place,
            "key_id": fresh.key_id,
            "version": fresh.version,
        }


async def _try(settings: OpsSettings, key: Secret) -> None:
    base_url = str(settings.claude.base_url)
    answer = await ask_models(base_url, key, clock=asyncio.get_running_loop().time)
    if not answer.models:
        raise CommandFailed(
            f"the API at {base_url} does not take the new key "
            f"({answer.status or 'no answer'}: {answer.problem}); the key in use stays. Store a "
            "key that works, or say --no-try where the API cannot be reached from here"
        )
