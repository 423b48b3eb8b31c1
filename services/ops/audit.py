"""What a person did, as a record of the audit topic: who, what, why, to which request or plan."""

from datetime import datetime
from getpass import getuser
from typing import Any, Final

from sluice_contracts import ActionAudited, Encoded, encode

SOURCE: Final = "/sluice/ops"


def current_operator() -> str:
    """Name the person at this terminal, as the operating system knows them."""
    try:
        return getuser()
    except (OSError, KeyError):
        return "unknown"


def action_audited(
    action: str, *, subject: str, who: str, why: str, now: datetime, **details: Any
) -> Encoded:
    """Encode one action, for example `request.cancelled`, on one subject; holds no content."""
    event = ActionAudited(action=action, subject=subject, who=who, why=why, at=now, details=details)
    return encode(event, source=SOURCE, time=now)
