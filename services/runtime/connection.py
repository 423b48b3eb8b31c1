"""Kafka settings as the keyword arguments that every aiokafka client takes."""

import ssl
from typing import Any

from services.runtime.redaction import remember
from services.runtime.settings import KafkaSettings


def connection_options(settings: KafkaSettings, *, role: str | None = None) -> dict[str, Any]:
    """Return where and how to connect, for a consumer, a producer or an admin client.

    Args:
        settings: The Kafka block.
        role: Appended to the client id, to tell the clients of one process apart.
    """
    options: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap_servers,
        "client_id": f"{settings.client_id}-{role}" if role else settings.client_id,
        "security_protocol": str(settings.security_protocol),
        "request_timeout_ms": int(settings.request_timeout.total_seconds() * 1000),
    }
    if settings.security_protocol.endswith("SSL"):
        options["ssl_context"] = _ssl_context(settings)
    if settings.security_protocol.startswith("SASL"):
        # The settings' own check has made sure that these are there.
        assert settings.sasl_mechanism is not None
        assert settings.sasl_password is not None
        password = settings.sasl_password.get_secret_value()
        remember(password)
        options["sasl_mechanism"] = str(settings.sasl_mechanism)
        options["sasl_plain_username"] = settings.sasl_username
        options["sasl_plain_password"] = password
    return options


def _ssl_context(settings: KafkaSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=settings.ssl_cafile)
    if settings.ssl_certfile is not None:
        context.load_cert_chain(settings.ssl_certfile, settings.ssl_keyfile)
    return context
