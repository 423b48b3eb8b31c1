"""Looking at dead letters: `letter` reads one, `selection` says which, `scan` streams them."""

from services.ops.dead_letters.commands import dead_letters_app

__all__ = ["dead_letters_app"]
