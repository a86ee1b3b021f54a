"""The one thread of a process on which an engine decodes, for all streams.

Decoding takes whole tenths of a second, so it never runs on the event loop. One thread is one core
at most. What it cannot do in time waits: finals in their order, while interim transcripts are left
out, which nobody misses. Nothing piles up: a stream has one piece of work at a time in the queue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar
from weakref import WeakValueDictionary

import numpy as np
from livekit.agents import APIConnectionError

from ..observe import logger
from .local_engine import Hypothesis, LocalEngine, Samples, UtteranceDecoder, make_engine

_T = TypeVar("_T")

_shared: WeakValueDictionary[tuple[str, str], DecodingThread] = WeakValueDictionary()
"""By engine and model. A model takes 100 MB and more, so a process loads it once. It is freed with
the last `STT` that uses it."""


def shared_thread(engine: str, model: str) -> DecodingThread:
    """Return the thread of this process for an engine and a model.

    Raises:
        ConfigurationError: as of `make_engine`.
    """
    thread = _shared.get((engine, model))
    if thread is None:
        thread = _shared[engine, model] = DecodingThread(make_engine(engine, model))
    return thread


class DecodingThread:
    """Runs an engine. It is to be used on event loops, of any number."""

    def __init__(self, engine: LocalEngine) -> None:
        self.engine = engine
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="resilient_stt.local")
        self._loading: Future[None] | None = None
        """The model is loaded, or is being loaded."""
        self._finals_waiting = 0

    def load(self) -> None:
        """Load the model in the background, if it is not loaded. A failure is only logged here: it
        is raised by what wants to decode."""
        if self._loading is None:
            self._loading = self._executor.submit(self.engine.load)
            self._loading.add_done_callback(self._loaded)

    def _loaded(self, loading: Future[None]) -> None:
        if not loading.cancelled() and (error := loading.exception()) is not None:
            self._loading = None  # the next one tries again
            name = type(error).__name__
            logger.error(f"local model cannot be loaded: {self.engine.model}: {name}", error=name)

    async def interim(
        self, decoder: UtteranceDecoder, audio: bytes, is_wanted: Callable[[], bool]
    ) -> Hypothesis | None:
        """Decode an utterance that goes on.

        Args:
            decoder: that of the utterance.
            audio: samples of 16 bits.
            is_wanted: called on the thread just before it would begin.

        Returns:
            The text; `None` if it is not wanted any more, or a final waits.

        Raises:
            APIConnectionError: the model cannot be loaded, or fails.
        """

        def work() -> Hypothesis | None:
            if self._finals_waiting or not is_wanted():
                return None
            return decoder.decode(as_floats(audio), final=False)

        return await self._run(work)

    async def final(self, decoder: UtteranceDecoder, audio: bytes) -> Hypothesis:
        """Decode an utterance that is over.

        Raises:
            APIConnectionError: the model cannot be loaded, or fails.
        """
        self._finals_waiting += 1
        try:
            return await self._run(lambda: decoder.decode(as_floats(audio), final=True))
        finally:
            self._finals_waiting -= 1

    async def _run(self, work: Callable[[], _T]) -> _T:
        self.load()
        loading = self._loading

        def after_loading() -> _T:
            if loading is not None:
                loading.result()  # it is done: the thread does one thing after the other
            return work()

        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, after_loading)
        except Exception as error:
            # LiveKit's errors repeat the text of their cause, which may contain anything
            name = type(error).__name__
            raise APIConnectionError(
                f"the local model {self.engine.model} failed: {name}", retryable=False
            ) from None


def as_floats(audio: bytes) -> Samples:
    """Return samples of 16 bits as engines take them."""
    return np.frombuffer(audio, np.int16).astype(np.float32) / np.float32(32768)
