from __future__ import annotations

from resilient_stt.core.stalls.noise_multiplier import NoiseMultiplier


def test_it_doubles_up_to_the_maximum() -> None:
    """Each suspicion that was noise doubles it, and words reset it to 1."""
    multiplier = NoiseMultiplier(5.0)
    values = [multiplier.value]
    for _ in range(4):
        multiplier.double()
        values.append(multiplier.value)
    assert values == [1.0, 2.0, 4.0, 5.0, 5.0]
    assert repr(multiplier) == "NoiseMultiplier(5.0)"
    multiplier.reset()
    assert multiplier.value == 1.0
