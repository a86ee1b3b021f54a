from __future__ import annotations

from typing import Any

import pytest

from resilient_stt import testing
from resilient_stt.cli.chaos.fault_kinds import FAULT_KINDS
from resilient_stt.cli.demo.scenarios import SCENARIOS
from resilient_stt.cli.fault_names import FAULT_CLASSES, fault_name, parse_fault_name
from resilient_stt.testing.faults import Fault

COMPOSED = {"none", "down", "both", "outage"}
"""Scenarios of the demo that are not one fault."""


def test_the_kit_s_faults_have_names() -> None:
    """Every class that the kit exports and that can happen, and no other."""
    exported = [vars(testing)[name] for name in testing.__all__]
    faults = {k for k in exported if isinstance(k, type) and issubclass(k, Fault)}
    assert set(FAULT_CLASSES.values()) == faults - {Fault}


@pytest.mark.parametrize("name", sorted(set(SCENARIOS) - COMPOSED))
def test_the_demo_s_faults_are_those_of_chaos(name: str) -> None:
    """The same name means the same kind of fault in both, and `serve` takes it."""
    scenario = SCENARIOS[name]
    assert [fault_name(fault) for fault in scenario.cartesia] == [name]
    assert scenario.deepgram == ()
    kind = FAULT_KINDS[name].faulty
    assert (type(kind), fault_name(kind)) == (type(scenario.cartesia[0]), name)


@pytest.mark.parametrize("name", FAULT_KINDS)
def test_a_name_leads_to_its_fault(name: str) -> None:
    """What `serve` makes of a name of `chaos` has that name."""
    parsed = parse_fault_name(name)
    assert parsed is not None
    kind, fields = parsed
    needed: dict[str, Any] = {"seconds": 3.0} if kind is testing.Latency else {}
    assert fault_name(kind(**fields, **needed)) == name


@pytest.mark.parametrize("name", ["", "stal", "stall-3", "garbage-noise", "status-", "fault"])
def test_other_names_lead_nowhere(name: str) -> None:
    """Also those of base classes, and of values that a fault does not have."""
    assert parse_fault_name(name) is None
