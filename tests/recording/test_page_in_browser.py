"""The page in a browser: what one can do with it, and that its numbers are those of the JSON."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from resilient_stt.recording.document import RecordingDocument

from .browser import Browser, chromium, long_page, page_of, running

Recorded = tuple[Path, RecordingDocument]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Recorded]:
    """Pages of calls; made before Playwright runs its own loop in this thread."""
    chromium()  # without it, nothing needs to be made
    kinds: dict[str, dict[str, bool]] = {
        "failover": {"faulty": True},
        "healthy": {"faulty": False},
        "wordless": {"faulty": True, "text": False},
    }
    return {kind: page_of(tmp_path_factory.mktemp(kind), **of) for kind, of in kinds.items()}


@pytest.fixture(scope="module")
def browser(pages: dict[str, Recorded]) -> Iterator[Browser]:
    with running() as browser:
        yield browser


@pytest.fixture
def failover(pages: dict[str, Recorded]) -> Recorded:
    return pages["failover"]


@pytest.fixture
def healthy(pages: dict[str, Recorded]) -> Recorded:
    return pages["healthy"]


def text_of(page: Any, selector: str) -> str:
    """What one reads there."""
    text: str = page.locator(selector).inner_text()
    return " ".join(text.split())


def content_of(page: Any, selector: str) -> str:
    """What is written there, whatever the style makes of it."""
    text: str = page.locator(selector).text_content()
    return text


def axis(page: Any) -> list[str]:
    """The times below the timeline's upper edge."""
    found: list[str] = page.locator("#timeline .axis text").all_text_contents()
    return found


def until(page: Any, holds: Callable[[], bool]) -> None:
    """Wait until something holds; the page draws when the browser next asks for a frame."""
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        page.wait_for_timeout(20)


def test_the_head_says_what_happened(browser: Browser, failover: Recorded) -> None:
    """The first line is the result; the figures are those of the document."""
    path, document = failover
    with browser.showing(path) as page:
        assert content_of(page, "#result") == document["result"]
        assert page.title() == f"{document['stream_id']}: {document['result']}"
        accounts = document["accounts"]
        figure = '[data-figure="{}"]'
        assert text_of(page, figure.format("words")) == str(sum(accounts["words"].values()))
        assert text_of(page, figure.format("lost")) == f"{accounts['lost']:.1f} s"
        assert text_of(page, figure.format("worst")) == f"{accounts['lateness']['worst']:.1f} s"
        switches = sum(switch["count"] for switch in accounts["switches"])
        assert text_of(page, figure.format("switches")) == str(switches)


def test_the_accounts_are_those_of_the_document(browser: Browser, failover: Recorded) -> None:
    """Each number of the tables is that of the event, to the millisecond; the first adds up."""
    path, document = failover
    accounts = document["accounts"]
    with browser.showing(path) as page:
        tables = page.locator("#accounts table").all()
        rows = [
            [row.locator("td").all_text_contents() for row in table.locator("tbody tr").all()]
            for table in tables
        ]
    audio = [float(row[-1]) for row in rows[0]]
    assert audio == [
        accounts["pushed"],
        accounts["final"],
        accounts["silence"],
        accounts["lost"],
        accounts["buffered"],
    ]
    assert audio[0] == pytest.approx(sum(audio[1:]), abs=0.002)
    assert [(row[-2], float(row[-1])) for row in rows[1]] == [
        (one["role"], one["seconds"]) for one in accounts["sent"]
    ]
    assert [int(row[-1]) for row in rows[2]] == list(accounts["words"].values())
    assert [int(row[-1]) for row in rows[3]] == [one["count"] for one in accounts["switches"]]
    late = accounts["lateness"]
    assert [float(row[-1]) for row in rows[4]] == [late["p50"], late["p99"], late["worst"]]


def test_every_final_and_mark_is_listed(browser: Browser, failover: Recorded) -> None:
    """The transcript has all finals, in order; the story has all marks with their reasons."""
    path, document = failover
    with browser.showing(path) as page:
        finals = page.locator("#transcript .text").all_text_contents()
        told = page.locator("#story strong").all_text_contents()
        why = page.locator("#story .why").all_text_contents()
        drawn = page.locator("#timeline .word").count()
    assert [final.strip() for final in finals] == [final["text"] for final in document["finals"]]
    assert told == [mark["title"] for mark in document["marks"]]
    assert why == [mark["why"] for mark in document["marks"]]
    assert drawn == sum(document["accounts"]["words"].values())


def test_a_click_on_a_word_tells_about_it(browser: Browser, failover: Recorded) -> None:
    """Who gave it, when it was spoken, how late it came, and that it was replayed."""
    path, document = failover
    final = next(final for final in document["finals"] if final["replayed"])
    with browser.showing(path) as page:
        before = sum(len(f["words"]) for f in document["finals"][: document["finals"].index(final)])
        page.locator(f'#timeline [data-key="word-{before}"]').click()
        shown = text_of(page, "#detail")
        assert shown.startswith(final["words"][0]["text"])
        assert "transcribed by deepgram" in shown
        assert "the audio was buffered, and sent again" in shown
        current = page.locator("#transcript .current").all_text_contents()
        assert current == [final["words"][0]["text"]]


def test_a_click_on_a_mark_and_on_a_connection(browser: Browser, failover: Recorded) -> None:
    """A mark shows the reason and the event's fields, a connection its life."""
    path, document = failover
    marks = document["marks"]
    number = next(n for n, mark in enumerate(marks) if mark["title"].startswith("deepgram took"))
    with browser.showing(path) as page:
        page.locator(f'#story [data-key="mark-{number}"]').click()
        assert marks[number]["why"] in text_of(page, "#detail")
        page.locator("#detail summary").click()
        assert "to_provider deepgram" in text_of(page, "#detail")
        page.locator("#fit").click()
        page.locator('#timeline [data-key="connection-0"] rect.role').click()
        assert text_of(page, "#detail").startswith("Connection 0 to cartesia")
        assert "because its provider dropped the connection" in text_of(page, "#detail")


def test_keys(browser: Browser, failover: Recorded) -> None:
    """Everything can be done without a mouse."""
    path, document = failover
    with browser.showing(path) as page:
        whole = axis(page)
        page.keyboard.press("+")
        page.keyboard.press("+")
        until(page, lambda: axis(page) != whole)
        page.keyboard.press("Home")
        until(page, lambda: axis(page)[0] in ("0 s", "0.0 s"))
        page.keyboard.press("ArrowRight")
        until(page, lambda: axis(page)[0] not in ("0 s", "0.0 s"))
        page.keyboard.press("End")
        until(page, lambda: float(axis(page)[-1].split()[0]) >= float(whole[-1].split()[0]))
        page.keyboard.press("0")
        until(page, lambda: axis(page) == whole)
        page.keyboard.press("n")
        assert document["marks"][0]["why"] in text_of(page, "#detail")
        page.keyboard.press("w")
        assert content_of(page, "#detail h3") == document["finals"][0]["words"][0]["text"]
        page.locator("#timeline .connection").first.focus()
        page.keyboard.press("Enter")
        assert text_of(page, "#detail").startswith("Connection 0 to cartesia")
        assert page.evaluate("document.activeElement.dataset.key") == "connection-0"
        page.keyboard.press("Escape")
        assert "Click a word" in text_of(page, "#detail")
        page.keyboard.press("?")
        assert page.locator("#help").is_visible()
        page.keyboard.press("Escape")
        assert not page.locator("#help").is_visible()


def test_the_mouse_zooms_and_pans(browser: Browser, failover: Recorded) -> None:
    """The wheel zooms where it points; dragging moves the audio with the hand."""
    path, _ = failover
    with browser.showing(path) as page:
        whole = axis(page)
        box = page.locator("#timeline").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + 60
        page.mouse.move(x, y)
        for _ in range(8):
            page.mouse.wheel(0, -120)
        until(page, lambda: axis(page) != whole)
        page.wait_for_timeout(100)
        zoomed = axis(page)
        page.mouse.down()
        page.mouse.move(x + 150, y, steps=4)
        page.mouse.up()
        until(page, lambda: axis(page) != zoomed)
        assert axis(page) != whole


def test_search(browser: Browser, failover: Recorded) -> None:
    """It finds words across a sentence and events by their reasons; Enter goes to the next."""
    path, document = failover
    words = [word for final in document["finals"] for word in final["words"]]
    phrase = f"{words[3]['text']} {words[4]['text']}".lower()
    with browser.showing(path) as page:
        page.keyboard.press("/")
        page.keyboard.type(phrase)
        assert text_of(page, "#found") == "2 found"
        assert page.locator("#timeline .word.match").count() == 2
        page.keyboard.press("Enter")
        assert text_of(page, "#found") == "1 of 2"
        assert content_of(page, "#detail h3") == words[3]["text"]
        page.locator("#search").fill("took over")
        count = sum("took over" in mark["title"] for mark in document["marks"])
        assert text_of(page, "#found") == f"{count} found"
        page.locator("#search").fill("no such thing")
        assert text_of(page, "#found") == "0 found"


def test_print(browser: Browser, failover: Recorded) -> None:
    """A printed page has no controls, shows the whole call, and uses colors for paper."""
    path, document = failover
    with browser.showing(path, dark=True) as page:
        page.keyboard.press("+")
        page.wait_for_timeout(100)
        assert page.pdf(format="A4", landscape=True).startswith(b"%PDF")
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        page.emulate_media(media="print")
        assert axis(page)[0] == "0 s"
        assert page.locator("#timeline .word").count() == sum(
            document["accounts"]["words"].values()
        )
        for hidden in (".buttons", ".search", "#overview", "#details"):
            assert not page.locator(hidden).is_visible()
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert paper == "rgb(255, 255, 255)"


def test_light_and_dark(browser: Browser, healthy: Recorded) -> None:
    """The page follows the system, and has a switch."""
    background = "getComputedStyle(document.body).backgroundColor"
    with browser.showing(healthy[0]) as page:
        assert page.evaluate(background) == "rgb(255, 255, 255)"
        page.locator("#theme").click()
        dark = page.evaluate(background)
        assert dark != "rgb(255, 255, 255)"
    with browser.showing(healthy[0], dark=True) as page:
        assert page.evaluate(background) == dark
        page.keyboard.press("t")
        assert page.evaluate(background) == "rgb(255, 255, 255)"


CONTRASTS = (Path(__file__).parent / "contrasts.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("action", ["", "select", "search"])
def test_contrasts(browser: Browser, failover: Recorded, dark: bool, action: str) -> None:
    """Each text has 4.5 to 1 against what is behind it, and each provider's color 3 to 1."""
    with browser.showing(failover[0], dark=dark) as page:
        if action == "select":
            page.keyboard.press("n")
        if action == "search":
            page.locator("#search").fill("e")
        page.wait_for_timeout(50)
        found = page.evaluate(CONTRASTS)
        assert found["texts"] > 60
        assert found["low"] == []


def test_a_healthy_call(browser: Browser, healthy: Recorded) -> None:
    """It says so, and has no legend for what did not happen."""
    with browser.showing(healthy[0]) as page:
        assert content_of(page, "#result").startswith("cartesia transcribed the whole call")
        assert text_of(page, "#story") == "Nothing special."
        assert "hedge" not in text_of(page, "#legend")
        assert page.locator("#timeline .mark").count() == 0


def test_without_words(browser: Browser, pages: dict[str, Recorded]) -> None:
    """With `text=False`, words are boxes; a search finds events only."""
    path, document = pages["wordless"]
    with browser.showing(path) as page:
        assert "recorded without words" in text_of(page, "#about")
        page.keyboard.press("w")
        assert content_of(page, "#detail h3").startswith("(a word of ")
        page.locator("#search").fill("saturday")
        assert text_of(page, "#found") == "0 found"
        assert page.locator("#timeline .word").count() == sum(
            document["accounts"]["words"].values()
        )


def test_a_small_window(browser: Browser, failover: Recorded) -> None:
    """On a telephone nothing is wider than the window."""
    with browser.showing(failover[0], width=600) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 600


def test_a_long_call_is_small_and_fast(
    browser: Browser, failover: Recorded, tmp_path: Path
) -> None:
    """Ten minutes: below 5 MB, and below 1.5 s of the browser's main thread until it is drawn."""
    path = long_page(tmp_path, failover[1], seconds=600)
    assert path.stat().st_size < 5_000_000
    with browser.showing(path) as page:
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        page.reload()
        page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
        found = session.send("Performance.getMetrics")["metrics"]
        busy = {metric["name"]: metric["value"] for metric in found}["TaskDuration"]
        assert busy < 1.5
        assert page.locator("#timeline .narrow").count() > 0
        page.keyboard.press("End")
        for _ in range(12):
            page.keyboard.press("+")
        until(page, lambda: page.locator(".word text").count() > 3)
