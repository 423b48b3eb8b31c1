"""How a command fails."""


class CommandFailed(Exception):  # noqa: N818 -- said by a command about itself
    """A command cannot do what it was asked; `str()` says what, and what to do about it."""
