"""Windows that end now, and the fewest buckets that tell of them: pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Case, Q, Value, When

from jobs.models import Bucket

HOURS_A_DAY = Bucket.DAY // Bucket.HOUR
WIDER = {Bucket.MINUTE: Bucket.HOUR, Bucket.HOUR: Bucket.DAY}


@dataclass(frozen=True)
class Window:
    """What can be chosen: so many steps of `tier` seconds, the running one included."""

    name: str
    tier: int
    steps: int


WINDOWS = {
    window.name: window
    for window in (
        Window("1h", Bucket.MINUTE, 60),
        Window("24h", Bucket.HOUR, HOURS_A_DAY),
        Window("7d", Bucket.HOUR, 7 * HOURS_A_DAY),
    )
}


@dataclass(frozen=True)
class Tiles:
    """Buckets that add up to a window: those of the tier `fine` count `sign` times, all others once."""

    rows: Q
    fine: int = 0
    sign: int = 1

    def weight(self, tier: int) -> int:
        """How often a bucket of this tier counts."""
        return self.sign if tier == self.fine else 1

    @property
    def weights(self) -> Any:
        """The same for the database."""
        return Case(When(tier=self.fine, then=Value(self.sign)), default=Value(1))


@dataclass(frozen=True)
class Span:
    """A window that ends now; steps are counted since the epoch, in tiers."""

    tier: int
    steps: range

    @classmethod
    def of(cls, window: Window, now: float) -> Span:
        running = int(now // window.tier)
        return cls(window.tier, range(running - window.steps + 1, running + 1))

    @property
    def begin(self) -> int:
        """Seconds since the epoch."""
        return self.steps.start * self.tier

    @property
    def bar(self) -> int:
        """Seconds of a bar in the trend of a list: a day where the window has more than one."""
        return Bucket.DAY if len(self.steps) > HOURS_A_DAY and self.tier == Bucket.HOUR else self.tier

    @property
    def bars(self) -> range:
        """The bars of such a trend, counted since the epoch."""
        return range(self.begin // self.bar, self.steps[-1] * self.tier // self.bar + 1)

    def of_all(self) -> Tiles:
        """Its fewest buckets: wider ones, and of the one in which it begins the rest (or all, less the rest).

        Ingest moves all tiers in one transaction, so the wider bucket holds exactly what its parts hold.
        """
        wider, parts = WIDER[self.tier], WIDER[self.tier] // self.tier
        cut, before = divmod(self.steps.start, parts)
        if before < parts - before:
            rest, first, sign = range(cut * parts, self.steps.start), cut, -1
        else:
            rest, first, sign = range(self.steps.start, (cut + 1) * parts), cut + 1, 1
        fine = Q(tier=self.tier, start__gte=rest.start, start__lt=rest.stop)
        return Tiles(Q(tier=wider, start__gte=first) | fine, self.tier, sign)

    def of_few(self) -> Tiles:
        """Its buckets, one step at a time: for a condition that names tasks as well."""
        return Tiles(Q(tier=self.tier, start__in=list(self.steps)))

    def of_bars(self) -> Tiles:
        """Its buckets as far as they tell its bars apart; for a condition that names tasks as well."""
        return self.of_few() if self.bar == self.tier else self.of_all()
