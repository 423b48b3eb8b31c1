"""Java, and the jars of a Kafka broker: found, or fetched once into `.cache/kafka/<version>`."""

import asyncio
import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TextIO

from services.ops.local.run import CACHE, CHECKOUT

POM: Final = CHECKOUT / "infra" / "kafka" / "pom.xml"
_COMPLETE: Final = "complete.json"
_LEAST_JAVA: Final = 17
_FETCH_SECONDS: Final = 600.0


class KafkaUnavailableError(Exception):
    """Kafka cannot be started here; the message says what to install."""


def kafka_version(pom: Path = POM) -> str:
    """Read the version of Kafka from the pom, its only home."""
    try:
        found = re.search(r"<kafka\.version>(.+?)</kafka\.version>", pom.read_text())
    except FileNotFoundError:
        raise KafkaUnavailableError(
            f"{pom} is missing: a local Kafka needs a checkout of the repository, "
            "not the installed package; or set KAFKA__BOOTSTRAP_SERVERS to a broker that is there"
        ) from None
    assert found is not None, "the pom names its version"
    return found[1]


async def find_java() -> str:
    """Return the path of a Java that is new enough for the broker."""
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin" if home else None)
    said = "" if java is None else (await _run(java, "-version"))[1]
    version = re.search(r'version "(?:1\.)?(\d+)', said)
    if java is None or version is None:
        raise KafkaUnavailableError(_missing("Java", "java"))
    if int(version[1]) < _LEAST_JAVA:
        raise KafkaUnavailableError(
            f"Java {version[1]} at {java} is too old for Kafka {kafka_version()}: "
            + _missing("Java", "java")
        )
    return java


def _missing(thing: str, command: str) -> str:
    packages = {
        "java": ("openjdk-17-jre-headless", "openjdk@17"),
        "mvn": ("maven", "maven"),
    }[command]
    least = f" {_LEAST_JAVA} or newer" if command == "java" else ""
    return (
        f"{thing}{least} is needed to run Kafka {kafka_version()} on this machine. "
        "Install it with\n"
        f"  Debian, Ubuntu:  sudo apt-get install {packages[0]}\n"
        f"  macOS:           brew install {packages[1]}\n"
        "or set KAFKA__BOOTSTRAP_SERVERS to a broker that is already there"
    )


async def kafka_jars(cache: Path = CACHE / "kafka") -> Path:
    """Return the directory of the jars, fetching them on first use.

    Processes that ask at the same time wait for one of them; an interrupted copy is done again.
    """
    directory = cache / kafka_version()
    if is_complete(directory):
        return directory
    lock = await asyncio.to_thread(_locked, cache / f"{directory.name}.lock")
    with contextlib.closing(lock):
        if not is_complete(directory):
            await _fetch(directory)
    return directory


def _locked(path: Path) -> TextIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)  # let go when it is closed, also by a kill
    return lock


async def _fetch(directory: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise KafkaUnavailableError(_missing("Maven", "mvn"))
    await find_java()  # Maven's own message about a missing Java names no remedy
    shutil.rmtree(directory, ignore_errors=True)
    partial = directory.with_name(f".{directory.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    async with asyncio.timeout(_FETCH_SECONDS):
        code, said = await _run(
            maven, "--batch-mode", "--quiet", "--strict-checksums", "--file", str(POM),
            "dependency:copy-dependencies", "-DincludeScope=runtime",
            f"-DoutputDirectory={partial}",
        )  # fmt: skip
    if code:
        raise KafkaUnavailableError(
            f"Maven could not fetch Kafka {directory.name} (exit code {code}); check the network "
            f"and Maven's settings.xml, then try again. It said:\n{said.strip()}"
        )
    manifest = {
        "pom": _sha256(POM),
        "jars": {jar.name: [jar.stat().st_size, _sha256(jar)] for jar in _jars(partial)},
    }
    (partial / _COMPLETE).write_text(json.dumps(manifest, indent=1))
    partial.rename(directory)


def is_complete(directory: Path, pom: Path = POM) -> bool:
    """True when every jar of this pom is there in full.

    Compares sizes; the hashes were checked by Maven and are kept for people. Cheap, but blind to a
    file that was changed and kept its size.
    """
    try:
        manifest = json.loads((directory / _COMPLETE).read_text())
        sizes = {jar.name: jar.stat().st_size for jar in _jars(directory)}
    except (OSError, ValueError):
        return False
    expected = {name: size for name, (size, _) in manifest["jars"].items()}
    return bool(manifest["pom"] == _sha256(pom) and expected == sizes)


def _jars(directory: Path) -> Iterator[Path]:
    return directory.glob("*.jar")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


async def _run(*command: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        output, _ = await process.communicate()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    assert process.returncode is not None, "it has ended"
    return process.returncode, output.decode(errors="replace")
