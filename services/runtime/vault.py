"""One secret in AWS Secrets Manager: read it, list its versions, store and promote a new one."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import uuid4

import aiohttp
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
)
from botocore.exceptions import ConnectionError as BotoConnectionError

from services.runtime.secret import Secret, SecretInvalid, parse, written_like
from services.runtime.settings import Settings

_CURRENT: Final = "AWSCURRENT"
_PENDING: Final = "AWSPENDING"


class SecretsUnavailable(Exception):  # noqa: N818 -- a state, not a fault of ours
    """The secret cannot be read or written; `str()` names the place, the secret and the remedy."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version of the secret, without its value."""

    version: str
    stages: tuple[str, ...]
    created: datetime | None


class Vault:
    """One named secret in Secrets Manager, over an open client."""

    def __init__(self, client: Any, settings: Settings, name: str) -> None:
        self._client = client
        self._name = name
        self._timeout = settings.secrets.timeout.total_seconds()
        self._settings = settings
        self.place: Final = _place(settings)

    async def current(self) -> Secret:
        """Read the version in use.

        Raises:
            SecretsUnavailable: It cannot be read.
            SecretInvalid: It was read and holds no key.
        """
        version, text = await self._read()
        return Secret(parse(text), version=version)

    async def versions(self) -> tuple[Version, ...]:
        """List the versions that carry a stage, newest first."""
        answer = await self._ask("list_secret_version_ids")
        rows = [
            Version(
                version=row["VersionId"],
                stages=tuple(sorted(row.get("VersionStages", ()))),
                created=row.get("CreatedDate"),
            )
            for row in answer["Versions"]
        ]
        return tuple(sorted(rows, key=lambda row: str(row.created), reverse=True))

    async def put_pending(self, key: str) -> Secret:
        """Store a new key as AWSPENDING, in the form of the current one; nobody uses it yet."""
        _, stored = await self._read()
        version = str(uuid4())
        await self._ask(
            "put_secret_value",
            SecretString=written_like(stored, parse(key)),
            ClientRequestToken=version,
            VersionStages=[_PENDING],
        )
        return Secret(parse(key), version=version)

    async def promote(self, secret: Secret) -> None:
        """Make a pending version the current one; the one before becomes AWSPREVIOUS."""
        before, _ = await self._read()
        await self._ask(
            "update_secret_version_stage",
            VersionStage=_CURRENT,
            MoveToVersionId=secret.version,
            RemoveFromVersionId=before,
        )
        await self._ask(
            "update_secret_version_stage",
            VersionStage=_PENDING,
            RemoveFromVersionId=secret.version,
        )

    async def create(self, key: str) -> Secret:
        """Create the secret with its first key."""
        answer = await self._ask("create_secret", id_name="Name", SecretString=parse(key))
        return Secret(parse(key), version=answer["VersionId"])

    async def _read(self) -> tuple[str, str]:
        answer = await self._ask("get_secret_value", VersionStage=_CURRENT)
        text = answer.get("SecretString")
        if text is None:
            try:
                text = answer["SecretBinary"].decode()
            except UnicodeDecodeError:
                raise SecretInvalid("the secret is binary and not UTF-8 text") from None
        return answer["VersionId"], text

    async def _ask(self, operation: str, *, id_name: str = "SecretId", **arguments: Any) -> Any:
        with explained(self._settings, self._name, operation):
            async with asyncio.timeout(self._timeout):
                return await getattr(self._client, operation)(**{id_name: self._name}, **arguments)


def _place(settings: Settings) -> str:
    return str(settings.secrets.endpoint_url or f"AWS region {settings.secrets.region}")


@contextmanager
def explained(settings: Settings, name: str, operation: str = "opening") -> Iterator[None]:
    """Put what AWS's client raises in words.

    Args:
        settings: Where the secret is.
        name: Of the secret.
        operation: What is done.

    Raises:
        SecretsUnavailable: In place of everything that the client may raise.
    """
    where = f"secret '{name}' at {_place(settings)}"
    try:
        yield
    except ClientError as exc:
        raise SecretsUnavailable(_refusal(operation, where, exc)) from exc
    except NoCredentialsError as exc:
        raise SecretsUnavailable(
            f"no AWS credentials to read {where}; give the process a role, or set"
            " AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from exc
    except (
        HTTPClientError, BotoConnectionError, aiohttp.ClientError, TimeoutError,
        OSError,
    ) as exc:  # fmt: skip
        raise SecretsUnavailable(
            f"Secrets Manager does not answer ({type(exc).__name__}), so {where} cannot be read;"
            " check SECRETS__ENDPOINT_URL, SECRETS__REGION and the network"
        ) from exc
    except BotoCoreError as exc:
        raise SecretsUnavailable(
            f"AWS's client cannot be set up for {where}: {exc}; check AWS_PROFILE, AWS_REGION and"
            " the files under ~/.aws"
        ) from exc


def _refusal(operation: str, where: str, exc: ClientError) -> str:
    code = exc.response.get("Error", {}).get("Code", "unknown")
    if code == "ResourceNotFoundException":
        return (
            f"there is no {where}; create it with `sluice secrets rotate --create`, or set "
            "SECRETS__NAME and ENVIRONMENT to name another"
        )
    if code in {"AccessDeniedException", "UnrecognizedClientException"}:
        return f"{operation} on {where} is refused ({code}); allow it to this process's role"
    return f"{operation} on {where} failed: {code}"
