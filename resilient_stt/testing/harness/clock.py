"""An event loop whose clock jumps over waiting, with real sockets on it.

`VirtualTimeLoop` runs unmodified asyncio code, including servers and clients that talk to each
other over loopback inside one process. It never sleeps: when no callback is ready and no socket has
data, it sets its clock forward to the next timer. An hour of audio pushed at the pace of speech
then takes seconds, and the times on the loop's clock are the same on every run.

The loop only knows what happens on itself, which has these consequences:

* Take the time from `loop.time()`. `time.time()` and `time.monotonic()` are real time.
* While work in `run_in_executor` is pending, the clock runs in real time, so that timers do not
  overtake that work. Other threads and other processes are invisible: a timer may fire before them,
  unless `threads_at_work` says that they take part.
* A coroutine that spins on `sleep(0)` until a certain time spins forever.

The mark `stt_virtual_time` of the pytest plugin runs a test on this loop. Without pytest, use
`run_virtual`.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import selectors
import time
from collections.abc import Coroutine, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple
from unittest import mock

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable
    from concurrent.futures import Executor

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")
_Ready = list[tuple[selectors.SelectorKey, int]]

_SETTLE = 50e-6
_START = 100.0
_SELECT_LIMIT = 1024  # FD_SETSIZE: select(2) can only watch files with smaller numbers


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop that jumps to the next timer instead of waiting for it.

    Args:
        settle: Real seconds given to traffic in flight before each jump. Loopback delivers within
            the sender's system call, so this is only a margin for a busy machine.
        start: The first time on the clock, in seconds. It is not 0, because code that takes a time
            of 0 for "never" would behave as it does on no real machine.
    """

    def __init__(self, *, settle: float = _SETTLE, start: float = _START) -> None:
        self._clock = _JumpingSelector(settle=settle, start=start)
        super().__init__(self._clock)

    def __repr__(self) -> str:
        state = "closed" if self.is_closed() else "running" if self.is_running() else "idle"
        return f"<{type(self).__name__} {state} at {self.time():.3f} s>"

    def time(self) -> float:
        """The virtual time in seconds."""
        return self._clock.now

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*_Ts], _T], *args: *_Ts
    ) -> Future[_T]:
        """Run `func` in a thread. Until it is done, the clock runs in real time."""
        future = super().run_in_executor(executor, func, *args)
        self._clock.outside += 1
        future.add_done_callback(self._came_back)
        return future

    def _came_back(self, _: Future[Any]) -> None:
        self._clock.outside -= 1

    @contextlib.contextmanager
    def threads_at_work(self, settle: float | None) -> Iterator[None]:
        """Before each jump, wait so many real seconds for other threads, while the context is open.
        None: do not jump; the clock runs in real time."""
        # Without a settling time, one that no jump can wait for.
        wait = float("inf") if settle is None else settle
        self._clock.settles.append(wait)
        try:
            yield
        finally:
            self._clock.settles.remove(wait)

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait for the threads in real time, because from Python 3.12 on asyncio waits with a
        timer."""
        patience = () if timeout is None else (timeout,)
        self._clock.outside += 1
        try:
            await super().shutdown_default_executor(*patience)
        finally:
            self._clock.outside -= 1


def threads_at_work(settle: float | None) -> contextlib.AbstractContextManager[None]:
    """Tell the running loop that other threads take part; see `VirtualTimeLoop.threads_at_work`. It
    has no effect on any other loop."""
    loop = asyncio.get_running_loop()
    if isinstance(loop, VirtualTimeLoop):
        return loop.threads_at_work(settle)
    return contextlib.nullcontext()


def run_virtual(main: Coroutine[Any, Any, _T], *, debug: bool | None = None) -> _T:
    """Run a coroutine to its end on a new `VirtualTimeLoop`, as `asyncio.run` does on a real clock.

    Tasks that are still running afterwards are cancelled, and the loop is closed.
    """
    with asyncio.Runner(debug=debug, loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)


class _JumpingSelector(selectors.BaseSelector):
    """A selector that moves `now` forward where another one would sleep.

    `outside` counts pieces of work that another thread will complete. Before a jump, it waits for
    the longest of `settles`.
    """

    def __init__(self, *, settle: float, start: float) -> None:
        self._real = selectors.DefaultSelector()
        self.settles = [settle]
        self.now = start
        self.outside = 0

    def select(self, timeout: float | None = None) -> _Ready:
        if timeout is None:  # no timer is pending: only something outside can happen
            return self._real.select(None)
        ready = self._real.select(0)
        if ready or timeout <= 0:
            return ready
        settle = max(self.settles)
        if settle == float("inf"):
            return self._in_real_time(timeout)
        ready = self._real.select(timeout) if self.outside else self._settled(settle)
        if not ready:
            self.now += timeout
        return ready

    def _in_real_time(self, timeout: float) -> _Ready:
        began = time.monotonic()
        ready = self._real.select(timeout)
        passed = time.monotonic() - began
        self.now += min(passed, timeout) if ready else timeout
        return ready

    def _settled(self, settle: float) -> _Ready:
        """Return what becomes ready within the settling time."""
        watch = getattr(self._real, "fileno", None)
        if watch is None or watch() >= _SELECT_LIMIT:
            return self._real.select(settle)
        # epoll rounds its timeout up to a whole millisecond. select(2) on the epoll file does not.
        if select.select([watch()], [], [], settle)[0]:
            return self._real.select(0)
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.get_key(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()


@contextlib.contextmanager
def wall_clock_follows(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Let `time.time()` follow the loop's clock: LiveKit's offsets come from it, and must be the
    same in each run."""
    with mock.patch.object(time, "time", loop.time):
        yield
