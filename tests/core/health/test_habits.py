from __future__ import annotations

from resilient_stt.core.health.habits import MAX_WAITS, ProviderHabits
from resilient_stt.core.policy import WatchdogPolicy

POLICY = WatchdogPolicy()


def test_interims_are_believed_once_they_followed_each_other_in_speech() -> None:
    """Neither finals nor the first interim of a speech show anything, however many there are."""
    habits = ProviderHabits()
    for _ in range(3 * MAX_WAITS):
        habits.text_came(0.5, in_speech=False)
    assert habits.interim_timeout(POLICY) is None
    for shown in (1.0, 2.0):
        assert habits.interim_timeout(POLICY) is None
        habits.text_came(shown, in_speech=True)
    assert habits.interim_timeout(POLICY) == POLICY.interim_wait_factor * 2.0
    assert repr(habits) == "ProviderHabits(shown=3.0, longest=2.0)"


def test_a_provider_that_gives_interims_seldom_has_more_time() -> None:
    """AssemblyAI's Universal-3 gives one after 0.75 s, then every 3 s. A wait is forgotten."""
    habits = ProviderHabits()
    for wait in (0.75, 3.0, 3.0):
        habits.text_came(wait, in_speech=wait > 1)
    assert habits.interim_timeout(POLICY) == 1.5 * 3.0
    for _ in range(MAX_WAITS):
        habits.text_came(1.0, in_speech=True)
    assert habits.interim_timeout(POLICY) == POLICY.no_interim_timeout


def test_without_a_proof() -> None:
    assert ProviderHabits().interim_timeout(WatchdogPolicy(min_interims_shown=0)) == 2.5


def test_who_has_ended_a_stream_ends_all() -> None:
    """One that was given up may have hung."""
    habits, seen = ProviderHabits(), []
    for note in (habits.stream_stayed_open, habits.stream_ended, habits.stream_stayed_open):
        note()
        seen.append(habits.never_ends)
    assert seen == [True, False, False]
    assert not ProviderHabits().never_ends
