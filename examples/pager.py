"""Wake somebody up when speech-to-text needs a human: events to PagerDuty, or to anything like it.

    stt = ResilientSTT()
    pager = Pager(os.environ["PAGERDUTY_ROUTING_KEY"])
    pager.watch(stt)

Two kinds of events are worth a call at night: nobody works (`outage_started`), and something that
only the owner of an account can mend (`provider_failed` with `advice`). Both are resolved by
themselves. Nothing is remembered here, because each call is a process: incidents of all calls with
one `dedup_key` are one, and resolving one that is not open does nothing.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import aiohttp

from resilient_stt import (
    OutageEnded,
    OutageStarted,
    ProviderFailed,
    ProviderRecovered,
    ResilientSTT,
)

EVENTS_API = "https://events.pagerduty.com/v2/enqueue"
logger = logging.getLogger("pager")


class Pager:
    """Sends incidents to an events API, beside the calls and never in their way."""

    def __init__(self, routing_key: str, url: str = EVENTS_API) -> None:
        """`routing_key`: of the service that is alerted; `url`: where incidents are posted."""
        self._routing_key = routing_key
        self._url = url
        self._sending: set[asyncio.Task[None]] = set()

    def watch(self, stt: ResilientSTT) -> None:
        """Send the incidents of all streams of an STT."""
        stt.on("outage_started", self._outage_started)
        stt.on("outage_ended", self._outage_ended)
        stt.on("provider_failed", self._provider_failed)
        stt.on("provider_recovered", self._provider_recovered)

    async def aclose(self) -> None:
        """Wait for what is being sent."""
        await asyncio.gather(*self._sending)

    def _outage_started(self, event: OutageStarted) -> None:
        self._trigger("stt-outage", "No speech-to-text provider works", event.stream_id)

    def _outage_ended(self, event: OutageEnded) -> None:
        self._resolve("stt-outage")

    def _provider_failed(self, event: ProviderFailed) -> None:
        if event.advice:
            summary = f"{event.provider} refuses this account: {event.advice}"
            self._trigger(f"stt-{event.provider}", summary, event.stream_id)

    def _provider_recovered(self, event: ProviderRecovered) -> None:
        self._resolve(f"stt-{event.provider}")

    def _trigger(self, key: str, summary: str, stream_id: str) -> None:
        payload = {"summary": summary, "source": stream_id, "severity": "critical"}
        self._send({"event_action": "trigger", "dedup_key": key, "payload": payload})

    def _resolve(self, key: str) -> None:
        self._send({"event_action": "resolve", "dedup_key": key})

    def _send(self, incident: dict[str, Any]) -> None:
        """Events come in the event loop of the call, so nothing here may wait."""
        task = asyncio.create_task(self._post({"routing_key": self._routing_key, **incident}))
        self._sending.add(task)  # the loop itself keeps no reference
        task.add_done_callback(self._sending.discard)

    async def _post(self, incident: dict[str, Any]) -> None:
        try:
            timeout = aiohttp.ClientTimeout(total=10)
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.post(self._url, json=incident) as response,
            ):
                response.raise_for_status()
        except (aiohttp.ClientError, TimeoutError) as error:
            logger.error("the pager cannot be reached: %s", type(error).__name__)
