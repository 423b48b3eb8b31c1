"""The dry run: reads every dead letter that is meant, sends nothing, and says what would happen."""

import secrets
from collections import Counter, defaultdict
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final

from pydantic import AwareDatetime, BaseModel

from services.ops.dead_letters.letter import Letter
from services.ops.dead_letters.scan import DeadLetters, Watch
from services.ops.dead_letters.selection import Selection
from services.ops.dead_letters.tally import MOST_VALUES, OTHER
from services.ops.replay.allowance import read_exchange
from services.ops.replay.edit import Edit, EditRefused
from services.ops.replay.learning import estimate, learn
from services.ops.replay.plan import Findings, Plan, Ranges
from services.ops.replay.store import Plans
from services.ops.replay.target import check_targets
from services.runtime.reading import TopicMissing
from sluice_contracts import Tier

SAMPLES: Final = 20
_REFUSALS: Final = 5
_FILTER_BYTES: Final = 16_777_216
_HASHES: Final = 4


class _Deadline(BaseModel):
    deadline: AwareDatetime


class Ids:
    """Says whether an id came before, in 16 MiB whatever their number.

    A Bloom filter: one in a million answers is a false "yes" after a million ids, one in a thousand
    after ten million; so its counts are estimates, and nothing is left out because of them.
    """

    def __init__(self) -> None:
        self._bits = bytearray(_FILTER_BYTES)

    def has_seen(self, name: str) -> bool:
        """Note an id; True where it came before."""
        digest = blake2b(name.encode(), digest_size=4 * _HASHES).digest()
        seen = True
        for at in range(0, 4 * _HASHES, 4):
            bit = int.from_bytes(digest[at : at + 4], "big") % (_FILTER_BYTES * 8)
            mask = 1 << (bit & 7)
            if not self._bits[bit >> 3] & mask:
                self._bits[bit >> 3] |= mask
                seen = False
        return seen


class DryRun:
    """Judges dead letters one by one; memory does not grow with them."""

    def __init__(self, plan: Plan, now: datetime) -> None:
        self._plan = plan
        self._now = now
        self._judge = plan.judge()
        self._roots = Ids()
        self._by_cause: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._left_out: Counter[str] = Counter()
        self._refusals: dict[str, None] = {}
        self._samples: list[dict[str, Any]] = []
        self._oldest = self._newest = 0
        self._bytes = self._duplicates = self._past_deadline = 0
        self.counts: Counter[tuple[Tier, str]] = Counter()
        """By the tier that they go to, and prompt."""
        self.characters: Counter[Tier] = Counter()
        self.highest: dict[Tier, int] = {}
        """The highest partition number of what goes to a tier."""

    def add(self, letter: Letter) -> None:
        """Judge a dead letter."""
        reason = self._judge(letter)
        if reason is None:
            try:
                value = self._plan.edit.apply(letter)
            except EditRefused as exc:
                reason = "refused"
                if len(self._refusals) < _REFUSALS:
                    self._refusals[f"{letter.place}: {exc}"] = None
        if reason is not None:
            self._left_out[reason] += 1
            return
        at, size = letter.timestamp_ms, len(value or b"")
        self._oldest = min(self._oldest or at, at)
        self._newest = max(self._newest, at)
        self._bytes += size
        self._by_cause[letter.code][letter.tier] += 1
        self._duplicates += self._roots.has_seen(letter.root_id)
        self._past_deadline += self._is_late(value)
        tier = self._plan.edit.tier or letter.tier
        prompt = letter.prompt if len(self.counts) < MOST_VALUES else OTHER
        self.counts[tier, prompt] += 1
        self.characters[tier] += size
        number = letter.record.partition
        self.highest[tier] = max(self.highest.get(tier, number), number)
        if len(self._samples) < SAMPLES:
            self._samples.append(letter.facts())

    def findings(self) -> Findings:
        """Return what was found, without the estimate."""
        return Findings(
            selected=self.counts.total(),
            by_cause={code: dict(tiers) for code, tiers in sorted(self._by_cause.items())},
            bytes=self._bytes,
            oldest=_date(self._oldest),
            newest=_date(self._newest),
            duplicates=self._duplicates,
            looped=self._left_out["looped"],
            hopeless=self._left_out["hopeless"],
            handled=self._left_out["handled"],
            refused=self._left_out["refused"],
            refusals=list(self._refusals),
            past_deadline=self._past_deadline,
            samples=self._samples,
        )

    def _is_late(self, value: bytes | None) -> bool:
        # Most requests have no deadline; finding the word costs less than parsing.
        if value is None or b'"deadline"' not in value:
            return False
        try:
            return _Deadline.model_validate_json(value).deadline < self._now
        except ValueError:
            return False


async def plan_replay(
    plans: Plans,
    selection: Selection,
    edit: Edit,
    *,
    by: str,
    why: str,
    max_generation: int,
    again: bool,
    now: datetime,
    watch: Watch,
) -> Plan:
    """Make a plan and look at all it means; nothing is written.

    Raises:
        CommandFailed: A tier's topics cannot take the requests.
    """
    letters = DeadLetters(plans.options, plans.names)
    handled = await plans.handled(now)
    pinned = await letters.pin(selection)
    partitions = 1 + max(tp.partition for tp in pinned)
    if edit.tier is not None:  # known before every dead letter is read
        await check_targets(plans.options, plans.names, {edit.tier: 0}, partitions=partitions)
    ranges: Ranges = {}
    for tp, inside in pinned.items():
        ranges.setdefault(tp.topic, {})[tp.partition] = inside
    plan = Plan(
        plan_id=f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}",
        created_at=now,
        by=by,
        why=why,
        selection=selection,
        ranges=ranges,
        edit=edit,
        max_generation=max_generation,
        handled=[
            each
            for each in handled
            if each.meets(ranges) and not selection.excludes(each.selection)
        ],
        again=again,
    )
    dry_run = DryRun(plan, now)
    async for letter in letters.select(selection, ranges=pinned, watch=watch):
        dry_run.add(letter)
    await check_targets(plans.options, plans.names, dry_run.highest, partitions=partitions)
    found = dry_run.findings()
    tiers = sorted({tier for tier, _ in dry_run.counts})
    usual = await learn(plans.options, plans.names, tiers)
    try:
        exchange = await read_exchange(plans.options, plans.names.rate)
    except TopicMissing:
        exchange = None
    allowances = {
        tier: exchange.allowance(tier, now=now.timestamp()) if exchange else None for tier in tiers
    }
    unheard = [tier for tier in tiers if allowances[tier] is None]
    estimated = estimate(dry_run.counts, dry_run.characters, usual, allowances)
    known = {"estimate": estimated, "unheard": unheard}
    return plan.model_copy(update={"found": found.model_copy(update=known)})


def _date(at_ms: int) -> datetime | None:
    return datetime.fromtimestamp(at_ms / 1000, UTC) if at_ms else None
