"""The simulator's settings: `SIMULATOR__…` in the environment, or flags of the same names.

Nothing here is about our own code; it is about the organisation, the limits and the habits of the
API that is imitated.
"""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.runtime.settings import Block
from services.simulator.limiter import Limits, Remaining


class LimitsPerMinute(Block):
    """The three limits of a model group; the defaults are those of the tier Scale."""

    requests: int = Field(default=10_000, ge=1)
    """Requests a minute."""
    input_tokens: int = Field(default=10_000_000, ge=1)
    """Input tokens a minute: uncached input and cache writes."""
    output_tokens: int = Field(default=2_000_000, ge=1)
    """Output tokens a minute, charged while they are produced."""

    def limits(self) -> Limits:
        """Return them as the limiter takes them."""
        return Limits(self.requests, self.input_tokens, self.output_tokens)


class LimiterSettings(Block):
    """How the organisation is limited."""

    default: LimitsPerMinute = LimitsPerMinute()
    """Limits of every group that `groups` does not name."""
    groups: dict[str, LimitsPerMinute] = Field(default_factory=dict)
    """Limits by group, for example `{"claude-haiku-5-5": {"requests": 50}}`."""
    burst_s: float = Field(default=60.0, ge=0.05)
    """How many seconds of the limit a full bucket holds; 0.25 to 60 are plausible."""
    remaining: Remaining = Remaining.DEFICIT
    """What `…-remaining` shows when the burst is smaller than a minute."""
    concurrency: int | None = Field(default=None, ge=1)
    """Calls in flight per group; none means no limit."""
    ramp_growth: float | None = Field(default=None, gt=1)
    """Short-term input may be this many times long-term input; none means no such limit."""
    ramp_floor: float = Field(default=0.2, gt=0, le=1)
    """The share of the input limit that is never refused as growth."""
    estimate_sigma: float = Field(default=0.05, ge=0)
    """How wrong input is estimated at arrival; it is corrected when the answer begins."""
    refused_cost_request: bool = False
    """Whether a refused request uses up a request."""
    count_tokens_requests: int = Field(default=8_000, ge=1)
    """Calls of count_tokens a minute."""
    admin_requests: int = Field(default=600, ge=1)
    """Calls of the other endpoints a minute; not enforced, only shown by the Rate Limits API."""


class LatencySettings(Block):
    """How long an answer takes: log-normal until the first token, then a steady rate."""

    scale: float = Field(default=1.0, ge=0)
    """Multiplies every wait; 0 answers at once."""
    first_token_s: float = Field(default=0.53, ge=0)  # p50 of haiku-4-5 in ai-gateway-bench
    """Median until the first token."""
    sigma: float = Field(default=0.25, ge=0)
    """Spread of the first token: the sigma of its logarithm."""
    tokens_per_second: float = Field(default=80.0, gt=0)
    """Median speed of output."""
    speed_sigma: float = Field(default=0.3, ge=0)
    """Spread of the speed."""


class AnswerSettings(Block):
    """What answers look like."""

    median_tokens: float = Field(default=180.0, gt=0)
    """Median length of a free answer."""
    sigma: float = Field(default=0.7, ge=0)
    """Spread of the length: the sigma of its logarithm."""
    thinking_share: float = Field(default=0.3, ge=0, le=1)
    """Share of answers that begin with a thinking block where the model thinks adaptively."""
    thinking_tokens: float = Field(default=120.0, gt=0)
    """Median length of thinking."""
    wrong_case_share: float = Field(default=0.002, ge=0, le=1)
    """Share of JSON answers with an enum value in the wrong case."""
    gzip_share: float = Field(default=0.25, ge=0, le=1)
    """Share of answers compressed for clients that accept it."""
    retry_after_share: float = Field(default=0.045, ge=0, le=1)
    """Share of 200 answers that carry a meaningless `retry-after`."""


class CacheSettings(Block):
    """Prompt caching."""

    min_tokens: int = Field(default=512, ge=0)
    """Shorter prefixes are not cached, without an error."""
    ttl_s: float = Field(default=300.0, gt=0)
    """Lifetime of a 5m entry; refreshed by each read."""
    ttl_long_s: float = Field(default=3_600.0, gt=0)
    """Lifetime of a 1h entry."""


class BatchSettings(Block):
    """Message batches."""

    duration_s: float = Field(default=30.0, ge=0)
    """How long a batch runs; the API's take up to an hour."""
    expired_share: float = Field(default=0.0, ge=0, le=1)
    """Share of a batch's requests that expire."""


class SimulatorSettings(BaseSettings):
    """Everything that can be set at the start."""

    model_config = SettingsConfigDict(
        env_prefix="SIMULATOR__",
        env_nested_delimiter="__",
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,
        cli_kebab_case=True,
        cli_prog_name="python -m services.simulator",
    )

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(default=8787, ge=0, le=65_535)
    """Port to listen on; 0 takes a free one."""
    seed: int = 1
    """The same request and seed give the same answer."""
    keys: tuple[str, ...] = ("sk-ant-api03-simulator-one", "sk-ant-api03-simulator-two")
    """Valid API keys at the start; all belong to the default workspace."""
    admin_key: str = "sk-ant-admin01-simulator"
    """The key for the endpoints under /v1/organizations."""
    organization: str = "7c1f1c2e-5a0f-4d0e-9d5e-3f1b6c1d2e3f"
    """The organisation's id, as it stands in headers and messages."""
    retired_models: bool = False
    """Answer for retired models too, to replay old recordings."""
    call_log: Path | None = None
    """A file to which every call is appended as a JSON line."""
    kept_calls: int = Field(default=200_000, ge=1)
    """So many of the latest calls are kept in memory for `/_sim/calls`; about 600 bytes each."""
    limits: LimiterSettings = LimiterSettings()
    """Rate limits."""
    latency: LatencySettings = LatencySettings()
    """Waits."""
    answers: AnswerSettings = AnswerSettings()
    """Answers."""
    cache: CacheSettings = CacheSettings()
    """Prompt caching."""
    batches: BatchSettings = BatchSettings()
    """Message batches."""
