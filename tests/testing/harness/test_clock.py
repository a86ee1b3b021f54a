from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from resilient_stt.testing.harness.clock import VirtualTimeLoop, run_virtual, threads_at_work

HOUR = 3600.0


@asynccontextmanager
async def echo_server() -> AsyncIterator[str]:
    """A websocket server on loopback that sends back what it gets."""

    async def echo(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        async for message in socket:
            await socket.send_bytes(message.data)
        return socket

    app = web.Application()
    app.router.add_get("/", echo)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def echo_socket() -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with (
        echo_server() as url,
        aiohttp.ClientSession() as session,
        session.ws_connect(url, max_msg_size=0) as socket,
    ):
        yield socket


def test_sleep_takes_the_slept_time_on_the_clock_and_no_time_on_the_wall() -> None:
    """An hour of sleep is exactly an hour on the loop's clock."""

    async def main() -> float:
        begin = asyncio.get_running_loop().time()
        await asyncio.sleep(HOUR)
        return asyncio.get_running_loop().time() - begin

    real = time.monotonic()
    assert run_virtual(main()) == pytest.approx(HOUR, abs=1e-6)
    assert time.monotonic() - real < HOUR / 60


def test_timers_fire_in_the_order_of_their_times() -> None:
    """Timers armed in any order fire by time, each at its own time."""

    async def main() -> list[tuple[float, float]]:
        loop = asyncio.get_running_loop()
        begin, fired = loop.time(), list[tuple[float, float]]()

        def fire(delay: float) -> None:
            fired.append((delay, loop.time() - begin))

        for delay in (0.3, 0.1, 5.0, 0.2, 0.1001):
            loop.call_later(delay, fire, delay)
        await asyncio.sleep(6)
        return fired

    fired = run_virtual(main())
    assert [delay for delay, _ in fired] == [0.1, 0.1001, 0.2, 0.3, 5.0]
    assert all(at == pytest.approx(delay, abs=1e-6) for delay, at in fired)


def test_an_hour_of_websocket_traffic_is_in_order_and_on_time() -> None:
    """A socket used every ten seconds for an hour echoes each message at the time it was sent."""

    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        delays = []
        async with echo_socket() as socket:
            for number in range(360):
                await asyncio.sleep(10)
                sent = loop.time()
                await socket.send_bytes(number.to_bytes(4, "big"))
                assert await socket.receive_bytes() == number.to_bytes(4, "big")
                delays.append(loop.time() - sent)
        return delays

    assert run_virtual(main()) == [0.0] * 360


@pytest.mark.parametrize("size", [10, 4_000, 2_000_000])
def test_data_is_not_overtaken_by_timers(size: int) -> None:
    """A timer of a microsecond does not fire while an echo is under way, however large."""

    async def main() -> int:
        late = 0
        async with echo_socket() as socket:
            for _ in range(20):
                receive = asyncio.ensure_future(socket.receive_bytes())
                await socket.send_bytes(bytes(size))
                timer = asyncio.get_running_loop().call_later(1e-6, receive.cancel)
                try:
                    assert len(await receive) == size
                except asyncio.CancelledError:
                    late += 1
                timer.cancel()
        return late

    assert run_virtual(main()) == 0


def test_executor_work_is_not_overtaken() -> None:
    """Work in a thread that takes less wall time than a timer is done before the timer fires."""

    async def main() -> tuple[str, float]:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        async with asyncio.timeout(10):
            await asyncio.to_thread(time.sleep, 0.05)
        return "done", loop.time() - begin

    what, took = run_virtual(main())
    assert what == "done"
    assert took == 0.0


def test_timers_still_fire_while_executor_work_waits_for_them() -> None:
    """Work that waits for something a timer does cannot hold the clock."""

    async def main() -> bool:
        released = threading.Event()
        asyncio.get_running_loop().call_later(0.05, released.set)
        return await asyncio.to_thread(released.wait, 5)

    assert run_virtual(main())


def test_time_jumps_again_after_executor_work() -> None:
    """Work that is done, failed or cancelled no longer slows the clock."""

    async def main() -> None:
        await asyncio.to_thread(len, ())
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(divmod, 1, 0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.to_thread(time.sleep, 0.05)
        await asyncio.sleep(HOUR)

    real = time.monotonic()
    run_virtual(main())
    assert time.monotonic() - real < HOUR / 60


def test_a_thread_wakes_a_loop_without_timers() -> None:
    """With nothing scheduled the loop waits on the wall for a call from another thread."""

    async def main() -> str:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[str] = loop.create_future()

        def wake() -> None:
            time.sleep(0.02)
            loop.call_soon_threadsafe(future.set_result, "woken")

        thread = threading.Thread(target=wake)
        thread.start()
        try:
            return await future
        finally:
            thread.join()

    assert run_virtual(main()) == "woken"


def test_run_virtual_cancels_what_is_left_and_closes_the_loop() -> None:
    """Tasks that outlive the main coroutine are cancelled and the loop is closed."""
    ended = []

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    async def main() -> tuple[asyncio.Task[None], asyncio.AbstractEventLoop]:
        task = asyncio.create_task(forever())
        await asyncio.sleep(1)
        return task, asyncio.get_running_loop()

    task, loop = run_virtual(main())
    assert ended == ["cancelled"]
    assert task.cancelled()
    assert loop.is_closed()


def test_run_virtual_raises_what_the_coroutine_raises() -> None:
    """An exception of the main coroutine reaches the caller."""

    async def main() -> None:
        await asyncio.sleep(1)
        raise LookupError("the reason")

    with pytest.raises(LookupError, match="the reason"):
        run_virtual(main())


def test_the_clock_starts_at_the_given_time() -> None:
    """A new loop shows its start time, and says so in its repr."""
    loop = VirtualTimeLoop(start=42)
    try:
        assert loop.time() == 42
        assert repr(loop) == "<VirtualTimeLoop idle at 42.000 s>"
    finally:
        loop.close()
    assert "closed" in repr(loop)


@pytest.mark.stt_virtual_time
async def test_marked_tests_run_on_the_virtual_loop() -> None:
    """A test marked `stt_virtual_time` runs on a `VirtualTimeLoop`."""
    assert isinstance(asyncio.get_running_loop(), VirtualTimeLoop)


async def test_unmarked_tests_run_on_a_real_loop() -> None:
    """A test without the mark runs on the usual loop."""
    assert not isinstance(asyncio.get_running_loop(), VirtualTimeLoop)


async def _answered_by_a_thread() -> str:
    """Which comes first: a thread's answer after 20 ms of real time, or a timer of 10 s."""
    loop = asyncio.get_running_loop()
    came = asyncio.Event()
    thread = threading.Timer(0.02, loop.call_soon_threadsafe, [came.set])
    thread.start()
    try:
        async with asyncio.timeout(10):
            await came.wait()
    except TimeoutError:
        return "timer"
    else:
        return "thread"
    finally:
        thread.join()


def test_a_jump_waits_for_threads_that_take_part() -> None:
    """A timer overtakes the answer of a thread, unless the loop was told of threads."""

    async def main() -> list[str]:
        alone = await _answered_by_a_thread()
        with threads_at_work(0.5):
            together = await _answered_by_a_thread()
        return [alone, together, await _answered_by_a_thread()]

    assert run_virtual(main()) == ["timer", "thread", "timer"]


def test_the_clock_can_run_in_real_time() -> None:
    """While threads keep real time, a second of the loop is a second, and then none again."""

    async def main() -> tuple[float, float]:
        began = time.monotonic()
        with threads_at_work(None), threads_at_work(0.001):
            await asyncio.sleep(0.3)
        middle = time.monotonic()
        await asyncio.sleep(30)
        return middle - began, time.monotonic() - middle

    real, jumped = run_virtual(main())
    assert real >= 0.3
    assert jumped < 30


def test_other_loops_have_no_threads_to_be_told_of() -> None:
    async def main() -> None:
        with threads_at_work(None):
            await asyncio.sleep(0)

    asyncio.run(main())
