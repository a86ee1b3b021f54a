"""The page about the providers that have a fake: what is known of each, and its matrix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from livekit.agents import stt
from livekit.agents.utils import http_context

from ...core.policy import ProviderTraits
from ...providers.keys import key_variable
from ...providers.model_strings import INFERENCE
from ...providers.traits import traits_of
from ...testing.fakes.registry import FAKES
from ...testing.harness.clock import run_virtual
from ..chaos import results
from ..chaos.fault_rows import NONE, OUTAGE
from ..chaos.results import LATE
from .cells import Cell, ProviderCells, ProviderPlace

_PLACES = {
    ProviderPlace.PRIMARY: "it fails as the primary provider",
    ProviderPlace.TAKES_OVER: "it takes over as the fallback",
    ProviderPlace.FALLBACK: "it fails as the fallback",
    ProviderPlace.ALONE: "it is alone",
}
_TITLES = {
    ProviderPlace.PRIMARY: "Fails as primary",
    ProviderPlace.TAKES_OVER: "Takes over",
    ProviderPlace.FALLBACK: "Fails as fallback",
    ProviderPlace.ALONE: "Alone",
}


@dataclass(frozen=True, slots=True)
class _Facts:
    """What a plugin says of itself, with the options of its fake, and what is known of it."""

    model: str
    capabilities: stt.STTCapabilities
    traits: ProviderTraits


def markdown_page(found: Sequence[ProviderCells], moments: int) -> str:
    """Return the page: how to read it, a summary, and a section for each provider."""
    facts = run_virtual(_facts([provider.name for provider in found]))
    lines = [*_legend(moments), "", *_summary(found)]
    for provider in found:
        lines += ["", f"## {provider.name}", "", *_about(provider, facts[provider.name])]
        lines += ["", *_table(provider)]
        lines += _broken(provider)
    return "\n".join(lines)


async def _facts(names: Sequence[str]) -> dict[str, _Facts]:
    found = {}
    for name in names:
        async with http_context.open(), FAKES[name]() as server:
            plugin = server.stt()
            found[name] = _Facts(plugin.model, plugin.capabilities, traits_of(name, plugin))
            await plugin.aclose()
    return found


def _legend(moments: int) -> Iterator[str]:
    each = "at one word" if moments == 1 else f"at each of {moments} words"
    yield (
        f"Each fault begins {each} of 10 s of speech. The published plugins connect to the fake "
        "servers of `resilient_stt.testing`, in virtual time: the load of the machine has no part "
        "in the figures. A cell has two times. The first is from the fault (or from its end, if it "
        "ends) to the next transcript, interim or final; `-` if none was due. The second is how "
        "much later than without a fault the latest final came. **Bold** is a broken promise: "
        f"words that were lost, repeated, torn or more than {LATE:.0f} s late, a healthy provider "
        "that was left. *None made*: a sole provider takes audio and says nothing for "
        f"{OUTAGE:.0f} s, which cannot be told from noise."
    )


def _summary(found: Sequence[ProviderCells]) -> Iterator[str]:
    titles = [_TITLES[place] for place in ProviderPlace]
    yield f"| Provider | Beside | {' | '.join(titles)} | Finals later than the bare plugin's |"
    yield f"|---|---|{'--:|' * (len(titles) + 1)}"
    for provider in found:
        kept = " | ".join(_kept(provider, place) for place in ProviderPlace)
        later = "" if provider.later is None else f"{provider.later:.1f} s"
        link = f"[{provider.name}](#{provider.name})"
        yield f"| {link} | {provider.partner} | {kept} | {later} |"
    yield ""
    yield "The numbers are faults on which every promise was kept."


def _kept(provider: ProviderCells, place: ProviderPlace) -> str:
    there = [c.result for c in provider.cells if c.place is place and c.result.row.fault != NONE]
    promised = [result for result in there if result.promised]
    kept = sum(not result.broken for result in promised)
    text = f"{kept} of {len(promised)}"
    return text if kept == len(promised) else f"**{text}**"


def _about(provider: ProviderCells, facts: _Facts) -> Iterator[str]:
    fake, traits = FAKES[provider.name], facts.traits
    inference = fake.plugin == INFERENCE
    package = "livekit-agents" if inference else f"livekit-plugins-{fake.plugin}"
    where = "livekit.agents" if inference else "livekit.plugins"
    variable = key_variable(fake.plugin).replace(" and ", "` and `")
    yield (
        f"`{where}.{fake.plugin}.{fake.plugin_class}` of the package `{package}`, model "
        f"`{facts.model}`. Its key is in `{variable}`. {_abilities(facts.capabilities)}"
    )
    yield ""
    yield (
        f"Traits: {_interims(traits)} A final is due {traits.final_timeout:g} s after speech"
        + (
            f", or up to {traits.end_of_turn_timeout:g} s where it waits for the end of a turn"
            if traits.end_of_turn_timeout
            else ""
        )
        + f". {_flush(traits)} {_end(traits)}A replay sends {traits.pace.burst:g} s at once, then "
        f"{traits.pace.rate:g} times real time."
    )


def _abilities(able: stt.STTCapabilities) -> str:
    timed = able.aligned_transcript == "word"
    times = "Its finals have times of words" if timed else "No times of words"
    batch = "`recognize()` works" if able.offline_recognize else "it cannot `recognize()` a buffer"
    return f"{times}; {batch}."


def _interims(traits: ProviderTraits) -> str:
    if traits.interim_interval:
        return f"It gives an interim transcript every {traits.interim_interval:g} s."
    if traits.interim_results:
        return "It gives interim transcripts."
    return "Interim transcripts are not expected of it."


def _flush(traits: ProviderTraits) -> str:
    if not traits.manual_flush:
        return "It is not flushed."
    if traits.slow_endpointing:
        return "It is flushed at pauses."
    return "It answers a flush."


def _end(traits: ProviderTraits) -> str:
    if traits.finalizes_at_end:
        return ""
    return "At the end of the input only silence makes its last words final. "


def _table(provider: ProviderCells) -> Iterator[str]:
    yield f"| Fault | {' | '.join(_TITLES[place] for place in ProviderPlace)} |"
    yield f"|---|{'---|' * len(ProviderPlace)}"
    for fault in dict.fromkeys(cell.result.row.fault for cell in provider.cells):
        if fault != NONE:
            cells = " | ".join(_cell(provider.cell(fault, place)) for place in ProviderPlace)
            yield f"| `{fault}` | {cells} |"


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return ""
    result = cell.result
    after = "-" if result.text_after is None else f"{result.text_after:.1f} s"
    times = f"{after}, +{result.extra_delay:.1f} s"
    if not result.promised:
        return f"*none made*, {times}"
    return f"**{results.listed(result.violations)}**, {times}" if result.broken else times


def _broken(provider: ProviderCells) -> Iterator[str]:
    if provider.bare.violations:
        yield ""
        yield f"The bare plugin, without any fault: {results.listed(provider.bare.violations)}."
    excused = (c for c in provider.cells if c.result.broken)
    reasons = {c.result.row.fault: reason for c in excused if (reason := provider.excuse(c))}
    for fault, reason in reasons.items():
        yield ""
        yield f"`{fault}` cannot be noticed in time: {reason}."
    healthy = [c for c in provider.broken if c.result.row.fault == NONE]
    for cell in healthy:
        yield ""
        what = results.listed(cell.result.violations)
        yield f"**Without any fault, where {_PLACES[cell.place]}: {what}.**"
