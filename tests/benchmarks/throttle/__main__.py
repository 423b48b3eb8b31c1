"""Run the throttle through the scenarios in virtual time, and its rivals through some of them.

`--short` is what CI runs. The last line is JSON; the exit code is 1 where a bar is missed.
"""

import argparse
import logging
import os
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Final

import structlog
from rich.console import Console
from rich.table import Table

from tests.benchmarks.report import finish

from .admission import reservations_per_second
from .scenario import Result, Rule, Scenario, measure
from .suite import COMPARED, SHORT, SPECIAL, STRENGTH, covering

LEAST_USED: Final = 0.98
MOST_REFUSED: Final = 0.001
SMALLEST_BURST: Final = 1.0
"""Seconds: below it a burst is not worth a bar, only a figure."""


def main() -> int:
    """Run, print, and return the exit code."""
    parser = argparse.ArgumentParser(prog="make bench-throttle", description=__doc__)
    parser.add_argument("--short", action="store_true", help="a small part, without rivals")
    parser.add_argument("--only", default="", help="scenarios whose name holds this text")
    parser.add_argument("--strength", type=int, default=STRENGTH, help="dimensions at once")
    parser.add_argument("--without-rivals", action="store_true")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    console = Console(stderr=True)
    chosen = [
        scenario
        for scenario in (SHORT if options.short else (*covering(options.strength), *SPECIAL))
        if options.only in scenario.name
    ]
    jobs = [(scenario, Rule.OURS) for scenario in chosen]
    if not (options.short or options.without_rivals):
        jobs += [
            (scenario, rule)
            for scenario in COMPARED
            for rule in Rule
            if options.only in scenario.name
        ]
    began = time.monotonic()
    with ProcessPoolExecutor(options.jobs, initializer=_quiet) as pool:
        results = _run(pool, jobs, console)
    ours, compared = results[: len(chosen)], results[len(chosen) :]
    missed = [result for result in ours if misses(result)]
    console.print(_table("throttle", ours))
    if compared:
        console.print(_table("rivals beside ours", compared))
    figures = {
        "benchmark": "throttle",
        "seconds": round(time.monotonic() - began, 1),
        "admission_per_second": reservations_per_second(),
        "bars": {"utilisation": LEAST_USED, "share_429": MOST_REFUSED, "exhausted": 0},
        "missed": [result.scenario.name for result in missed],
        "scenarios": [result.as_json() for result in ours],
        "rivals": [{"rule": result.rule, **result.as_json()} for result in compared],
    }
    finish(console, figures)
    return 1 if missed else 0


def misses(result: Result) -> bool:
    """Whether a result is under a bar that its burst allows."""
    return result.scenario.burst_s >= SMALLEST_BURST and (
        result.utilisation < LEAST_USED or result.share_429 > MOST_REFUSED or result.exhausted > 0
    )


def _run(
    pool: ProcessPoolExecutor, jobs: Iterable[tuple[Scenario, Rule]], console: Console
) -> list[Result]:
    jobs = list(jobs)
    # The longest first, so that the last does not run alone.
    order = sorted(range(len(jobs)), key=lambda index: -_cost(*jobs[index]))
    futures = {pool.submit(measure, *jobs[index]): index for index in order}
    results: dict[int, Result] = {}
    for done in as_completed(futures):
        result = results[futures[done]] = done.result()
        console.print(
            f"{len(results)}/{len(jobs)}", result.rule, result.scenario.name,
            f"{result.utilisation:.1%} {result.share_429:.3%}", highlight=False,
        )  # fmt: skip
    return [results[index] for index in range(len(jobs))]


def _cost(scenario: Scenario, rule: Rule) -> float:
    calls = scenario.load.capacity * (10 if rule is Rule.SDK else 1)
    return calls * (1 + scenario.replicas**2 / 100)


def _table(title: str, results: list[Result]) -> Table:
    table = Table(title=title)
    table.add_column("scenario")
    for column in ("rule", "used", "429", "exhausted", "interactive p99"):
        table.add_column(column, justify="right")
    for result in results:
        table.add_row(
            result.scenario.name, result.rule, f"{result.utilisation:.1%}",
            f"{result.share_429:.3%}", str(result.exhausted),
            f"{result.wait_ms_interactive_p99:,.0f} ms",
            style="red" if result.rule is Rule.OURS and misses(result) else None,
        )  # fmt: skip
    return table


def _quiet() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


if __name__ == "__main__":
    sys.exit(main())
