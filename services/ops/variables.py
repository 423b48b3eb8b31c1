"""Every environment variable that a room reads: its name, kind, default and meaning."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from importlib import import_module
from types import UnionType
from typing import Any, Final, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_settings import BaseSettings

ROOMS: Final = {
    "worker": "services.worker.settings:WorkerSettings",
    "relay": "services.relay.settings:RelaySettings",
    "ops": "services.ops.settings:OpsSettings",
    "simulator": "services.simulator.settings:SimulatorSettings",
}
"""By name, because a room may not import another; this page is about all of them."""
_KINDS: Final = {
    "AnyHttpUrl": "URL",
    "Path": "path",
    "SecretStr": "secret",
    "bool": "true or false",
    "float": "number",
    "int": "whole number",
    "str": "text",
    "timedelta": "duration",
}
_UNITS: Final = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


@dataclass(frozen=True, slots=True)
class Variable:
    """One environment variable."""

    name: str
    kind: str
    default: str
    meaning: str


def settings_of(room: str) -> type[BaseSettings]:
    """Import a room's settings."""
    module, _, name = ROOMS[room].partition(":")
    found: type[BaseSettings] = getattr(import_module(module), name)
    return found


def variables(settings: type[BaseModel]) -> Iterator[Variable]:
    """List the variables of a settings class, blocks flattened, in the order of the code."""
    prefix = str(getattr(settings, "model_config", {}).get("env_prefix", "")).upper()
    yield from _fields(settings, None, prefix)


def _fields(model: type[BaseModel], default: BaseModel | None, prefix: str) -> Iterator[Variable]:
    for name, field in model.model_fields.items():
        # A block's own default may differ from that of its class: a model per tier, for one.
        given = (
            getattr(default, name)
            if default is not None
            else field.get_default(call_default_factory=True)
        )
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            block = given if isinstance(given, BaseModel) else None
            yield from _fields(kind, block, f"{prefix}{name.upper()}__")
            continue
        yield Variable(
            name=f"{prefix}{name.upper()}",
            kind=_kind(kind),
            default=_default(given),
            meaning=" ".join((field.description or "").split()),
        )


def _kind(annotation: Any) -> str:
    if get_origin(annotation) in {Union, UnionType}:
        parts = [part for part in get_args(annotation) if part is not type(None)]
        return " or ".join(_kind(part) for part in parts)
    if get_origin(annotation) in {frozenset, list, tuple, set}:
        return "JSON list"
    if get_origin(annotation) is dict:
        return "JSON object"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return ", ".join(f"`{member.value}`" for member in annotation)
    return _KINDS.get(getattr(annotation, "__name__", ""), "text")


def _default(value: Any) -> str:
    if value is None or value == "":
        return "none"
    if isinstance(value, timedelta):
        return f"`{_duration(value)}`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, list | tuple | frozenset):
        members = sorted(value) if isinstance(value, frozenset) else value
        return "`[" + ", ".join(f'"{member}"' for member in members) + "]`"
    if isinstance(value, Enum):
        return f"`{value.value}`"
    return f"`{value}`"


def _duration(value: timedelta) -> str:
    seconds = value.total_seconds()
    if seconds and seconds < 1:
        return f"{seconds * 1000:g}ms"
    for unit, length in _UNITS:
        if seconds and seconds % length == 0:
            return f"{seconds / length:g}{unit}"
    return f"{seconds:g}s"
