"""Upstream compresses as it likes; what cannot be read stops its own partition only."""

import asyncio
import signal
from pathlib import Path

import pytest

from tests.integration.engine.conftest import Stage, values

pytestmark = pytest.mark.kafka


async def test_every_codec_is_read(stage: Stage) -> None:
    """Kafka knows five; no other package has to be installed for any of them."""
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        stage.send(*values(20), codec=codec)
    await stage.start(seconds=0.01)
    assert stage.expected() == await stage.outcomes()


async def test_an_unreadable_partition_costs_the_others_nothing(
    stage: Stage, tmp_path: Path
) -> None:
    """A client that cannot read one buffer has drained others before; none of theirs is lost."""
    (tmp_path / "cramjam.py").write_text("raise ImportError")
    stage.send(b"x" * 1000, codec="zstd", partition=1)
    lame = await stage.start(seconds=0.01, path=tmp_path)
    for _ in range(10):
        stage.send(*values(20))
        await asyncio.sleep(0.2)
    others = {origin for origin in stage.expected() if origin[0] != 1}
    found = await stage.outcomes(enough=len(others))
    assert others == found.keys()
    assert "zstd" in lame.log()
    lame.signal(signal.SIGTERM)
    await stage.start(seconds=0.01)
    assert stage.expected() == await stage.outcomes()
