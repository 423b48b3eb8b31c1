"""`metrics.md`: every metric with its labels and meaning, from its declaration."""

from typing import Any, Final

from prometheus_client.metrics import MetricWrapperBase

from services.runtime.metrics import Metrics

_INTRO: Final = """\
<!-- Written by `make generate`; do not edit. -->

# Metrics

Served by each process at `/metrics` of its health port. Labels have few values: tiers, stages,
failure codes, rate-limit groups, partitions; never a request, a tenant or a prompt. Each process
also shows itself (`process_…`, `python_…`) and its build (`sluice_build_info`).

| metric | kind | labels | meaning |
| --- | --- | --- | --- |
"""


def measures() -> str:
    """Return the page about the metrics."""
    declared = vars(Metrics("reference")).values()
    return _INTRO + "".join(_row(each) for each in declared if isinstance(each, MetricWrapperBase))


def _row(metric: Any) -> str:
    # The client tells these of the whole registry only, and not in the order of declaration.
    name, kind, labels = metric._name, metric._type, metric._labelnames  # noqa: SLF001
    shown = f"{name}_total" if kind == "counter" else name
    told = ", ".join(f"`{label}`" for label in labels)
    return f"| `{shown}` | {kind} | {told} | {metric._documentation} |\n"  # noqa: SLF001
