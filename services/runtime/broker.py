"""FastStream's Kafka broker, made from the Kafka settings."""

from typing import Final

from faststream.kafka import KafkaBroker
from faststream.security import BaseSecurity, SASLPlaintext, SASLScram256, SASLScram512

from services.runtime.connection import connection_options
from services.runtime.settings import KafkaSettings, SaslMechanism

_SASL: Final = {
    SaslMechanism.PLAIN: SASLPlaintext,
    SaslMechanism.SCRAM_SHA_256: SASLScram256,
    SaslMechanism.SCRAM_SHA_512: SASLScram512,
}


def make_broker(settings: KafkaSettings) -> KafkaBroker:
    """Make the broker that carries a process's subscriptions; it connects when it starts."""
    return KafkaBroker(
        settings.bootstrap_servers.split(","),
        client_id=settings.client_id,
        request_timeout_ms=int(settings.request_timeout.total_seconds() * 1000),
        security=_security(settings),
        acks="all",
        enable_idempotence=True,
        allow_auto_create_topics=False,
        logger=None,  # ours says what matters, without two lines a record
    )


def _security(settings: KafkaSettings) -> BaseSecurity | None:
    options = connection_options(settings)
    context = options.get("ssl_context")
    if settings.sasl_mechanism is not None:
        assert settings.sasl_username is not None
        assert settings.sasl_password is not None
        return _SASL[settings.sasl_mechanism](
            settings.sasl_username,
            settings.sasl_password.get_secret_value(),
            ssl_context=context,
            use_ssl=context is not None,
        )
    return BaseSecurity(ssl_context=context, use_ssl=True) if context is not None else None
