"""What the worker is configured with, beside what every process has (`runtime/settings.py`)."""

from datetime import timedelta
from pathlib import Path
from typing import Self

from pydantic import AnyHttpUrl, Field, model_validator

from services.runtime.settings import Block, Settings
from services.worker.throttle.settings import ThrottleSettings
from sluice_contracts import Tier
from sluice_contracts.topics import REQUEST_RETENTION


class ModelSettings(Block):
    """Which model serves a tier."""

    model: str
    """The model id; the Models API is asked at start whether it exists and fits the tier."""
    group: str | None = None
    """Rate-limit group of the model at Anthropic; default: the model id. Two tiers whose models
    share limits must name one group."""
    max_tokens: int = Field(default=4096, ge=1)
    """Cap of the answer where neither request nor prompt says one; thinking counts towards it."""

    @property
    def rate_limit_group(self) -> str:
        """The group that the throttle keeps buckets for."""
        return self.group or self.model


class ClaudeSettings(Block):
    """How the Claude API is called."""

    base_url: AnyHttpUrl = AnyHttpUrl("https://api.anthropic.com")
    """Where the API answers; the simulator's address in development."""
    haiku: ModelSettings = ModelSettings(model="claude-haiku-5-5")
    """The model of tier `haiku`."""
    sonnet: ModelSettings = ModelSettings(model="claude-sonnet-5-5", max_tokens=8192)
    """The model of tier `sonnet`."""
    opus: ModelSettings = ModelSettings(model="claude-opus-5-5", max_tokens=16384)
    """The model of tier `opus`; it always thinks, and thinking comes out of the cap."""
    timeout: timedelta = timedelta(seconds=600)
    """Longest wait for one whole answer; the API's own limit for an unstreamed answer."""
    stream_read_timeout: timedelta = timedelta(seconds=180)
    """Longest silence inside a stream; pings come at its start only, thinking is silent."""
    connect_timeout: timedelta = timedelta(seconds=5)
    """Longest wait for a connection."""
    keepalive: timedelta = timedelta(seconds=90)
    """How long an idle connection is kept; a new TLS handshake costs 1.3 ms of CPU."""
    max_connections: int = Field(default=2000, ge=1)
    """Open connections at most; keep it above the calls in flight, or calls wait unseen."""
    call_headers: bool = False
    """Send `x-sluice-request-id`, `-generation`, `-attempt` and `-worker` (client id and process)
    with each call, so that the checker can match the simulator's log; for development and
    benchmarks only."""

    def of(self, tier: Tier) -> ModelSettings:
        """Return the settings of a tier's model."""
        models = {Tier.HAIKU: self.haiku, Tier.SONNET: self.sonnet, Tier.OPUS: self.opus}
        return models[tier]


class AdmitSettings(Block):
    """What a request may ask for."""

    max_request_bytes: int = Field(default=32_000_000, ge=1)
    """Largest call to the API, in bytes; above 32 MB its edge answers 413."""
    reply_to: frozenset[str] = frozenset()
    """Output topics that a request may name, beside the tier's own (JSON list of full names)."""
    tools: frozenset[str] = frozenset()
    """Tools and MCP servers that a request may name; none by default. This worker runs none of them
    yet, so a request that names an allowed one fails as `tool_failed`."""
    max_schema_bytes: int = Field(default=65_536, ge=1)
    """Largest `output_schema`, in bytes of JSON: checking one costs CPU of every other call."""
    max_age: timedelta | None = None
    """Requests older than this fail as `deadline_passed`; default: their own deadline."""


class ValidationSettings(Block):
    """How an answer that does not pass is dealt with."""

    max_repairs: int = Field(default=1, ge=0, le=5)
    """Extra paid rounds that tell the model what was wrong; one repairs nearly all that can be."""


class RetrySettings(Block):
    """When a failed attempt comes back, and when it is given up."""

    max_attempts: int = Field(default=8, ge=1, le=20)
    """Attempts at most; being told to wait is none. By default the last comes more than an hour
    after the first (`docs/reference/errors.md`). A crash remembers at most 7 of those that were
    made in memory."""
    max_age: timedelta = timedelta(hours=6)
    """After this long since the first failure the next is final, however few the attempts."""
    base_delay: timedelta = timedelta(seconds=1)
    """Longest first backoff."""
    growth: float = Field(default=4.0, ge=1, le=100)
    """How many times longer each backoff may be than the one before."""
    max_delay: timedelta = timedelta(minutes=30)
    """Longest backoff."""
    park_limit: timedelta = Field(default=timedelta(seconds=60), le=timedelta(seconds=60))
    """Waits up to this are held in memory, with full jitter; longer ones go to the retry topic
    that comes nearest."""


class GuardSettings(Block):
    """What stops a tier before it drains a topic into the dead letters."""

    dead_letter_run: int = Field(default=100, ge=0)
    """So many dead letters of one cause in a row close the tier's gate; 0 turns the guard off.
    Causes that lie in the request alone do not count."""
    window: int = Field(default=500, ge=10)
    """Outcomes that are looked back on for a cause that is not quite alone."""
    share: float = Field(default=0.8, gt=0, le=1)
    """Part of the window above which one cause closes the gate."""
    first_probe: timedelta = timedelta(seconds=5)
    """Pause before the second canary call, the first is made at once; doubles."""
    max_probe: timedelta = timedelta(seconds=60)
    """Longest pause between canary calls: how late a repaired key or wallet is noticed."""


class EngineSettings(Block):
    """How many calls run at once, and how long they may go on at the end."""

    group_id: str = "sluice-worker"
    """The consumer group; also the first part of every transactional id."""
    in_flight: int = Field(default=2000, ge=1)
    """Calls of each tier running or about to run in this process. At 10 s a call, 2,000 are 200 a
    second. A tier that stands still takes nothing from the others."""
    in_flight_bytes: int = Field(default=268_435_456, ge=1)
    """Bytes of records and unpublished outcomes in memory, divided equally between the tiers; a
    tier's intake stops above its part."""
    incomplete: int = Field(default=1536, ge=1, le=1536)
    """Unfinished records of one partition, parked ones included."""
    grace: timedelta = timedelta(seconds=120)
    """How long calls may go on after SIGTERM; the orchestrator must wait 20 s longer."""
    transaction_timeout: timedelta = timedelta(seconds=12)
    """After it the broker ends a transaction that nobody ends; below the session timeout, 45 s."""
    session_timeout: timedelta = timedelta(seconds=45)
    """Without a heartbeat for so long this process's partitions go to others. Nothing about safety
    hangs on it; 6 s is the least that brokers allow by default."""
    ordered_tiers: frozenset[Tier] = frozenset()
    """Tiers whose requests with the same key run one after the other (JSON list)."""
    condemn_after: int = Field(default=4, ge=3, le=7)
    """Crashes after which a record that was in flight, alone at last, is given up."""


class DuplicateSettings(Block):
    """Within what a request published twice is recognised."""

    window: timedelta = timedelta(hours=1)
    """How far back an outcome is remembered; 0 turns recognition off."""
    entries: int = Field(default=200_000, ge=1)
    """Outcomes remembered in the process; about 350 bytes each."""


class CancellationSettings(Block):
    """Which cancellations are remembered."""

    window: timedelta = REQUEST_RETENTION
    """How far back the cancellation topic is read at start: as long as requests may wait. No record
    is taken before that."""
    entries: int = Field(default=500_000, ge=1)
    """Cancellations remembered, about 250 bytes each; the oldest are forgotten first."""


class StreamSettings(Block):
    """How answers are published while they are written."""

    interval: timedelta = timedelta(milliseconds=100)
    """Text is gathered this long into one chunk: one for each token costs more than the call."""


class WorkerSettings(Settings):
    """Everything the worker reads from the environment."""

    tiers: tuple[Tier, ...] = (Tier.HAIKU, Tier.SONNET, Tier.OPUS)
    """Tiers that this process serves (JSON list)."""
    claude: ClaudeSettings = ClaudeSettings()
    """The API."""
    admit: AdmitSettings = AdmitSettings()
    """What a request may ask for."""
    throttle: ThrottleSettings = ThrottleSettings()
    """Pacing inside the organisation's limits."""
    validation: ValidationSettings = ValidationSettings()
    """Repair rounds."""
    retry: RetrySettings = RetrySettings()
    """Backoff and bounds."""
    guard: GuardSettings = GuardSettings()
    """The gate and its canary."""
    stream: StreamSettings = StreamSettings()
    """Chunks."""
    engine: EngineSettings = EngineSettings()
    """Calls in flight, and the end of the process."""
    duplicate: DuplicateSettings = DuplicateSettings()
    """Requests published twice."""
    cancellation: CancellationSettings = CancellationSettings()
    """Requests taken back."""
    admin_secret: str | None = None
    """Name of a secret with an admin key; with it, limits and groups are read from the Rate Limits
    API too."""
    prompts_defaults: Path | None = None
    """A TOML file that chooses prompt versions, read again whenever it changes; default: the one
    that ships with the prompts."""

    @model_validator(mode="after")
    def _serves_something(self) -> Self:
        if not self.tiers:
            raise ValueError('tiers is empty; name at least one, for example ["haiku"]')
        return self
