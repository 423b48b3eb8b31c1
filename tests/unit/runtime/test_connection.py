"""Kafka settings as the clients take them."""

import inspect

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from pydantic import SecretStr

from services.runtime.connection import connection_options
from services.runtime.settings import KafkaSettings, SaslMechanism, SecurityProtocol

SECURE = KafkaSettings(
    security_protocol=SecurityProtocol.SASL_SSL,
    sasl_mechanism=SaslMechanism.SCRAM_SHA_512,
    sasl_username="me",
    sasl_password=SecretStr("hunter2"),
)


def test_every_client_takes_every_option() -> None:
    """Consumer, producer and admin client know each option by name."""
    options = connection_options(SECURE, role="test")
    for client in (AIOKafkaConsumer, AIOKafkaProducer, AIOKafkaAdminClient):
        assert set() == set(options) - set(inspect.signature(client.__init__).parameters)


def test_the_role_tells_clients_of_a_process_apart() -> None:
    """The client id is the setting, with the role where one is given."""
    assert connection_options(KafkaSettings())["client_id"] == "sluice"
    assert connection_options(KafkaSettings(), role="admin")["client_id"] == "sluice-admin"


def test_a_plain_connection_carries_no_security_options() -> None:
    """Without TLS and SASL there is neither a context nor a password."""
    options = connection_options(KafkaSettings())

    assert set() == {name for name in options if name.startswith(("sasl", "ssl"))}


def test_a_secure_connection_carries_context_and_credentials() -> None:
    """With SASL over TLS the context verifies the broker and the credentials are there."""
    options = connection_options(SECURE)

    assert options["ssl_context"].check_hostname is True
    assert ("SCRAM-SHA-512", "me", "hunter2") == (
        options["sasl_mechanism"],
        options["sasl_plain_username"],
        options["sasl_plain_password"],
    )
