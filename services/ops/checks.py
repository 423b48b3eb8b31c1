"""What `sluice doctor` looks at: each check finds out one thing and says what to do about it."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from services.ops.api import Answer, ask_models
from services.ops.check import Check, Verdict
from services.ops.cluster import Cluster, ClusterError
from services.ops.kafka_checks import kafka_version, transactions, workers
from services.ops.settings import OpsSettings
from services.ops.topic_plan import ClusterState, plan
from services.ops.variables import variables as every_variable
from services.runtime.secret import Secret, SecretInvalid, parse
from services.runtime.secrets import open_vault
from services.runtime.settings import Environment
from services.runtime.vault import SecretsUnavailable
from sluice_contracts.topics import Tier, TopicNames, catalogue

_DATE_RESOLUTION: Final = timedelta(seconds=1)
_SKEW_TOLERATED: Final = timedelta(seconds=2)
_SKEW_HARMFUL: Final = timedelta(seconds=30)
"""Deadlines and waiting times are wrong by as much; signatures of AWS fail at five minutes."""


async def examine(
    settings: OpsSettings, environ: Mapping[str, str] = os.environ
) -> AsyncIterator[Check]:
    """Run every check, each as soon as what it needs is known to work."""
    yield variables(environ)
    state: ClusterState | None = None
    try:
        async with Cluster.open(settings.kafka) as cluster:
            state = await cluster.state()
    except ClusterError as exc:
        yield Check("kafka", Verdict.FAILED, str(exc), "start Kafka or correct the address")
    if state is None:
        yield Check("transactions", Verdict.SKIPPED, "needs Kafka")
        yield Check("topics", Verdict.SKIPPED, "needs Kafka")
        yield Check("workers", Verdict.SKIPPED, "needs Kafka")
    else:
        yield await kafka_version(settings, state)
        yield await transactions(settings)
        yield topics(state, settings.kafka.topic_prefix)
        yield await workers(settings)
    key, check = await secret(settings)
    yield check
    if key is None:
        yield Check("api key", Verdict.SKIPPED, "needs the secret")
        yield Check("clock", Verdict.SKIPPED, "needs the API's answer")
        return
    base_url = str(settings.claude.base_url)
    answer = await ask_models(base_url, key, clock=asyncio.get_running_loop().time)
    yield api_key(base_url, key, answer)
    yield clock(answer, datetime.now(UTC))


def variables(environ: Mapping[str, str]) -> Check:
    """Look for variables that are misspelt or would change calls behind our back."""
    foreign = sorted(name for name in environ if name.startswith("ANTHROPIC_"))
    if foreign:
        return Check(
            "environment", Verdict.FAILED, f"{', '.join(foreign)} set; workers refuse to start",
            "unset it; the key comes from SECRETS__…, the address from CLAUDE__BASE_URL",
        )  # fmt: skip
    # A single underscore makes a name that nothing reads, and nothing complains about.
    known = {variable.name for variable in every_variable(OpsSettings)}
    plain = {name.replace("_", "") for name in known}
    misspelt = sorted(
        name
        for name in environ
        if name.upper() not in known and name.upper().replace("_", "") in plain
    )
    if misspelt:
        return Check(
            "environment", Verdict.WARNING, f"not read: {', '.join(misspelt)}",
            "blocks and fields are separated by two underscores: KAFKA__BOOTSTRAP_SERVERS",
        )  # fmt: skip
    return Check("environment", Verdict.OK, "settings are valid")


def topics(state: ClusterState, prefix: str) -> Check:
    """Compare the catalogue with the cluster, at the number of partitions that it has."""
    names = TopicNames(prefix)
    there = [state.topics[n].partitions for n in map(names.requests, Tier) if n in state.topics]
    rows = catalogue(prefix, *([max(there)] if there else []))
    differences = plan(rows, state, prefix=prefix)
    to_apply = [each for each in differences if each.is_applicable]
    if to_apply:
        shown = ", ".join(dict.fromkeys(f"{each.topic} ({each.kind})" for each in to_apply[:3]))
        more = f" and {len(to_apply) - 3} more" if len(to_apply) > 3 else ""  # noqa: PLR2004
        return Check(
            "topics", Verdict.FAILED, f"{len(to_apply)} differences: {shown}{more}",
            "sluice topics plan, then sluice topics apply",
        )  # fmt: skip
    if differences:
        found = f"{len(differences)} differences that only a person can change"
        return Check("topics", Verdict.WARNING, found, "sluice topics plan")
    return Check("topics", Verdict.OK, f"{len(rows)} as the catalogue has them")


async def secret(settings: OpsSettings) -> tuple[Secret | None, Check]:
    """Read the key where a worker reads it."""
    given = settings.secrets.api_key
    try:
        if given is not None:
            key = Secret(parse(given.get_secret_value()), version="environment")
            found = f"key {key.key_id} from SECRETS__API_KEY"
            if settings.environment is Environment.DEVELOPMENT:
                return key, Check("secret", Verdict.OK, found)
            remedy = f"store it as '{settings.secret_name}'; a variable cannot be rotated"
            return key, Check("secret", Verdict.WARNING, found, remedy)
        async with open_vault(settings) as vault:
            key = await vault.current()
            found = f"'{settings.secret_name}' at {vault.place}: key {key.key_id}"
            return key, Check("secret", Verdict.OK, found)
    except SecretsUnavailable as exc:
        return None, Check("secret", Verdict.FAILED, str(exc), "or set SECRETS__API_KEY here")
    except SecretInvalid as exc:
        return None, Check("secret", Verdict.FAILED, str(exc), "sluice secrets rotate")


def api_key(base_url: str, key: Secret, answer: Answer) -> Check:
    """Judge the answer to a listing of models."""
    unauthorised, forbidden = 401, 403
    if answer.models:
        took = f"{answer.took.total_seconds() * 1000:.0f} ms"
        return Check("api key", Verdict.OK, f"{base_url}: {len(answer.models)} models, {took}")
    if answer.status in {unauthorised, forbidden}:
        return Check(
            "api key", Verdict.FAILED, f"{base_url} does not take key {key.key_id}: "
            f"{answer.status} {answer.problem}", "sluice secrets rotate, with a key that is active",
        )  # fmt: skip
    return Check(
        "api key", Verdict.FAILED, f"{base_url}: {answer.status or 'no answer'} {answer.problem}",
        "check CLAUDE__BASE_URL, the network and the proxy",
    )  # fmt: skip


def clock(answer: Answer, now: datetime) -> Check:
    """Compare the local clock with the date of the API's answer."""
    if answer.date is None:
        return Check("clock", Verdict.SKIPPED, "the API's answer carries no date")
    # The date was made somewhere between request and answer, and has whole seconds.
    skew = now - answer.date - answer.took / 2 - _DATE_RESOLUTION / 2
    said = f"{skew.total_seconds():+.1f} s against the API"
    if abs(skew) <= _SKEW_TOLERATED:
        return Check("clock", Verdict.OK, said)
    harmful = abs(skew) > _SKEW_HARMFUL
    remedy = "synchronise it (chrony, systemd-timesyncd): deadlines and waiting times go by it"
    return Check("clock", Verdict.FAILED if harmful else Verdict.WARNING, said, remedy)
