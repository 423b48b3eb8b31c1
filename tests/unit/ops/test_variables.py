"""The list of environment variables."""

from datetime import timedelta

import pytest

from services.ops.variables import ROOMS, Variable, settings_of, variables
from services.runtime.settings import Block, LogLevel, Settings


class Inner(Block):
    """A block in a block."""

    name: str
    """A name."""
    wait: timedelta = timedelta(milliseconds=250)
    """A wait,
    over two lines."""


class Outer(Settings):
    """Settings with a block whose defaults are not its class's."""

    inner: Inner = Inner(name="given", wait=timedelta(minutes=90))
    """The inner one."""
    levels: frozenset[LogLevel] = frozenset({LogLevel.INFO, LogLevel.ERROR})
    """Some levels."""


def test_blocks_are_flattened_with_the_defaults_that_count() -> None:
    """A nested field is named by its path and has the default of where it stands."""
    listed = {variable.name: variable for variable in variables(Outer)}

    assert listed["INNER__NAME"] == Variable("INNER__NAME", "text", "`given`", "A name.")
    assert listed["INNER__WAIT"] == Variable(
        "INNER__WAIT", "duration", "`90m`", "A wait, over two lines."
    )
    assert listed["LEVELS"].default == '`["error", "info"]`'


@pytest.mark.parametrize("room", ROOMS)
def test_every_variable_of_every_room_is_explained(room: str) -> None:
    """Each setting has a docstring that is a sentence, and no default shows a password."""
    for variable in variables(settings_of(room)):
        assert variable.meaning.endswith((".", ")")), variable.name
        assert "SecretStr" not in variable.default


def test_the_same_variable_means_the_same_thing_in_every_room() -> None:
    """A variable of two rooms has one kind and one default."""
    seen: dict[str, tuple[str, str]] = {}
    for room in ROOMS:
        for variable in variables(settings_of(room)):
            here = (variable.kind, variable.default)
            assert seen.setdefault(variable.name, here) == here, variable.name
