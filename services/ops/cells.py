"""The cells of tables for people; apart from `printable`, because rich takes long to import."""

from rich.text import Text

from services.ops.printable import printable


def cell(value: object, style: str = "", *, lines: bool = False) -> Text:
    """Make a table's cell of what others wrote; unlike a bare string, rich reads no markup in it.

    Args:
        value: What to show; nothing for None.
        style: Of rich.
        lines: Whether its line breaks and tabs stay.
    """
    return Text("" if value is None else printable(str(value), lines=lines), style=style)
