"""The table of commands."""

import json
import subprocess
import sys

import pytest

from services.ops.__main__ import main
from services.ops.cli import PLACES, load

DESIGNED = {
    "submit", "tail", "cancel", "topics", "rate", "dead-letters", "replay", "prompts", "secrets",
    "doctor", "worker", "relay", "simulator", "demo",
}  # fmt: skip


def test_every_command_of_the_design_is_there() -> None:
    """The table holds the commands that others depend on, and no other."""
    assert set(PLACES) == DESIGNED


@pytest.mark.parametrize("name", sorted(DESIGNED))
def test_every_command_explains_itself(name: str) -> None:
    """Each command and sub-command has a help text, and each option too."""
    waiting = [load(name)]
    while waiting:
        command = waiting.pop()
        waiting += getattr(command, "commands", {}).values()
        assert command.help, command.name
        for parameter in command.params:
            assert getattr(parameter, "help", None), (command.name, parameter.name)


def test_the_overview_imports_no_client() -> None:
    """`sluice --help` is fast because it imports neither Kafka's nor AWS's client, nor rich."""
    script = (
        "import json, sys; from services.ops.cli import app\n"
        "try: app(['--help'], prog_name='sluice')\n"
        "except SystemExit: pass\n"
        "print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    imported = set(json.loads(ran.stderr))

    assert set() == imported & {"aiokafka", "aiobotocore", "pydantic", "rich", "aiohttp"}
    for name in DESIGNED:
        assert name in ran.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--help"], 0, ""),
        (["submit", "--tier", "mini", "--message", "m"], 2, "mini"),
        (["submit", "--tier", "haiku"], 1, "one of 'prompt' and 'messages' is required"),
        (["submit", "--tier", "haiku", "--message", "m", "--limit", "3"], 2, "are for a file"),
        (["submit", "missing.csv", "--tier", "haiku"], 1, "cannot read missing.csv"),
        (["submit", "--tier", "haiku", "--message", "m", "--dry-run"], 0, ""),
        (["tail", "--since", "yesterday"], 1, "write 30s, 10m, 2h or 1d"),
        (["cancel", "r-1"], 2, "--reason"),
        (["prompts", "show", "no-such"], 1, "there is no prompt 'no-such'; released: "),
        (["frobnicate"], 2, "No such command"),
    ],
)
def test_wrong_usage_is_told_from_failure(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    said: str,
) -> None:
    """Wrong usage exits with 2, an explained failure with 1, neither with a traceback."""
    monkeypatch.setattr(sys, "argv", ["sluice", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()

    assert code == (ended.value.code or 0)
    assert said in capsys.readouterr().err


def test_wrong_settings_are_an_explained_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong variable is named, its value is not, and the exit code is 1."""
    monkeypatch.setenv("KAFKA__SECURITY_PROTOCOL", "hunter2")
    monkeypatch.setattr(sys, "argv", ["sluice", "doctor"])
    with pytest.raises(SystemExit) as ended:
        main()

    said = capsys.readouterr().err
    assert ended.value.code == 1
    assert "KAFKA__SECURITY_PROTOCOL" in said
    assert "hunter2" not in said
