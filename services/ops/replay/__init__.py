"""Putting dead letters back: `plan` writes down what, `run` sends it once, `control` stops it."""

from services.ops.replay.commands import replay_app

__all__ = ["replay_app"]
