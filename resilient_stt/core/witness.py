"""What a hedge knows: what it has told that is new, and whether it had time enough to tell more."""

from __future__ import annotations

from collections.abc import Iterator

from .inputs import SaidKind
from .leg import Leg, seam_at
from .legs import Legs
from .transcript import Utterance


def news(hedge: Leg, legs: Legs) -> Iterator[tuple[SaidKind, Utterance]]:
    """What it told first that is new, and each revision of it up to its FINAL."""
    seam = seam_at(hedge.start, legs.ledger, legs.transcript, torn=hedge.torn)
    for said, _ in hedge.held:
        if not said.text.strip():
            continue
        utterance = hedge.understood(said)
        kept = seam.trim(utterance)
        if kept is not None:
            yield said.kind, kept
        if said.kind is SaidKind.FINAL:
            if kept is not None:
                return
            seam.passed(utterance, kept)


def news_since(hedge: Leg, legs: Legs) -> float | None:
    """The session time of the first that it told which is new, 0 without times."""
    first = next(news(hedge, legs), None)
    return None if first is None else first[1].start or 0.0


def knows_nothing(hedge: Leg) -> bool:
    """Whether it did not tell again even what others told: it may have fallen silent, too, or its
    connection been cut and its plugin taken that for the end."""
    return hedge.seam.expects and not any(said.text.strip() for said, _ in hedge.held)


def has_heard(hedge: Leg, to: int, legs: Legs, now: float) -> bool:
    """Whether it had time enough to tell what was spoken before session sample `to`."""
    return hedge.finished or hedge.heard(legs.ledger, now - patience(hedge, legs)) >= to


def patience(hedge: Leg, legs: Legs) -> float:
    """Seconds that it has to tell what it has heard, and to connect if it has said nothing."""
    return hedge.watch.final_limit + connects(hedge, legs)


def connects(hedge: Leg, legs: Legs) -> float:
    """Seconds that it may still need to connect."""
    return legs.policies.retry.connect_timeout if hedge.heard_at is None else 0.0
