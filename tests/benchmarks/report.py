"""How every benchmark ends: the conditions, then one JSON object on the last line."""

import json
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console

LIBRARIES = ("faststream", "aiokafka", "anthropic", "pydantic", "uvloop")


def conditions() -> dict[str, Any]:
    """Describe the machine and the libraries a figure was measured with."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "load_1m": round(os.getloadavg()[0], 2),
        "cpu": _cpu(),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
    }


def finish(console: Console, figures: dict[str, Any], detail: Mapping[str, Any] = {}) -> None:
    """Print the conditions for people and the figures for programs; nothing may follow.

    Args:
        console: Where people read.
        figures: What the benchmark is asked for, by the names that others rely on.
        detail: What else was found, beside the machine and the libraries.
    """
    said = {**conditions(), **detail}
    console.print("conditions", said)
    print(json.dumps({**figures, "conditions": said}), flush=True)


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if "model name" in line), "")
