"""`sluice doctor` on a healthy system and on broken ones; `sluice secrets` on the key."""

import json
from collections.abc import Mapping
from secrets import token_hex

import aiohttp
import pytest

from services.ops.local.ports import free_ports
from services.ops.local.servers import Server
from sluice_contracts import TopicNames
from tests.integration.ops.conftest import Command, Ended

pytestmark = pytest.mark.kafka


@pytest.fixture
def environ(moto: Server, simulator: Server) -> Mapping[str, str]:
    """Secrets Manager and the API, with a secret of this test's own."""
    return {
        "SECRETS__ENDPOINT_URL": moto.url,
        "SECRETS__NAME": f"it-{token_hex(4)}",
        "CLAUDE__BASE_URL": simulator.url,
    }


async def allow(simulator: Server, key: str) -> None:
    """Make a key valid at the API."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{simulator.url}/_sim/keys", json={"key": key}) as answer,
    ):
        assert answer.ok, await answer.text()


def verdicts(ended: Ended) -> dict[str, str]:
    """Read each check's verdict."""
    return {check["name"]: check["verdict"] for check in json.loads(ended.out)}


async def test_a_healthy_system_passes(
    sluice: Command, topics: TopicNames, environ: Mapping[str, str], simulator: Server
) -> None:
    """With the first key stored nothing has to be done, and the exit code is 0."""
    environ = {**environ, "ENGINE__GROUP_ID": f"{topics.prefix}workers", "ENGINE__GRACE": "5s"}
    await sluice("submit", "--tier", "haiku", "--message", "m")
    key = f"sk-ant-api03-it-{token_hex(8)}"
    await allow(simulator, key)
    created = await sluice("secrets", "rotate", "--create", given=key, environ=environ)
    applied = await sluice("topics", "apply", "--partitions", "2")
    ended = await sluice("doctor", "--json", environ=environ)

    assert applied.code == 0, applied.err
    assert created.code == 0, created.err
    # Nobody works for these topics: a warning, for a system may well rest.
    assert {"workers": "warning"} == {
        name: verdict for name, verdict in verdicts(ended).items() if verdict != "ok"
    }, ended.out + ended.err
    assert "1 requests wait" in ended.out
    assert ended.code == 0
    assert key not in created.out + ended.out


async def test_a_broken_system_is_explained(
    sluice: Command, topics: TopicNames, environ: Mapping[str, str]
) -> None:
    """Nothing is there: each check fails or is skipped, and each failure has a remedy."""
    (port,) = free_ports(1)
    gone = {**environ, "KAFKA__BOOTSTRAP_SERVERS": f"127.0.0.1:{port}", "KAFKA_TOPIC_PREFIX": "x"}
    ended = await sluice("doctor", "--json", environ=gone)

    assert ended.code == 1
    assert {
        "environment": "warning", "kafka": "failed", "transactions": "skipped",
        "topics": "skipped", "workers": "skipped", "secret": "failed", "api key": "skipped",
        "clock": "skipped",
    } == verdicts(ended)  # fmt: skip
    checks = json.loads(ended.out)
    assert all(check["remedy"] for check in checks if check["verdict"] == "failed")
    assert "" == ended.err


async def test_a_key_that_the_api_refuses_does_not_come_into_use(
    sluice: Command, environ: Mapping[str, str], simulator: Server
) -> None:
    """A mistyped new key is tried, refused and not promoted; a good one is."""
    first, second = (f"sk-ant-api03-it-{token_hex(8)}" for _ in range(2))
    await allow(simulator, first)
    await sluice("secrets", "rotate", "--create", given=first, environ=environ)
    before = await sluice("secrets", "show", "--json", environ=environ)

    refused = await sluice("secrets", "rotate", given=second, environ=environ)
    after = await sluice("secrets", "show", "--json", environ=environ)
    await allow(simulator, second)
    taken = await sluice("secrets", "rotate", "--json", given=second, environ=environ)

    assert refused.code == 1
    assert "does not take the new key" in refused.err
    assert json.loads(before.out)["key_id"] == json.loads(after.out)["key_id"]
    assert taken.code == 0, taken.err
    assert json.loads(taken.out)["key_id"] != json.loads(after.out)["key_id"]
    assert second not in refused.err + taken.out
