"""Pools of connections by themselves."""

from __future__ import annotations

from resilient_stt.core.accounts import StreamAccounts
from resilient_stt.core.audio.ledger import AudioLedger
from resilient_stt.core.connections.pool import ConnectionPool
from resilient_stt.core.health.breaker import Breaker
from resilient_stt.core.health.provider import ProviderHealth
from resilient_stt.core.outbox import Outbox
from resilient_stt.core.policy import Policies, ProviderTraits
from resilient_stt.core.routing.selector import ProviderSelector
from resilient_stt.core.transcript.history import TranscriptHistory

from .simulator import routing


class BarePool(ConnectionPool):
    """A pool whose ledger and outbox are in reach."""

    def __init__(self, ledger: AudioLedger, policies: Policies, *names: str) -> None:
        self.ledger = ledger
        self.outbox = Outbox()
        tracker = routing([ProviderTraits(name=name) for name in names])
        health = {name: ProviderHealth(Breaker(policies.breaker)) for name in names}
        super().__init__(
            ledger=ledger,
            history=TranscriptHistory(policies.replay),
            routing=tracker,
            selector=ProviderSelector(tracker.route.providers, health, policies.retry),
            health=health,
            policies=policies,
            accounts=StreamAccounts(ledger),
            outbox=self.outbox,
        )


def pool_of(ledger: AudioLedger, *names: str, policies: Policies | None = None) -> BarePool:
    """Return a pool for the providers of these names, over a ledger."""
    return BarePool(ledger, policies or Policies(), *(names or ("a",)))
