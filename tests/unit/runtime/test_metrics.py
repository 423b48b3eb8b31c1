"""The declarations of all metrics."""

from prometheus_client import generate_latest
from prometheus_client.metrics import MetricWrapperBase

from services.runtime.metrics import Metrics

LABELS = {
    "bucket", "code", "delay", "group", "kind", "outcome", "partition", "priority", "reason",
    "result", "route", "stage", "tier", "topic",
}  # fmt: skip


def declared() -> list[MetricWrapperBase]:
    """Every metric that is declared as an attribute."""
    return [one for one in vars(Metrics("test")).values() if isinstance(one, MetricWrapperBase)]


def test_every_metric_is_named_and_explained() -> None:
    """Each metric starts with `sluice_` and has a help text that is a sentence."""
    for metric in declared():
        assert metric._name.startswith("sluice_")
        assert metric._documentation.endswith(".")
        assert not metric._documentation[0].islower()


def test_labels_have_few_values() -> None:
    """No metric is labelled by request, tenant, user, prompt or anything else without bound."""
    assert {label for metric in declared() for label in metric._labelnames} <= LABELS


def test_processes_in_one_test_do_not_share_metrics() -> None:
    """Two `Metrics` count apart."""
    one, other = Metrics("test"), Metrics("test")
    one.secret_changes.inc()

    assert one.registry.get_sample_value("sluice_secret_changes_total") == 1
    assert other.registry.get_sample_value("sluice_secret_changes_total") == 0


def test_the_registry_is_readable_by_prometheus() -> None:
    """The text format holds the build and every metric's help."""
    text = generate_latest(Metrics("worker", "1.2.3").registry).decode()

    assert 'sluice_build_info{room="worker",version="1.2.3"} 1.0' in text
    assert "# HELP sluice_requests_total " in text
