"""What the doctor makes of what it finds."""

from datetime import UTC, datetime, timedelta

import pytest

from services.ops.api import Answer
from services.ops.check import Verdict
from services.ops.checks import api_key, clock, topics, variables
from services.ops.topic_plan import ClusterState, TopicState, settings_of
from services.runtime.secret import Secret
from sluice_contracts.topics import catalogue

KEY = Secret("sk-ant-unit-doctor", version="v1")
NOW = datetime(2026, 12, 1, 12, 0, 0, 500_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("KAFKA__BOOTSTRAP_SERVERS", Verdict.OK),
        ("KAFKA_BOOTSTRAP_SERVERS", Verdict.WARNING),
        ("SECRETS_API_KEY", Verdict.WARNING),
        ("KAFKA_HEAP_OPTS", Verdict.OK),
        ("CLAUDE_CODE_ENTRYPOINT", Verdict.OK),
        ("ANTHROPIC_API_KEY", Verdict.FAILED),
    ],
)
def test_misspelt_and_harmful_variables_are_found(name: str, verdict: Verdict) -> None:
    """One underscore too few and what the SDK would read are found, foreign names are not."""
    check = variables({name: "x", "PATH": "/bin"})

    assert verdict == check.verdict
    assert (name in check.found) is (verdict is not Verdict.OK)


@pytest.mark.parametrize(
    ("skew", "verdict"),
    [(0, Verdict.OK), (1.5, Verdict.OK), (-1.5, Verdict.OK), (5, Verdict.WARNING),
     (-5, Verdict.WARNING), (45, Verdict.FAILED)],
)  # fmt: skip
def test_the_clock_is_compared_with_the_api(skew: float, verdict: Verdict) -> None:
    """A little skew is tolerated, more is a warning, half a minute a failure."""
    answer = Answer(status=200, models=("m",), date=NOW.replace(microsecond=0))

    assert verdict == clock(answer, NOW + timedelta(seconds=skew)).verdict


def test_an_answer_without_date_says_nothing_of_the_clock() -> None:
    """Without a date the check is skipped."""
    assert clock(Answer(status=200), NOW).verdict is Verdict.SKIPPED


@pytest.mark.parametrize(
    ("answer", "verdict", "remedy"),
    [
        (Answer(status=200, models=("a", "b")), Verdict.OK, ""),
        (Answer(status=401, problem="invalid x-api-key"), Verdict.FAILED, "rotate"),
        (Answer(status=0, problem="ClientConnectorError"), Verdict.FAILED, "CLAUDE__BASE_URL"),
        (Answer(status=503, problem="upstream connect"), Verdict.FAILED, "CLAUDE__BASE_URL"),
    ],
)
def test_the_apis_answer_is_judged(answer: Answer, verdict: Verdict, remedy: str) -> None:
    """A refused key and an unreachable API have different remedies."""
    check = api_key("http://api", KEY, answer)

    assert verdict == check.verdict
    assert remedy in check.remedy
    assert KEY.reveal() not in f"{check}"


def state(partitions: int, *, without: str = "") -> ClusterState:
    """A cluster that has the catalogue's topics, but one."""
    return ClusterState(
        1,
        {
            row.name: TopicState(row.partitions, 1, settings_of(row, 1))
            for row in catalogue("it-1.", partitions)
            if row.name != without
        },
    )


def test_topics_are_compared_at_the_clusters_own_partitions() -> None:
    """Another number of partitions than the default is no difference."""
    assert topics(state(12), "it-1.").verdict is Verdict.OK


def test_a_missing_topic_is_named_with_the_remedy() -> None:
    """A topic that is not there fails the check."""
    check = topics(state(8, without="it-1.claude.audit.v1"), "it-1.")

    assert check.verdict is Verdict.FAILED
    assert "it-1.claude.audit.v1" in check.found
    assert "sluice topics apply" in check.remedy
