from __future__ import annotations

from resilient_stt.cli.demo.service_history import ServiceHistory
from resilient_stt.core.events import Decision, ErrorKind, ProviderRecovered

from ...support.events import OUTAGE, STALL, failed, switched


def test_failover_and_failback() -> None:
    """A background failure ends no period of service, but is kept as a failure."""
    events: list[Decision] = [
        *STALL,
        failed(18.0, "cartesia", ErrorKind.CONNECT),
        ProviderRecovered(at=30.0, provider="cartesia"),
        switched(40.0, "deepgram", "cartesia", 40.0),
    ]
    history = ServiceHistory.of("cartesia", events)
    assert [(p.provider, p.begin, p.end) for p in history.periods] == [
        ("cartesia", 0.0, 12.7),
        ("deepgram", 12.7, 40.0),
        ("cartesia", 40.0, None),
    ]
    assert history.failures == [("cartesia", 12.7), ("cartesia", 18.0)]


def test_outage() -> None:
    """Who served when, which audio was replayed, and when no provider worked."""
    history = ServiceHistory.of("cartesia", OUTAGE)
    assert [(p.provider, p.begin, p.end, p.replayed_from) for p in history.periods] == [
        ("cartesia", 0.0, 6.0, None),
        ("deepgram", 6.0, 13.0, 4.0),
        ("cartesia", 17.0, None, 10.0),
    ]
    assert [(p.begin, p.end) for p in history.outages] == [(13.0, 17.0)]
    assert history.failures == [("cartesia", 6.0), ("deepgram", 13.0)]


def test_a_provider_that_never_connected_has_no_period() -> None:
    """A handshake that hung for a while is not service."""
    events: list[Decision] = [
        failed(1.5, "cartesia", ErrorKind.CONNECT),
        switched(1.5, "cartesia", "deepgram", 0.2, reason=ErrorKind.CONNECT),
    ]
    history = ServiceHistory.of("cartesia", events)
    assert [period.provider for period in history.periods] == ["deepgram"]
