"""The filter options that `dead-letters` and `replay plan` share, read once into a `Selection`."""

import functools
import inspect
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Concatenate, Final, ParamSpec

from typer import Option

from services.ops.dead_letters.selection import Selection, moment
from services.ops.failure import CommandFailed
from sluice_contracts import Tier

P = ParamSpec("P")
AsJson = Annotated[bool, Option("--json", help="Facts as JSON on standard output.")]


def _one(help_text: str, kind: Any = str, **rules: Any) -> Any:
    option = Option(help=help_text, rich_help_panel="Which dead letters", **rules)
    return Annotated[kind | None, option]


def _many(help_text: str, kind: Any = str) -> Any:
    return _one(f"{help_text}; may be repeated.", list[kind])


_OPTIONS: Final[Mapping[str, Any]] = {
    "tier": _many("Only this tier", Tier),
    "code": _many("Only this failure code"),
    "reason": _many("Only this reason, as `stats --by reason --json` names it"),
    "prompt": _many("Only this prompt, `name` or `name@version`"),
    "tenant": _many("Only this tenant"),
    "key": _many("Only this record key"),
    "request_id": _many("Only this request"),
    "detail": _one("Only where the failure's detail holds this text."),
    "since": _one("Only younger: 2026-11-23T14:00 (UTC), or an age: 90m."),
    "until": _one("Only older: a moment or an age."),
    "min_attempts": _one("Only with at least so many attempts.", int, min=0),
    "max_attempts": _one("Only with at most so many attempts.", int, min=0),
    "min_replays": _one("Only replayed at least so often.", int, min=0),
    "max_replays": _one("Only replayed at most so often.", int, min=0),
}


def selecting(command: Callable[Concatenate[Selection, P], None]) -> Callable[P, None]:
    """Give a command the filter options, and hand it the selection that they make."""

    @functools.wraps(command)
    def with_options(*args: P.args, **given: P.kwargs) -> None:
        chosen = {name: given.pop(name) for name in _OPTIONS}
        command(_selection(chosen), *args, **given)

    own = list(inspect.signature(command).parameters.values())[1:]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in _OPTIONS.items()
    ]
    # typer reads both; keyword-only, because options come in any order.
    signature = inspect.Signature([*own, *added])
    with_options.__signature__ = signature  # type: ignore[attr-defined]
    with_options.__annotations__ = {
        name: each.annotation for name, each in signature.parameters.items()
    }
    return with_options


def _selection(given: Mapping[str, Any]) -> Selection:
    now = datetime.now(UTC)
    try:
        since = moment(given["since"], now=now) if given["since"] else None
        until = moment(given["until"], now=now) if given["until"] else None
    except ValueError as exc:
        raise CommandFailed(str(exc)) from exc
    if since and until and since >= until:
        raise CommandFailed(f"--since {since:%F %T} is not before --until {until:%F %T}")
    lists = {
        f"{name}s": tuple(given[name] or ())
        for name in ("tier", "code", "reason", "prompt", "tenant", "key", "request_id")
    }
    return Selection(
        **lists,
        detail=given["detail"],
        since=since,
        until=until,
        min_attempts=given["min_attempts"],
        max_attempts=given["max_attempts"],
        min_generation=given["min_replays"],
        max_generation=given["max_replays"],
    )
