"""What the command line is configured with, beyond what every process needs."""

from pydantic import AnyHttpUrl, ConfigDict

from services.runtime.settings import Block, Settings


class ClaudeSettings(Block):
    """Where the Claude API is; the worker's block of the same name has more, ignored here."""

    model_config = ConfigDict(extra="ignore")

    base_url: AnyHttpUrl = AnyHttpUrl("https://api.anthropic.com")
    """Address of the Claude API, as the worker has it."""


class EngineSettings(Block):
    """Who the workers are; the worker's block of the same name has more, ignored here."""

    model_config = ConfigDict(extra="ignore")

    group_id: str = "sluice-worker"
    """The workers' consumer group, as they have it."""


class OpsSettings(Settings):
    """Settings of `sluice …`."""

    claude: ClaudeSettings = ClaudeSettings()
    """Where the Claude API is."""
    engine: EngineSettings = EngineSettings()
    """Who the workers are."""
