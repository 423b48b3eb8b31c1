"""What others wrote, made fit for the terminal of whoever looks at it.

Keys, reasons and details come from records. Printed as they are, an escape sequence in one could
move the cursor, hide lines, rename the window or fill the clipboard.
"""

from typing import Final
from unicodedata import category

_STEERS: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Controls, marks that turn the direction of writing, lone surrogates, separators of lines."""
_HARMLESS: Final = frozenset("\u200c\u200d")
"""Joiners: marks like the others, but words of many scripts and emoji need them."""
_LAYOUT: Final = frozenset("\n\t")


def printable(text: str, *, lines: bool = False) -> str:
    r"""Write out what would steer a terminal: an escape becomes the four characters `\x1b`.

    Args:
        text: What somebody else wrote.
        lines: Whether its line breaks and tabs stay.
    """
    if text.isprintable():
        return text
    kept = _HARMLESS | _LAYOUT if lines else _HARMLESS
    return "".join(
        char if char in kept or category(char) not in _STEERS else _written_out(char)
        for char in text
    )


def _written_out(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
