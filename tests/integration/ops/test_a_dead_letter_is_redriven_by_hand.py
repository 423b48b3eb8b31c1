"""Without Sluice: kcat, or the tools of the Kafka distribution, and a dead letter's headers."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from services.ops.local.distribution import find_java, kafka_jars
from services.runtime.settings import KafkaSettings
from sluice_contracts import Tier, TopicNames, decode_request
from tests.integration.ops.conftest import read_all
from tests.integration.ops.letters import write_letters

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]


async def _run(*command: str | Path, given: bytes = b"") -> bytes:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate(given)
    assert process.returncode == 0, err.decode()
    return out


def _headers(printed: str) -> dict[str, str]:
    return dict(pair.partition(":")[::2] for pair in printed.split(","))


async def _put_back(settings: KafkaSettings, topic: str) -> Any:
    (record,) = await read_all(settings, [topic])
    return record


async def test_with_the_java_console_tools(
    kafka_settings: KafkaSettings, topics: TopicNames
) -> None:
    """The consumer prints headers, key and value; the producer takes them as they are."""
    await write_letters(kafka_settings, topics, 4)
    servers = kafka_settings.bootstrap_servers
    java = [await find_java(), "-cp", f"{await kafka_jars()}/*"]
    printed = await _run(
        *java, "org.apache.kafka.tools.consumer.ConsoleConsumer",
        "--bootstrap-server", servers, "--topic", topics.dead_letters(Tier.HAIKU),
        "--partition", "1", "--offset", "0", "--max-messages", "1",
        "--formatter-property", "print.headers=true", "--formatter-property", "print.key=true",
    )  # fmt: skip
    said, key, value = printed.decode().rstrip("\n").split("\t")
    headers = _headers(said)
    request = f"x-generation:{int(headers['x-generation']) + 1},x-shop:{headers['x-shop']}"
    await _run(
        *java, "org.apache.kafka.tools.ConsoleProducer",
        "--bootstrap-server", servers, "--topic", headers["x-origin-topic"],
        "--reader-property", "parse.headers=true", "--reader-property", "parse.key=true",
        given=f"{request}\t{key}\t{value}\n".encode(),
    )  # fmt: skip
    back = await _put_back(kafka_settings, topics.requests(Tier.HAIKU))

    assert ("r2", b"k2", {"x-generation": b"1", "x-shop": b"mine"}) == (
        decode_request(back.value, back.headers).request_id,
        back.key,
        dict(back.headers),
    )


@pytest.mark.skipif(shutil.which("kcat") is None, reason="kcat is not installed")
async def test_with_kcat(kafka_settings: KafkaSettings, topics: TopicNames, tmp_path: Path) -> None:
    """The value goes through a file, byte for byte, to the partition it came from."""
    await write_letters(kafka_settings, topics, 4)
    place = ("-b", kafka_settings.bootstrap_servers, "-C", "-t", topics.dead_letters(Tier.HAIKU),
             "-p", "1", "-o", "0", "-c", "1", "-e", "-q")  # fmt: skip
    value = tmp_path / "value"
    value.write_bytes(await _run("kcat", *place, "-D", "", "-f", "%s"))
    key, said = (await _run("kcat", *place, "-f", "%k\n%h\n")).decode().splitlines()
    headers = _headers(said.replace("=", ":"))
    await _run(
        "kcat", "-b", kafka_settings.bootstrap_servers, "-P", "-t", headers["x-origin-topic"],
        "-p", "1", "-k", key, "-H", f"x-generation={int(headers['x-generation']) + 1}", value,
    )  # fmt: skip
    back = await _put_back(kafka_settings, topics.requests(Tier.HAIKU))

    assert (1, b"k2", value.read_bytes(), (("x-generation", b"1"),)) == (
        back.partition,
        back.key,
        back.value,
        tuple(back.headers),
    )
