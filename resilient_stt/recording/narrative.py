"""Tells what happened in a stream to somebody who does not know the code.

The input are lines of kind `event`: the names and fields of `core/events.py`, as JSON has them. So
a recording of an older version can still be told; a value that is not known is told as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ..core.events import CloseReason, HedgeOutcome, LanguageReason, Role, SwitchReason
from ..plain_words import DETAILS, FAILURES, LOSSES, STALLS
from .document import Accounts, Mark, Severity

Fields = Mapping[str, Any]

_FAILURES = {kind.value: words for kind, words in FAILURES.items()} | {
    "stalled": "stopped giving text",
    "connect": "could not be reached",
    "quota": "had no credits left",
}
_STALLS = {kind.value: words for kind, words in STALLS.items()}
_LOSSES = {kind.value: words for kind, words in LOSSES.items()}

_SWITCHES = {
    SwitchReason.FAILBACK.value: "{to} is preferred and works again, and the caller had paused",
    SwitchReason.SLOW.value: "transcripts of {from} came too late",
    SwitchReason.LOCKED.value: "an operator locked {from}, and the caller had paused",
    SwitchReason.OPTIONS_CHANGED.value: "the application changed the options of {from}",
    SwitchReason.LANGUAGE.value: "another language is spoken, which {to} transcribes",
}

_CLOSED = {
    CloseReason.IDLE.value: "its provider closed it when nothing was to be transcribed",
    CloseReason.REFUSED.value: "its provider allows no second connection yet",
    CloseReason.RENEWED.value: "it was opened anew, because its plugin was about to reconnect",
    CloseReason.NOT_NEEDED.value: "it was not needed any more",
    CloseReason.STREAM_ENDED.value: "the stream ended",
    SwitchReason.FAILBACK.value: "a preferred provider works again",
    SwitchReason.SLOW.value: "its transcripts came too late",
    SwitchReason.LOCKED.value: "an operator locked its provider",
    SwitchReason.OPTIONS_CHANGED.value: "the application changed the provider's options",
    SwitchReason.LANGUAGE.value: "another language is spoken",
}

_LANGUAGES = {
    LanguageReason.REQUESTED.value: "the application said so",
    LanguageReason.CONSECUTIVE_FINALS.value: "several transcripts in a row were in it",
    LanguageReason.LONG_FINAL.value: "a long transcript was in it",
}

_BREAKERS = {
    "closed": (
        "good",
        "{p} gets calls again",
        "It has shown that it works, so its circuit breaker has closed.",
    ),
    "open": (
        "bad",
        "{p} is avoided for now",
        "It failed too often, so its circuit breaker opened: calls go to other providers until a "
        "test shows that it works again.",
    ),
    "half_open": (
        "info",
        "{p} may be tested",
        "It was avoided for a while. Now a test in the background may show whether it works again.",
    ),
    "locked": (
        "bad",
        "{p} is locked out",
        "Its key or account was refused. It is left alone for a while, and then tested: only the "
        "owner of the account can mend it sooner.",
    ),
}
_LOCKED_BY_OPERATOR = (
    "info",
    "{p} is locked by an operator",
    "Somebody has locked it on purpose, such as for its maintenance. It is left alone until that "
    "is over.",
)

_ROLES = {
    Role.ACTIVE.value: "it served the stream",
    Role.HEDGE.value: "it checked another connection",
    Role.RECONNECT.value: "it was an attempt to come back",
    Role.PROBE.value: "it tested whether the provider works again",
}

_ONE_STORY = 5.0
"""Seconds between a reconnect and the switch to another provider after
which one did not lead to the other."""


class Told(NamedTuple):
    """An event in words."""

    severity: Severity
    title: str
    why: str
    provider: str = ""


def seconds(value: float) -> str:
    """Write a duration: `0.25 s`, `3.1 s`, `2 min 5 s`."""
    if value < 1:
        return f"{value:.2f} s"
    if value < 120:
        return f"{value:.1f} s"
    whole = round(value)
    return f"{whole // 60} min {whole % 60} s"


def closing(reason: str, trigger: str = "") -> str:
    """Say why a connection was closed."""
    if reason in _FAILURES:
        stall = f": {_STALLS[trigger]}" if trigger in _STALLS else ""
        return f"its provider {_FAILURES[reason]}{stall}"
    return _CLOSED.get(reason, reason.replace("_", " "))


def purpose(role: str) -> str:
    """Say what a connection was for."""
    return _ROLES.get(role, role)


def cause(fields: Fields) -> str:
    """Say why a stream switched, as the clause behind "because"."""
    reason = str(fields["reason"])
    names = {"from": fields["from_provider"], "to": fields["to_provider"]}
    if reason in _SWITCHES:
        return _SWITCHES[reason].format_map(names)
    who = "it" if names["from"] == names["to"] else names["from"]
    return f"{who} {_FAILURES.get(reason, reason)}"


def _switched(e: Fields) -> Told:
    old, new, reason = e["from_provider"], e["to_provider"], e["reason"]
    again = max(0.0, float(e["event_at"]) - float(e["replay_from"]))
    sent = (
        f"{new} has transcribed them already"
        if e.get("was_hedge")
        else f"they are sent again, to {new}"
    )
    replay = (
        f" The last {seconds(again)} of audio had no final transcript yet, but {sent}: nothing "
        "said in between is missing."
        if again >= 0.05
        else ""
    )
    if old == new:
        return Told("doubt", f"{new} was reconnected", f"Because {cause(e)}.{replay}", new)
    if reason == SwitchReason.FAILBACK:
        return Told("good", f"{new} serves again", f"Because {cause(e)}.{replay}", new)
    return Told("bad", f"{new} took over from {old}", f"Because {cause(e)}.{replay}", new)


def _replayed(e: Fields) -> Told:
    trimmed = float(e["silence_trimmed"])
    took = f"in {seconds(e['duration'])}" if e["duration"] >= 0.05 else "at once"
    left_out = f" {seconds(trimmed)} of silence in it were left out." if trimmed >= 0.05 else ""
    why = (
        f"It was sent {seconds(e['seconds'])} of buffered audio {took}, and its text is up to "
        f"date.{left_out}"
    )
    return Told("good", f"{e['provider']} has caught up", why, e["provider"])


def _lost(e: Fields) -> Told:
    why = _LOSSES.get(e["reason"], e["reason"])
    return Told("bad", f"{seconds(e['seconds'])} of speech were lost", f"Because {why}.")


def _failed(e: Fields) -> Told:
    name, detail = e["provider"], DETAILS.get(e["detail"], e["detail"])
    what = _STALLS.get(e["trigger"] or "", detail)
    known = f" What was noticed: {what}." if what else ""
    advice = f" What to do: {e['advice']}." if e["advice"] else ""
    title = f"{name} {_FAILURES.get(e['reason'], e['reason'])}"
    return Told("bad", title, f"A connection to {name} failed.{known}{advice}", name)


def _hedge(e: Fields) -> Told:
    name, hedge = e["provider"], e["hedge_provider"]
    asked = f"a second connection to {hedge}" if hedge == name else hedge
    missing = _STALLS.get(e["trigger"] or "", "it gave no text in time")
    sent = f"{asked} was sent the same {seconds(e['seconds'])} of audio to check it"
    match e["outcome"]:
        case HedgeOutcome.PROMOTED:
            why = f"{name} was silent ({missing}), and {sent}. It had words, so it takes over."
            return Told("bad", f"{hedge} heard what {name} did not", why, hedge)
        case HedgeOutcome.PRIMARY_RECOVERED:
            why = f"{name} was silent, and {sent}. Then {name} answered, so it stays."
            return Told("good", f"{name} was slow, but answered", why, name)
    why = f"{name} was silent ({missing}), and {sent}. It found no words either: it was noise."
    return Told("good", f"{name} was right: nobody spoke", why, name)


def _language(e: Fields) -> Told:
    new = e["language"] or "unknown"
    why = _LANGUAGES.get(e["reason"], e["reason"])
    names = ", ".join(e["providers"])
    title = f"The language is now {new}"
    return Told("info", title, f"Because {why}. It is served by {names}, in this order.")


def _suspected(e: Fields) -> Told:
    missing = _STALLS.get(e["trigger"], e["trigger"])
    why = (
        f"Somebody speaks, but a transcript is missing: {missing}. The connection is still open. "
        "Another one is asked before it is left."
    )
    return Told("doubt", f"{e['provider']} may have stalled", why, e["provider"])


def _cleared(e: Fields) -> Told:
    why = f"The doubt lasted {seconds(e['duration'])}. It serves on."
    return Told("good", f"{e['provider']} works after all", why, e["provider"])


def _probe_failed(e: Fields) -> Told:
    after = "at once" if e["duration"] < 0.1 else f"after {seconds(e['duration'])}"
    why = f"A test in the background showed {after} that it still fails."
    failure = _FAILURES.get(e["reason"], e["reason"])
    return Told("info", f"{e['provider']} {failure} in a test", why, e["provider"])


def _probe_passed(e: Fields) -> Told:
    why = f"A test in the background gave words after {seconds(e['duration'])}."
    return Told("good", f"{e['provider']} passed a test", why, e["provider"])


def _breaker(e: Fields) -> Told:
    told = _BREAKERS.get(e["state"], ("info", "{p}: " + e["state"], ""))
    severity, title, why = _LOCKED_BY_OPERATOR if e.get("by_operator") else told
    return Told(severity, title.format(p=e["provider"]), why, e["provider"])


def _outage_started(e: Fields) -> Told:
    why = (
        "All have failed, or none gives words although somebody speaks. The audio is buffered, and "
        "every provider is tried again and again."
    )
    return Told("bad", "No provider works", why)


def _outage_ended(e: Fields) -> Told:
    name = e["provider"]
    why = f"The outage of all providers lasted {seconds(e['duration'])}. {name} goes on."
    return Told("good", f"{name} works again", why, name)


def _recovered(e: Fields) -> Told:
    name = e["provider"]
    return Told("good", f"{name} has recovered", "Tests in the background gave words again.", name)


_TELLERS: dict[str, Callable[[Fields], Told]] = {
    "switched": _switched,
    "replayed": _replayed,
    "audio_lost": _lost,
    "provider_failed": _failed,
    "outage_started": _outage_started,
    "outage_ended": _outage_ended,
    "hedge_finished": _hedge,
    "provider_recovered": _recovered,
    "language_routed": _language,
    "stall_suspected": _suspected,
    "stall_cleared": _cleared,
    "probe_passed": _probe_passed,
    "probe_failed": _probe_failed,
    "breaker_changed": _breaker,
}
"""The events that are marks. The others are shown as connections, words and accounts."""


def mark(line: Fields, at: float) -> Mark | None:
    """Return the mark of an event; `None` if it is shown in another way."""
    name = str(line["name"])
    if name not in _TELLERS:
        return None
    told = _TELLERS[name](line)
    hidden = ("kind", "name", "clock", "stream_id", "at", "event_at", "was_hedge")
    fields = {key: value for key, value in line.items() if key not in hidden}
    return Mark(
        at=at,
        kind=name,
        severity=told.severity,
        provider=told.provider,
        title=told.title,
        why=told.why,
        event=fields,
    )


def result(
    outcome: str, marks: Sequence[Mark], serving: str, accounts: Accounts, end: float
) -> str:
    """Say in one sentence what became of a stream; `serving`: who served first."""
    clauses = [_story(marks, serving)]
    if accounts.get("taken_over"):
        taken = seconds(accounts["taken_over"])
        clauses.append(f"it went on with {taken} of audio of a stream that had given up")
    if outcome == "gave_up":
        left = seconds(accounts.get("buffered", 0.0))
        clauses.append(f"the stream gave up at {seconds(end)}, with {left} of audio for a next one")
    if outcome == "crashed":
        clauses.append(f"the recording stops at {seconds(end)}, with the process")
    lost = accounts["lost"]
    clauses.append(f"{seconds(lost)} of speech were lost" if lost else "no speech was lost")
    return "; ".join(clauses) + "."


def _story(marks: Sequence[Mark], serving: str) -> str:
    switches = [m for m in marks if m["kind"] == "switched"]
    takeovers = [m for m in switches if m["event"]["from_provider"] != m["event"]["to_provider"]]
    if any(m["kind"] == "outage_started" for m in marks):
        return _outages(marks)
    if takeovers:
        first, later = takeovers[0], takeovers[1:]
        before = switches[: switches.index(first)]
        return f"{_takeover(first, before)}{_later(later)}"
    if switches:
        first = switches[0]
        again = f", and {_times(len(switches) - 1, 'time', 'times')} more" * (len(switches) > 1)
        name = first["event"]["to_provider"]
        why = cause(first["event"])
        return f"{name} was reconnected at {seconds(first['at'])} because {why}{again}"
    doubts = sum(m["severity"] in ("doubt", "bad") for m in marks)
    if not serving:
        return "Nothing was transcribed"
    if doubts:
        incidents = _times(doubts, "incident", "incidents")
        return f"{serving} transcribed the whole call, with {incidents}"
    return f"{serving} transcribed the whole call, and nothing went wrong"


def _takeover(switch: Mark, before: Sequence[Mark]) -> str:
    """Say who took over and why; `before`: attempts to reconnect, which came to nothing."""
    fields = switch["event"]
    why = cause(fields)
    if before and switch["at"] - before[-1]["at"] < _ONE_STORY:
        root = _FAILURES.get(before[-1]["event"]["reason"], before[-1]["event"]["reason"])
        failed = _FAILURES.get(fields["reason"], fields["reason"])
        if failed != root:
            why = f"{fields['from_provider']} {root}, and then {failed}"
    return f"{fields['to_provider']} took over at {seconds(switch['at'])} because {why}"


def _later(switches: Sequence[Mark]) -> str:
    if not switches:
        return ""
    last = switches[-1]
    if len(switches) == 1 and last["event"]["reason"] == SwitchReason.FAILBACK:
        return f"; {last['event']['to_provider']} serves again since {seconds(last['at'])}"
    return f"; {_times(len(switches), 'more switch', 'more switches')} followed"


def _outages(marks: Sequence[Mark]) -> str:
    begun = [m for m in marks if m["kind"] == "outage_started"]
    ended = [m for m in marks if m["kind"] == "outage_ended"]
    failed: dict[str, str] = {}
    for failure in marks:
        if failure["kind"] == "provider_failed" and failure["at"] <= begun[0]["at"]:
            reason = failure["event"]["reason"]
            failed[failure["provider"]] = _FAILURES.get(reason, reason)
    alike: dict[str, list[str]] = {}
    for name, words in failed.items():
        alike.setdefault(words, []).append(name)
    reasons = ", and ".join(f"{' and '.join(names)} {words}" for words, names in alike.items())
    until = f" to {seconds(ended[0]['at'])}" if ended else " on"
    more = f"; {_times(len(begun) - 1, 'more outage', 'more outages')} followed"
    because = f" because {reasons}" if reasons else ""
    return (
        f"No provider worked from {seconds(begun[0]['at'])}{until}{because}"
        f"{more if len(begun) > 1 else ''}"
    )


def _times(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
