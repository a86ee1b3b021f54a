"""A local engine that decodes the same audio once."""

from __future__ import annotations

import hashlib

from resilient_stt.local import Hypothesis, LocalEngine, Samples, UtteranceDecoder


class RememberingEngine:
    """Calls that differ in one moment have most of their audio in common.

    Only for engines whose hypothesis depends on nothing but the samples.
    """

    def __init__(self, engine: LocalEngine) -> None:
        self.model = engine.model
        self.language = engine.language
        self._engine = engine
        self._loaded = False
        self.known: dict[bytes, Hypothesis] = {}

    def load(self) -> None:
        """Load the engine, once for all servers that share it."""
        if not self._loaded:
            self._engine.load()
            self._loaded = True

    def utterance(self, language: str) -> RememberingDecoder:
        return RememberingDecoder(self, self._engine.utterance(language))


class RememberingDecoder:
    """Decodes what its engine has not decoded before."""

    def __init__(self, memory: RememberingEngine, decoder: UtteranceDecoder) -> None:
        self._memory = memory
        self._decoder = decoder

    def decode(self, samples: Samples, *, final: bool) -> Hypothesis:
        digest = hashlib.sha256(bytes([final]) + samples.tobytes()).digest()
        if digest not in self._memory.known:
            self._memory.known[digest] = self._decoder.decode(samples, final=final)
        return self._memory.known[digest]
