"""Dead letters put back by operators who are killed: `make bench-replay`.

A plan for 100,000 of 125,000 dead letters is run by two operators at once, whose processes are
killed with -9 ten times. Then the request topic, read by another client, must hold each selected
record exactly once, byte for byte under its next generation, and nothing else; so must the audit. A
second plan is run undisturbed for the speed. Last, `list`, `stats`, `plan` and `run` work on 10,000
and 1,000,000 dead letters, and must need the same memory for both.
"""

import argparse
import asyncio
import hashlib
import json
import os
import random
import secrets
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from rich.console import Console

from services.ops.cluster import Cluster
from services.ops.local.kafka import LocalKafka
from services.ops.local.run import Run
from services.ops.topic_plan import plan
from services.runtime.settings import KafkaSettings
from sluice_contracts import Tier, TopicNames
from sluice_contracts import headers as h
from sluice_contracts.topics import catalogue
from tests.benchmarks.command_line import Cli
from tests.benchmarks.dead_letter_topic import CODES, Letter, fill
from tests.benchmarks.report import finish
from tests.chaos.collect import scan

_PARTITIONS: Final = 8
_SELECTED: Final = CODES[:4]
_FAST: Final = ("--rate", "1000000", "--canary", "0", "--json")
_PATIENCE: Final = 900.0
_SMALL: Final = 10_000
_FLAT: Final = 1.3
"""How much more memory a hundred times more dead letters may take: the client's buffers are full
only when there is more to read."""


class Sent(NamedTuple):
    """What must be the same in a dead letter and the request that was made of it."""

    request_id: str
    generation: int
    partition: int
    key: bytes
    digest: str
    headers: tuple[tuple[str, bytes], ...]
    """The caller's own."""


class Operator(threading.Thread):
    """Runs a plan again and again until it is finished, and is killed now and then."""

    def __init__(self, cli: Cli, plan_id: str, finished: threading.Event, rate: int) -> None:
        super().__init__(daemon=True)
        self._rate = rate
        self._cli = cli
        self._plan_id = plan_id
        self._finished = finished
        self.process: subprocess.Popen[bytes] | None = None
        self.runs = 0

    def run(self) -> None:
        """Start the command until one of its runs ends with the plan finished."""
        while not self._finished.is_set():
            self.process = self._cli.start(
                "replay", "run", self._plan_id, "--rate", str(self._rate), "--canary", "0", "--json"
            )
            self.runs += 1
            said, errors = self.process.communicate()
            if b"is finished" in errors or b'"phase": "finished"' in said:
                self._finished.set()


def disturbed(cli: Cli, plan_id: str, records: int, kills: int, console: Console) -> dict[str, int]:
    """Run a plan with two operators, one of them killed at random times."""
    finished = threading.Event()
    # Slow enough that it cannot be over before the last kill.
    rate = max(1, records // max(1, kills * 4))
    operators = [Operator(cli, plan_id, finished, rate) for _ in range(2)]
    done = 0
    for operator in operators:
        operator.start()
    deadline = time.monotonic() + _PATIENCE
    while done < kills and not finished.is_set() and time.monotonic() < deadline:
        finished.wait(random.uniform(2.0, 5.0))
        victim = random.choice(operators).process
        if victim is not None and victim.poll() is None:
            victim.kill()
            done += 1
            console.print(f"killed {done} of {kills}")
    if not finished.wait(max(0.0, deadline - time.monotonic())):
        raise RuntimeError("the plan was not finished in time")
    for operator in operators:
        operator.join(60)
    return {"kills": done, "runs": sum(each.runs for each in operators)}


def expected_of(letter: Letter) -> Sent:
    """Say what a dead letter must be sent as."""
    return Sent(
        letter.request_id, letter.generation + 1, letter.partition, letter.key,
        _digest(letter.value), (("shop", b"bern"),),
    )  # fmt: skip


def sent_by(bootstrap: str, topic: str, replay_id: str) -> Counter[Sent]:
    """Read what a plan sent from the request topic, with a client that the tools do not use."""
    found: Counter[Sent] = Counter()
    for message in scan(bootstrap, [topic]):
        headers: Any = message.headers() or []
        if h.find(headers, h.REPLAY_ID) != replay_id:
            continue
        known = {*h.OURS, *h.CLOUDEVENTS}
        found[
            Sent(
                h.find(headers, h.REQUEST_ID) or "",
                h.find_int(headers, h.GENERATION) or 0,
                int(message.partition() or 0),
                bytes(message.key() or b""),
                _digest(message.value() or b""),
                tuple(pair for pair in headers if pair[0] not in known),
            )
        ] += 1
    return found


def audited(bootstrap: str, names: TopicNames, replay_id: str) -> Counter[tuple[str, int]]:
    """Read which requests the audit topic says were sent for a plan."""
    said = (json.loads(message.value() or b"{}") for message in scan(bootstrap, [names.audit]))
    return Counter(
        (request_id, generation)
        for action in said
        if action.get("subject") == replay_id and action["action"] == "replay.sent"
        for _, request_id, generation in action["details"]["sent"]
    )


def measure_memory(bootstrap: str, count: int, console: Console) -> dict[str, float]:
    """Let each tool work on so many dead letters."""
    names = make_topics(bootstrap)
    console.print(f"writing {count:,} dead letters")
    deque(fill(bootstrap, names, count, _PARTITIONS), maxlen=0)
    cli, found = Cli(bootstrap, names.prefix), {}
    plan_id = ""
    for name, arguments in {
        "list": ("dead-letters", "list", "--limit", "20"),
        "stats": ("dead-letters", "stats", "--by", "code,tenant"),
        "plan": ("replay", "plan", "--why", "benchmark", "--json"),
        "replay": ("replay", "run", "", *_FAST),
    }.items():
        ran = cli.run(*(each or plan_id for each in arguments))
        if name == "plan":
            plan_id = json.loads(ran.said)["plan_id"]
        found[name] = ran.rss_mb
        console.print(f"{name}: {ran.seconds:.1f} s, {ran.rss_mb} MB")
    return found


def make_topics(bootstrap: str) -> TopicNames:
    """Make the topics of one part of the benchmark, under a prefix of its own."""
    names = TopicNames(f"bench-{secrets.token_hex(3)}.")

    async def make() -> None:
        rows = catalogue(names.prefix, _PARTITIONS)
        async with Cluster.open(KafkaSettings(bootstrap_servers=bootstrap)) as cluster:
            state = await cluster.state()
            await cluster.apply(rows, state, plan(rows, state))

    asyncio.run(make())
    return names


def main(arguments: argparse.Namespace, console: Console) -> int:
    """Run, judge, report; returns the exit code."""
    with Run.open() as run:
        local = None
        bootstrap = os.environ.get("KAFKA__BOOTSTRAP_SERVERS")
        if bootstrap is None:
            local = LocalKafka(run=run)
            bootstrap = asyncio.run(local.start())
        try:
            return _measure(bootstrap, arguments, console)
        finally:
            if local is not None:
                asyncio.run(local.stop())


def _measure(bootstrap: str, arguments: argparse.Namespace, console: Console) -> int:
    names = make_topics(bootstrap)
    cli = Cli(bootstrap, names.prefix)
    count = arguments.records * len(CODES) // len(_SELECTED)
    console.print(f"writing {count:,} dead letters")
    expected = {
        expected_of(letter)
        for letter in fill(bootstrap, names, count, _PARTITIONS)
        if letter.code in _SELECTED
    }
    chosen = [word for code in _SELECTED for word in ("--code", code)]
    planned = json.loads(cli.run("replay", "plan", "--why", "benchmark", "--json", *chosen).said)
    began = time.monotonic()
    run = disturbed(cli, planned["plan_id"], len(expected), arguments.kills, console)
    took = time.monotonic() - began
    sent = sent_by(bootstrap, names.requests(Tier.HAIKU), planned["plan_id"])
    audit = audited(bootstrap, names, planned["plan_id"])
    more = ("replay", "plan", "--why", "benchmark", "--again", "--json", *chosen)
    again = json.loads(cli.run(*more).said)
    undisturbed = cli.run("replay", "run", again["plan_id"], "--again", *_FAST)
    small = measure_memory(bootstrap, _SMALL, console)
    large = measure_memory(bootstrap, arguments.large, console) if arguments.large else small
    growth = {name: round(large[name] / small[name], 2) for name in small}
    names_of = Counter(each.request_id for each in sent.elements())
    figures = {
        "selected": planned["found"]["selected"],
        "sent": sent.total(),
        "missing": len({each.request_id for each in expected} - names_of.keys()),
        "sent_twice": sum(times > 1 for times in names_of.values()),
        "kills": run["kills"],
        "operators": 2,
        "records_per_s": round(len(expected) / undisturbed.seconds),
        "rss_mb": {name: large[name] for name in ("list", "stats", "replay")},
    }
    detail = {
        "sent_otherwise": len(sent.keys() - expected),
        "audited": audit.total(),
        "runs": run["runs"],
        "seconds_disturbed": round(took, 1),
        "large": arguments.large or _SMALL,
        "rss_mb_of_plan": large["plan"],
        "rss_mb_at_10,000": small,
        "rss_growth": growth,
    }
    wrong = _wrong(expected, sent, audit, growth)
    if run["kills"] != arguments.kills:
        wrong.append(f"killed {run['kills']} of {arguments.kills} times")
    for each in wrong:
        console.print(f"[red]{each}[/]")
    finish(console, figures, detail)
    return 1 if wrong else 0


def _wrong(
    expected: set[Sent],
    sent: Counter[Sent],
    audit: Counter[tuple[str, int]],
    growth: Mapping[str, float],
) -> list[str]:
    found = []
    if sent != Counter(expected):
        found.append("what was sent is not what was selected, each once and as it was")
    if audit != Counter((each.request_id, each.generation) for each in sent.elements()):
        found.append("the audit topic does not say what was sent")
    found += [f"{name} grows {times} times" for name, times in growth.items() if times > _FLAT]
    return found


def _digest(value: bytes) -> str:
    return hashlib.sha256(value).hexdigest()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000, help="dead letters selected")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--large", type=int, default=1_000_000, help="0 skips it")
    sys.exit(main(parser.parse_args(), Console(stderr=True)))
