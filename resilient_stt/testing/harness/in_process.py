"""What all providers without a server have in common: they stream, and take no whole buffers."""

from __future__ import annotations

from livekit.agents import APIConnectOptions, stt
from livekit.agents.types import NOT_GIVEN, NotGivenOr
from livekit.agents.utils import AudioBuffer


class InProcessSTT(stt.STT[str]):
    """A provider in this process. Its class says what `stream` returns."""

    def __init__(self, name: str, capabilities: stt.STTCapabilities, *, model: str) -> None:
        """`name`: its name, in `provider`."""
        super().__init__(capabilities=capabilities)
        self.name = name
        self._model_name = model

    @property
    def model(self) -> str:
        return self._model_name

    @property
    def provider(self) -> str:
        return self.name

    async def _recognize_impl(
        self,
        buffer: AudioBuffer,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions,
    ) -> stt.SpeechEvent:
        raise NotImplementedError
