"""What a debugger and a failing assertion show: positions and counts, never text."""

from __future__ import annotations

import re

from ..support.connections import a_connection, ledger_of
from ..support.promises import TWO
from ..support.simulator import Recognizer, Simulation


def test_parts_of_the_engine_show_their_state_and_no_text() -> None:
    """Each object that a stream consists of names itself, and keeps the transcript to itself."""
    sim = Simulation(TWO, [Recognizer("a"), Recognizer("b")]).run(within=2)
    engine = sim.engine
    connection = a_connection(ledger_of(1.0))
    shown = {
        "Outbox(": repr(engine._outbox),
        "Committer(watermark=": repr(engine._committer),
        "HedgeOpener(last_chances=": repr(engine._hedging._opener),
        "AudioSender(cursor=": repr(connection.sender),
        "EventInterpreter(ProviderClock(last_final_end=": repr(connection.interpreter),
        "FailoverEngine(": repr(engine),
    }
    for start, text in shown.items():
        assert text.startswith(start)
        assert not {word.text for word in TWO} & {*re.findall(r"\w+", text)}
