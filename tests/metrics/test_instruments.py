"""Names, units and labels of what is measured follow the conventions."""

from __future__ import annotations

import re

import pytest

from resilient_stt.metrics.instruments import ALL, Instrument, Kind

LABELS = {
    "provider": "a name",
    "from_provider": "a name",
    "to_provider": "a name",
    "hedge_provider": "a name",
    "route": "a key of the configuration",
    "reason": "an enum",
    "role": "an enum",
    "state": "an enum",
    "trigger": "an enum",
    "outcome": "an enum",
}
"""What a label may be: each has few values, which the configuration or the code knows."""


def test_names_differ() -> None:
    """Each name is measured once."""
    assert len({instrument.name for instrument in ALL}) == len(ALL)


@pytest.mark.parametrize("instrument", ALL, ids=lambda i: i.name)
def test_conventions(instrument: Instrument) -> None:
    """Snake case, base units, a sentence that says what it is, and labels with few values."""
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", instrument.name)
    assert not instrument.name.endswith(("_total", "_seconds", "_count", "_sum", "_bucket"))
    assert instrument.unit in ("", "seconds")
    assert instrument.description.endswith(".")
    assert set(instrument.labels) <= set(LABELS)
    assert bool(instrument.buckets) is (instrument.kind is Kind.HISTOGRAM)
    assert sorted(set(instrument.buckets)) == list(instrument.buckets)
    assert (instrument.kind is Kind.HISTOGRAM) <= (instrument.unit == "seconds")
