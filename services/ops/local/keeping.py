"""A stack that stays up without a terminal: `python -m services.ops.local.keeping` is its owner.

`keep()` starts the owner and waits until its stack is ready; `stop()` asks it to end. What others
need to know of the stack stands in `.cache/up.json` for as long as it runs.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from services.ops.failure import CommandFailed
from services.ops.local.processes import Identity
from services.ops.local.run import CACHE, CHECKOUT
from services.ops.local.stack import Stack, StackPlan
from services.runtime.failure import explain

_STATE: Final = CACHE / "up.json"
_LOG: Final = CACHE / "up.log"
_START_SECONDS: Final = 180.0
_STOP_SECONDS: Final = 60.0
_LOOK_AGAIN: Final = 0.1


def running() -> dict[str, Any] | None:
    """Return what is known of the stack that is up: `environment`, `logs`, `owner`."""
    try:
        state: dict[str, Any] = json.loads(_STATE.read_text())
        owner = Identity(**state["owner"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return state if owner.is_alive else None


def keep() -> dict[str, Any]:
    """Start a stack that outlives this process, or find the one that is up.

    Raises:
        CommandFailed: It did not become ready.
    """
    if (state := running()) is not None:
        return state
    CACHE.mkdir(exist_ok=True)
    with _LOG.open("wb") as log:
        owner = subprocess.Popen(
            [sys.executable, "-m", "services.ops.local.keeping"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            cwd=CHECKOUT, start_new_session=True,
        )  # fmt: skip
    deadline = time.monotonic() + _START_SECONDS
    while (state := running()) is None:
        if owner.poll() is not None or time.monotonic() > deadline:
            owner.terminate()
            raise CommandFailed(f"the stack did not start; see {_LOG}:\n{_last_words()}")
        time.sleep(_LOOK_AGAIN)
    return state


def stop() -> bool:
    """End the stack that is up; return whether there was one.

    Raises:
        CommandFailed: It does not end.
    """
    state = running()
    if state is None:
        return False
    owner = Identity(**state["owner"])
    owner.send(signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while owner.is_alive:
        if time.monotonic() > deadline:
            raise CommandFailed(f"process {owner.pid} does not end; see {_LOG}")
        time.sleep(_LOOK_AGAIN)
    return True


def _last_words() -> str:
    lines = _LOG.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-15:])


async def _own() -> None:
    """Hold a stack until SIGTERM or SIGINT."""
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    owner = Identity.of(os.getpid())
    assert owner is not None, "this process runs"
    plan = StackPlan(
        bootstrap_servers=os.environ.get("KAFKA__BOOTSTRAP_SERVERS"),
        topic_prefix=os.environ.get("KAFKA__TOPIC_PREFIX", ""),
        has_well_known_ports=True,
    )
    async with Stack.running(plan, report=_write) as stack:
        state = {
            "owner": asdict(owner),
            "environment": stack.environment,
            "logs": str(stack.run.logs),
            "probes": {room.name: room.url for room in stack.rooms},
        }
        await asyncio.to_thread(_publish, state)
        try:
            await ended.wait()
        finally:
            await asyncio.to_thread(_STATE.unlink, missing_ok=True)


def _write(what: str) -> None:
    sys.stdout.write(f"starting {what}\n")
    sys.stdout.flush()


def _publish(state: dict[str, Any]) -> None:
    unfinished = Path(f"{_STATE}.new")
    unfinished.write_text(json.dumps(state, indent=1))
    unfinished.rename(_STATE)  # whoever reads it reads it whole


def main() -> None:
    """Hold a stack; a failure is explained in the log."""
    try:
        asyncio.run(_own())
    except Exception as exc:
        said = explain(exc)
        if said is None:
            raise
        sys.exit(f"error: {said}")


if __name__ == "__main__":
    main()
