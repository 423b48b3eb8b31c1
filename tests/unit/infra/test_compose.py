"""docker-compose.yml, the images and .env.example say what the code says."""

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from services.ops.cli import PLACES
from services.ops.local.distribution import kafka_version
from services.ops.local.nodes import SHARED_PROPERTIES, replication_properties
from services.relay.settings import RelaySettings
from services.simulator.settings import SimulatorSettings
from services.worker.settings import WorkerSettings

ROOT = Path(__file__).parents[3]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ROOMS = [name for name, service in SERVICES.items() if service.get("image") == "sluice"]
DOCKERFILE = (ROOT / "infra/images/Dockerfile").read_text()


def _defaults(settings: BaseModel, before: str = "") -> Iterator[tuple[str, Any]]:
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            yield from _defaults(value, f"{before}{name}__".upper())
        yield f"{before}{name}".upper(), value


KNOWN = {
    **dict(_defaults(RelaySettings.model_construct())),
    **dict(_defaults(WorkerSettings.model_construct())),
}


@pytest.mark.parametrize("name", [name for name in SERVICES if "command" in SERVICES[name]])
def test_every_command_exists(name: str) -> None:
    """A service starts a module that can be imported, or a command that `sluice` has."""
    program, *rest = SERVICES[name]["command"]
    if program == "python":
        assert "-m" == rest[0]
        assert importlib.util.find_spec(rest[1]) is not None
    else:
        assert "sluice" == program
        assert rest[0] in PLACES


@pytest.mark.parametrize("name", ROOMS)
def test_every_variable_is_a_setting(name: str) -> None:
    """A room's environment holds nothing that no setting reads."""
    assert set() == set(SERVICES[name]["environment"]) - set(KNOWN)


def test_the_image_sets_known_variables_only() -> None:
    """What the image sets for a room is a setting."""
    assert set() == set(re.findall(r"\b([A-Z]+__[A-Z_]+)=", DOCKERFILE)) - set(KNOWN)


def test_the_broker_is_set_as_the_launcher_sets_its_own() -> None:
    """Every property that the launcher's single broker gets is given to the image, and equal."""
    given = {str(k): str(v) for k, v in SERVICES["kafka"]["environment"].items()}
    expected = {**SHARED_PROPERTIES, **replication_properties(1)}
    shown = {name: given.pop(f"KAFKA_{name.upper().replace('.', '_')}", "") for name in expected}
    assert expected == shown
    assert {
        "KAFKA_NODE_ID", "KAFKA_CONTROLLER_QUORUM_VOTERS", "KAFKA_LISTENERS",
        "KAFKA_ADVERTISED_LISTENERS", "KAFKA_LOG_DIRS", "KAFKA_HEAP_OPTS",
    } == set(given)  # fmt: skip


def test_the_broker_is_of_the_launchers_version() -> None:
    """Both run the same Kafka."""
    assert f"apache/kafka:{kafka_version()}" == SERVICES["kafka"]["image"]


def test_rooms_find_what_is_started() -> None:
    """Each address in a room's environment is a service that listens on that port."""
    listening = {
        "kafka": set(re.findall(r":(\d+)", SERVICES["kafka"]["environment"]["KAFKA_LISTENERS"])),
        "moto": {SERVICES["moto"]["command"][-1]},
        "simulator": {SERVICES["simulator"]["command"][-1]},
    }
    for name in ROOMS:
        for value in SERVICES[name]["environment"].values():
            for host, port in re.findall(r"(\w+):(\d+)", value):
                assert port in listening[host], f"{name} looks for {value}"


def test_published_ports_are_the_defaults_of_the_settings() -> None:
    """`sluice …` on this machine finds what compose publishes, on loopback only."""
    published = {
        name: [str(port) for port in service.get("ports", [])] for name, service in SERVICES.items()
    }
    health = KNOWN["HEALTH__PORT"]
    assert ["127.0.0.1:9092:9092"] == published["kafka"]
    assert "127.0.0.1:9092" == KNOWN["KAFKA__BOOTSTRAP_SERVERS"]
    simulator = dict(_defaults(SimulatorSettings.model_construct()))["PORT"]
    assert [f"127.0.0.1:{simulator}:{simulator}"] == published["simulator"]
    assert [f"127.0.0.1:{health}:{health}"] == published["worker"]
    assert all(p.startswith("127.0.0.1:") for ports in published.values() for p in ports)


def test_a_worker_is_not_killed_while_its_calls_finish() -> None:
    """Docker waits for the worker's own grace period and 20 s more."""
    needed = KNOWN["ENGINE__GRACE"].total_seconds() + 20
    assert f"{needed:.0f}s" == SERVICES["worker"]["stop_grace_period"]


def test_every_lasting_service_has_a_health_check() -> None:
    """What keeps running can be waited for."""
    lasting = {name for name, each in SERVICES.items() if each.get("restart") == "unless-stopped"}
    assert {"kafka", "moto", "simulator", "worker", "relay"} == lasting
    assert all("test" in SERVICES[name]["healthcheck"] for name in lasting)


def test_the_images_do_not_run_as_root() -> None:
    """The last user that the deployed image sets is not root."""
    assert ["10001"] == re.findall(r"^USER (\S+)", DOCKERFILE, re.MULTILINE)
    assert DOCKERFILE.rstrip().splitlines()[-1].startswith("CMD")


def _pins(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9.-]+)==([^ \\]+)", path.read_text(), re.MULTILINE))


def test_the_deployed_lock_is_a_part_of_the_whole_one() -> None:
    """The image gets the versions that the tests ran with, and no tool of the tests."""
    deployed, whole = (
        _pins(ROOT / "infra/images/requirements.lock"),
        _pins(ROOT / "requirements.lock"),
    )
    assert deployed == {name: whole.get(name) for name in deployed}
    assert set() == {"moto", "pytest", "confluent-kafka", "mypy"} & set(deployed)
    declared = set(re.findall(r'^  "([a-z-]+)[\[>]', _dependencies(), re.MULTILINE))
    assert set() == declared - set(deployed)


def _dependencies() -> str:
    text = (ROOT / "pyproject.toml").read_text()
    return text.partition("\ndependencies = [")[2].partition("\n]")[0]


def test_the_example_shows_settings_and_their_defaults() -> None:
    """Each line of .env.example names a setting; what is commented out is its default."""
    lines = (ROOT / ".env.example").read_text().splitlines()
    shown = [re.fullmatch(r"(#?)([A-Z][A-Z_]+)=(.*)", line) for line in lines]
    found = [match.groups() for match in shown if match]
    assert set() == {name for _, name, _ in found} - set(KNOWN)
    assert found
    for mark, name, value in found:
        if mark and name not in ("SECRETS__API_KEY", "TIERS", "SECRETS__POLL_INTERVAL"):
            assert value == str(KNOWN[name]).rstrip("/"), name
