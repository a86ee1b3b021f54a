"""What type checkers know of the public face. mypy runs on this file, strictly, as on all tests:
a wrong line without its comment is an error, and so is a comment at a line that is right."""

from __future__ import annotations

from typing import assert_type

from livekit.agents.stt import STTError

from resilient_stt import (
    Event,
    OutageStarted,
    ProviderFailed,
    ResilientStream,
    ResilientSTT,
    Switched,
)

from .support.fakes import FakeSTT


class Own(ResilientSTT):
    """A subclass of a user."""


def on_outage(event: OutageStarted) -> None: ...
def on_any(event: Event) -> None: ...
def on_nothing() -> None: ...
def on_error(event: STTError) -> None: ...


async def test_async_with_keeps_the_type() -> None:
    """Of the STT, also of a subclass, and of its streams."""
    async with ResilientSTT([FakeSTT()]) as made, Own([FakeSTT()]) as own:
        assert_type(made, ResilientSTT)
        assert_type(own, Own)
        async with made.stream() as stream:
            assert_type(stream, ResilientStream)
    assert isinstance(made, ResilientSTT)
    assert isinstance(stream, ResilientStream)


async def test_handlers_are_typed_by_the_name_of_their_event() -> None:
    """`on` and `once` return the handler, as LiveKit's do, and are decorators without one."""
    made = ResilientSTT([FakeSTT()])
    assert made.on("outage_started", on_outage) is on_outage
    made.on("outage_started", on_any)
    made.on("outage_started", on_nothing)
    made.once("error", on_error)
    made.on("switched", lambda event: event.to_provider)
    made.on("switched", on_outage)  # type: ignore[call-overload]
    made.on("outage_strated", on_outage)  # type: ignore[call-overload]
    made.once("provider_failed", lambda event: event.nothing)  # type: ignore[call-overload]

    @made.on("provider_failed")
    def failed(event: ProviderFailed) -> str:
        return event.provider

    @made.on("provider_failed")  # type: ignore[arg-type]
    def wrong(event: Switched) -> None: ...

    assert failed.__name__ == "failed"
    made.off("outage_started", on_outage)
