"""Shows a run's progress: a bar on a terminal, or JSON lines."""

import json
from collections.abc import Callable

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from services.ops.dead_letters.tables import console
from services.ops.replay import facts
from services.ops.replay.plan import Plan
from services.ops.replay.session import Moment


class Teller:
    """Tells what it is told, while it is entered.

    Args:
        plan: What is run.
        as_json: Lines for programs instead of a bar.
    """

    def __init__(self, plan: Plan, *, as_json: bool) -> None:
        self._plan = plan
        self._as_json = as_json
        self._bar = Progress(
            TextColumn("sent"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            TextColumn("{task.fields[said]}"), console=console(to_terminal=False),
        )  # fmt: skip

    def __enter__(self) -> Callable[[Moment], None]:
        """Begin to show."""
        if self._as_json:
            return lambda moment: typer.echo(
                json.dumps(facts.moment_facts(self._plan.plan_id, moment))
            )
        self._bar.start()
        task = self._bar.add_task("sent", total=self._plan.found.selected, said="")

        def tell(moment: Moment) -> None:
            said = (
                f"{moment.rate:.0f}/s, {moment.succeeded} succeeded, {moment.failed} failed again"
            )
            self._bar.update(task, completed=moment.sent, said=said)

        return tell

    def __exit__(self, *_: object) -> None:
        """Leave the last state on the screen."""
        self._bar.stop()
