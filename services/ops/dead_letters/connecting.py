"""From the environment to the dead-letter topics; nothing connects before something is read."""

from services.ops.dead_letters.scan import DeadLetters
from services.ops.settings import OpsSettings
from services.runtime.connection import connection_options
from services.runtime.settings import read
from sluice_contracts import TopicNames


def connect() -> DeadLetters:
    """Read the settings."""
    settings = read(OpsSettings)
    names = TopicNames(settings.kafka.topic_prefix)
    return DeadLetters(connection_options(settings.kafka, role="ops"), names)
