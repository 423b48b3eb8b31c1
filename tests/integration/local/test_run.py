"""Whatever becomes of the owner, its processes end and its data goes."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from services.ops.local.processes import Identity
from services.ops.local.run import CHECKOUT, Run, sweep_dead

_OWNER = """
import sys, time
from pathlib import Path
from services.ops.local.run import Run
run = Run.open(Path(sys.argv[1]))
run.data("kafka").mkdir()
child = run.start("child", ["sleep", "60"])
print(child.pid, run._watchdog.pid, run.directory, flush=True)
time.sleep(60)
"""


@pytest.fixture
def owner(tmp_path: Path) -> "subprocess.Popen[str]":
    """A process that owns a run with one child and some data."""
    return subprocess.Popen(
        [sys.executable, "-c", _OWNER, str(tmp_path)],
        stdout=subprocess.PIPE, text=True, cwd=CHECKOUT,
    )  # fmt: skip


def _told(owner: "subprocess.Popen[str]") -> tuple[Identity, Identity, Path]:
    assert owner.stdout is not None
    child, watchdog, directory = owner.stdout.readline().split()
    identities = (Identity.of(int(child)), Identity.of(int(watchdog)))
    assert identities[0] is not None
    assert identities[1] is not None
    return identities[0], identities[1], Path(directory)


def _kill(owner: "subprocess.Popen[str]") -> None:
    owner.kill()
    owner.communicate()


async def _until_dead(process: Identity) -> None:
    async with asyncio.timeout(30):
        while process.is_alive:  # noqa: ASYNC110 - a foreign process
            await asyncio.sleep(0.02)


async def test_when_the_owner_is_killed(owner: "subprocess.Popen[str]") -> None:
    """Its watchdog ends what it left behind, and the logs stay."""
    child, watchdog, directory = _told(owner)
    _kill(owner)
    await _until_dead(child)
    await _until_dead(watchdog)
    assert not (directory / "data").exists()
    assert (directory / "logs" / "child.log").exists()


async def test_when_the_watchdog_is_killed_too(
    owner: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    """The next run that is opened ends what both left behind."""
    child, watchdog, directory = _told(owner)
    watchdog.send(signal.SIGKILL)
    _kill(owner)
    assert child.is_alive
    with Run.open(tmp_path) as run:
        assert not child.is_alive
        assert not (directory / "data").exists()
        assert run.directory.exists()


async def test_when_the_owner_lives_its_run_is_left_alone(
    owner: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    """Only dead owners are cleaned up after."""
    child, _, directory = _told(owner)
    sweep_dead(tmp_path)
    assert child.is_alive
    assert (directory / "data" / "kafka").exists()
    _kill(owner)
    await _until_dead(child)


async def test_a_process_with_the_pid_of_ours_is_not_ours(tmp_path: Path) -> None:
    """The start time tells them apart, and a stranger is not signalled."""
    with Run.open(tmp_path) as run:
        child = run.start("child", ["sleep", "60"])
        stranger = Identity(child.pid, "0")
        assert not stranger.send(signal.SIGKILL)
        assert child.is_running
        assert os.getpid() != child.pid
    assert not child.is_running
