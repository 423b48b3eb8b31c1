"""What every process is configured with, read from the environment (`KAFKA__BOOTSTRAP_SERVERS=…`).

A room derives its own `Settings` and adds blocks; the same variable means the same thing in every
process. The docstring under a field becomes `docs/reference/configuration.md`.
"""

import re
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Self, TypeVar, get_args

from pydantic import (
    AnyHttpUrl,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings import SettingsError as UnreadableValue


class Environment(StrEnum):
    """Where the process runs; production is strict, development is convenient."""

    DEVELOPMENT = "development"
    STAGING = "staging"
    PRODUCTION = "production"


class SecurityProtocol(StrEnum):
    """How to talk to the brokers."""

    PLAINTEXT = "PLAINTEXT"
    SSL = "SSL"
    SASL_PLAINTEXT = "SASL_PLAINTEXT"
    SASL_SSL = "SASL_SSL"


class SaslMechanism(StrEnum):
    """How to authenticate to the brokers."""

    PLAIN = "PLAIN"
    SCRAM_SHA_256 = "SCRAM-SHA-256"
    SCRAM_SHA_512 = "SCRAM-SHA-512"


class LogFormat(StrEnum):
    """How a log line looks."""

    AUTO = "auto"
    JSON = "json"
    CONSOLE = "console"


class LogLevel(StrEnum):
    """The least severe line that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?")
_SECONDS: Final = {"ms": 0.001, "s": 1, None: 1, "m": 60, "h": 3600, "d": 86400}


class Block(BaseModel):
    """A frozen group of settings about one subject; an unknown name in it is an error.

    Durations are written as people do, `500ms`, `30s`, `5m`, `1h`, `7d`, as bare seconds, or in
    ISO 8601.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        hide_input_in_errors=True,  # an input may be a password
    )

    @model_validator(mode="before")
    @classmethod
    def _read_durations(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        read = dict(values)
        for name, field in cls.model_fields.items():
            if timedelta in (field.annotation, *get_args(field.annotation)):
                written = _DURATION.fullmatch(str(read.get(name)))
                if written:
                    read[name] = timedelta(seconds=float(written[1]) * _SECONDS[written[2]])
        return read


class KafkaSettings(Block):
    """How to reach Kafka."""

    bootstrap_servers: str = "127.0.0.1:9092"
    """`host:port` of some brokers, separated by commas."""
    topic_prefix: str = ""
    """Put before every topic name, so that several systems can share a cluster; ends in a dot."""
    client_id: str = "sluice"
    """Names the process in the brokers' logs, metrics and quotas."""
    security_protocol: SecurityProtocol = SecurityProtocol.PLAINTEXT
    """Whether the connection is encrypted (`SSL`) and authenticated (`SASL_…`)."""
    sasl_mechanism: SaslMechanism | None = None
    """How to authenticate; required with a `SASL_…` protocol."""
    sasl_username: str | None = None
    """The user to authenticate as; required with a `SASL_…` protocol."""
    sasl_password: SecretStr | None = None
    """The user's password; required with a `SASL_…` protocol. Masks itself."""
    ssl_cafile: Path | None = None
    """Certificates to trust, as a PEM file; default: those of the operating system."""
    ssl_certfile: Path | None = None
    """The client's own certificate, as a PEM file, where the brokers ask for one."""
    ssl_keyfile: Path | None = None
    """The key of `ssl_certfile`, as a PEM file."""
    request_timeout: timedelta = timedelta(seconds=40)
    """Longest wait for a broker's answer before the request is given up or sent again."""

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.security_protocol.startswith("SASL"):
            needed = ("sasl_mechanism", "sasl_username", "sasl_password")
            missing = [f"KAFKA__{name.upper()}" for name in needed if getattr(self, name) is None]
            if missing:
                raise ValueError(
                    f"security_protocol {self.security_protocol} needs {', '.join(missing)} as well"
                )
        if self.ssl_keyfile is not None and self.ssl_certfile is None:
            raise ValueError("ssl_keyfile is the key of ssl_certfile; set KAFKA__SSL_CERTFILE too")
        return self


class SecretsSettings(Block):
    """Where the API key comes from."""

    endpoint_url: AnyHttpUrl | None = None
    """Address of Secrets Manager; default: AWS's own for the region. Set it for a stand-in."""
    region: str = "us-east-1"
    """The AWS region of the secret."""
    name: str = "sluice/{environment}/anthropic-api-key"
    """Name of the secret; `{environment}` is replaced, so that each environment has its own key."""
    poll_interval: timedelta = Field(default=timedelta(seconds=60), gt=timedelta(0))
    """How often to look for a new version, ± 20 % so that replicas do not ask all at once."""
    refresh_interval: timedelta = Field(default=timedelta(seconds=1), ge=timedelta(0))
    """At most one read this often on behalf of rejected keys, however many calls are rejected."""
    timeout: timedelta = Field(default=timedelta(seconds=5), gt=timedelta(0))
    """Longest wait for one answer of Secrets Manager; it answers in about 20 ms."""
    api_key: SecretStr | None = None
    """The key itself, for development without Secrets Manager; elsewhere allowed with a warning."""


class LogSettings(Block):
    """What the process writes to its standard error stream."""

    level: LogLevel = LogLevel.INFO
    """The least severe line of ours to write; lines of libraries start at `warning`, always."""
    format: LogFormat = LogFormat.AUTO
    """`auto` is `console` on a terminal outside production and `json` everywhere else."""


class HealthSettings(Block):
    """The HTTP server for probes and metrics: `/health/live`, `/health/ready`, `/metrics`."""

    host: str = "127.0.0.1"
    """Address to listen on; `0.0.0.0` in a container, where the probes come from outside."""
    port: int = Field(default=8080, ge=0, le=65535)
    """Port to listen on; 0 takes a free one and logs it."""


class Settings(BaseSettings):
    """What any process needs; a room derives from it."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",  # the environment is full of other people's variables
        env_nested_delimiter="__",
        env_file=".env",
        env_file_encoding="utf-8",
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
    )

    environment: Environment = Environment.DEVELOPMENT
    """Where the process runs: names the secret, and decides how strict and how readable it is."""
    kafka: KafkaSettings = KafkaSettings()
    """How to reach Kafka."""
    secrets: SecretsSettings = SecretsSettings()
    """Where the API key comes from."""
    log: LogSettings = LogSettings()
    """What is written to the standard error stream."""
    health: HealthSettings = HealthSettings()
    """Probes and metrics."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 -- a file of its own each
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read a block field by field; its bare name, as in `CLAUDE=live`, is not ours."""
        blocks = {
            name
            for name, field in settings_cls.model_fields.items()
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        }
        for source in (env_settings, dotenv_settings):
            if isinstance(source, EnvSettingsSource):
                source.env_vars = {
                    name: text for name, text in source.env_vars.items() if name not in blocks
                }
        return init_settings, env_settings, dotenv_settings

    @property
    def secret_name(self) -> str:
        """The name of this environment's secret."""
        return self.secrets.name.replace("{environment}", self.environment)


class SettingsError(Exception):
    """The environment does not make valid settings; `str()` says which variable and why."""


S = TypeVar("S", bound=BaseSettings)


def read(cls: type[S]) -> S:
    """Read settings from the environment and `.env`.

    Raises:
        SettingsError: A variable is wrong; its value is not quoted, it may be a secret.
    """
    try:
        return cls()
    except UnreadableValue as exc:
        # The cause quotes the value; the field's name is all that can be told from the message.
        raise SettingsError(
            f"wrong settings, see docs/reference/configuration.md\n  {exc}: write JSON, a list for "
            'example as ["haiku"]'
        ) from None
    except ValidationError as exc:
        wrong = exc.errors(include_url=False, include_input=False, include_context=False)
        lines = [
            f"{'__'.join(str(part).upper() for part in one['loc']) or 'settings'}: {one['msg']}"
            for one in wrong
        ]
        raise SettingsError(
            "wrong settings, see docs/reference/configuration.md\n  " + "\n  ".join(lines)
        ) from None
