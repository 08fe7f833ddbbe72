"""A proof's state as it lies in the status between restarts: small, versioned, checked when read back."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from quanary.controller.evidence.betting import BREACH_ODDS, SAFE_ODDS, Breach, Safety
from quanary.controller.evidence.hold import Hold
from quanary.controller.evidence.watch import Watch

_Count = Annotated[int, Field(ge=0)]
_Amount = Annotated[float, Field(ge=0)]
_Masses = Annotated[tuple[_Amount, ...], Field(min_length=len(BREACH_ODDS) + 1, max_length=len(BREACH_ODDS) + 1)]
_Wealth = Annotated[tuple[_Amount, ...], Field(min_length=len(SAFE_ODDS), max_length=len(SAFE_ODDS))]


class Saved(BaseModel):
    """Base of what is saved: finite numbers only, nothing unknown."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False, extra="forbid")


class SavedSafety(Saved):
    """A gate's D."""

    wealth: _Wealth
    fresh: _Wealth
    since: _Amount
    best: _Amount


class SavedHold(Saved):
    """A hold: since when, and its D. Absent where nothing holds."""

    since: _Amount
    normal: SavedSafety


class SavedWatch(Saved):
    """A gate's state. Times are seconds since the epoch."""

    limit: float
    rule: Annotated[str, Field(max_length=96)] = ""
    begun: _Amount
    paid: _Amount
    samples: _Count
    bad: _Count
    until: _Amount
    pending: tuple[_Count, _Count, _Count, _Count]
    excused: bool
    masses: _Masses
    safety: SavedSafety | None = None
    hold: SavedHold | None = None


class Checkpoint(Saved):
    """A proof's state up to the last closed bin, `at`."""

    version: Literal[1] = 1
    pair: str
    at: _Amount
    changed: _Amount
    changes: Annotated[tuple[_Amount, ...], Field(max_length=64)]
    condemned: str
    proven: bool
    retreated: _Amount
    drops: tuple[_Amount, _Amount, _Amount]
    watches: dict[str, SavedWatch]


def save_watch(watch: Watch, width: float) -> SavedWatch:
    """`width` is a bin's, in seconds."""
    safety, hold = watch.safety, watch.hold
    return SavedWatch(
        limit=watch.gate.limit,
        rule=watch.gate.rule,
        begun=watch.begun,
        paid=watch.paid_until,
        samples=watch.samples,
        bad=watch.bad,
        until=watch.until * width,
        pending=(watch.pending[0], watch.pending[1], watch.pending[2], watch.pending[3]),
        excused=watch.is_excused,
        masses=tuple(watch.breach.masses),
        safety=_save_safety(safety) if safety else None,
        hold=SavedHold(since=hold.since, normal=_save_safety(hold.normal)) if hold and hold.since else None,
    )


def _save_safety(safety: Safety) -> SavedSafety:
    return SavedSafety(
        wealth=tuple(safety.wealth), fresh=tuple(safety.fresh), since=safety.fresh_since, best=safety.best
    )


def load_watch(saved: SavedWatch, watch: Watch, width: float) -> None:
    """Bring a newly begun watch to what was saved."""
    watch.begun, watch.paid_until = saved.begun, saved.paid
    watch.samples, watch.bad = saved.samples, saved.bad
    # The width may have been set anew since: the period then ends with the bin that holds its end.
    watch.until = -int(-saved.until // width)
    watch.pending = list(saved.pending)
    watch.is_excused = saved.excused
    watch.breach = Breach(saved.masses)
    if watch.safety and saved.safety:
        watch.safety = _load_safety(saved.safety)
    if watch.hold and saved.hold:
        watch.hold = Hold(saved.hold.since, _load_safety(saved.hold.normal))


def _load_safety(saved: SavedSafety) -> Safety:
    return Safety(list(saved.wealth), list(saved.fresh), saved.since, saved.best)
