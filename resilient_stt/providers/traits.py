"""What is known of providers' models that LiveKit's capabilities do not tell.

Seen in a capture or a production report, or read in the vendor's documentation in November 2026;
where sources disagree, the one that promises less. What is not in the table is unknown, and is
believed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from livekit.agents import LanguageCode, stt

from ..core.policy import Pace, ProviderTraits
from ..core.routing.language import shortened
from ..livekit.compat import manual_flush, options_of
from .defaults import DEFAULTS, plugin_of

# Cartesia drains bursts at about 1.5 times real time, Deepgram processes at about 1.25 times (seen
# in production): more only queues there, so the rates stay low. The bursts are what the delay after
# a drop hangs on: a drop near the end of a sentence of 5 s, replayed with 2 s at once and then at
# 1.5x, comes (5 + 0.5 - 2) / 1.5 - 0.5 = 1.8 s later than without the drop. 8 s hold any sentence
# said in one breath.
_CARTESIA_PACE = Pace(burst=8.0, rate=1.5)
_DEEPGRAM_PACE = Pace(burst=8.0, rate=2.0)

_TURN_AFTER = 6.0
"""Seconds that a recogniser which finds the ends of turns itself may keep a told turn open: ink-2's
`turn_end_timeout_ms` is 5600 by default. Of others we do not know better."""

_BATCH_ONLY = {("deepgram", "STT"): ("detect_language",)}
"""By class of a plugin: its stream() raises (1.8.9)."""

MULTI = "multi"
"""The `language` with which Deepgram's models tell several languages apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What is known of a family of models of a class of a plugin."""

    plugin: str
    family: str = ""
    """The model that gives its name to others like it; empty for all others of the class."""
    variants: str = r"(-general)?(-[0-9]{4}.*)?"
    """What may follow the name, as a regular expression: a snapshot, `-2025-06-04`."""
    kind: str = "STT"
    languages: frozenset[str] | None = None
    """Those it is told to hear; None where they are unknown."""
    multi: frozenset[str] = frozenset()
    """Those it tells apart with `language: multi`."""
    pace: Pace
    manual_flush: bool
    slow_endpointing: bool = False
    final_timeout: float
    end_of_turn_timeout: float = 0.0


def _tags(text: str) -> frozenset[str]:
    return frozenset(text.split())


_WHISPER = _tags(  # docs.cartesia.ai, its languages of ink-whisper
    "en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th "
    "ur hr bg lt la mi ml cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr "
    "pa si km sn yo so af oc ka be tg sd gu am yi lo uz fo ht ps tk nn mt sa lb my bo tl mg as tt "
    "haw ln ha ba jw su yue"
)
_NOVA_3 = _tags(  # developers.deepgram.com, models and languages; regions of them, too
    "en es fr de nl it pt sv da no fi id tr pl ru uk bg cs hu hi ja ko vi ca et el lv lt ms ro sk "
    "be bn bs hr kn mk mr sr sl ta te tl he fa ur th gu zh"
)
_NOVA_2 = _tags(
    "bg ca zh cs da nl en et fi fr de el hi hu id it ja ko lv lt ms no pl pt ro ru sk es sv th tr "
    "uk vi"
)

TABLE = (
    Model(
        plugin="cartesia",
        family="ink-whisper",
        variants=".*",  # so the plugin tells it, too
        languages=_WHISPER,
        pace=_CARTESIA_PACE,
        manual_flush=True,
        slow_endpointing=True,
        final_timeout=1.6,
    ),
    Model(
        plugin="cartesia",
        family="ink-2",
        # a newer page says en fr hi ja es, too; the plugin (1.8.9) sends none, and warns
        languages=_tags("en"),
        pace=_CARTESIA_PACE,
        manual_flush=False,
        final_timeout=1.6,
        end_of_turn_timeout=_TURN_AFTER,
    ),
    Model(
        plugin="cartesia",
        pace=_CARTESIA_PACE,
        manual_flush=False,
        final_timeout=1.6,
        end_of_turn_timeout=_TURN_AFTER,
    ),
    Model(
        plugin="deepgram",
        family="nova-3",
        languages=_NOVA_3,
        multi=_tags("en es fr de hi ru pt ja it nl"),
        pace=_DEEPGRAM_PACE,
        manual_flush=True,
        final_timeout=1.2,
    ),
    Model(
        plugin="deepgram",
        family="nova-2",
        languages=_NOVA_2,
        multi=_tags("es en"),
        pace=_DEEPGRAM_PACE,
        manual_flush=True,
        final_timeout=1.2,
    ),
    Model(plugin="deepgram", pace=_DEEPGRAM_PACE, manual_flush=True, final_timeout=1.2),
)
"""Of several that fit, the first."""


def model_of(plugin: str, kind: str, model: str) -> Model | None:
    """The entry of the table for a model; None if nothing is known of the class."""
    fit = (m for m in TABLE if (m.plugin, m.kind) == (plugin, kind))
    return next((m for m in fit if not m.family or _is_of(m, model)), None)


def _is_of(entry: Model, model: str) -> bool:
    return re.fullmatch(re.escape(entry.family) + entry.variants, model) is not None


def traits_of(
    name: str, provider: stt.STT[Any], given: Mapping[str, Any] | None = None
) -> ProviderTraits:
    """What the decisions know of a provider.

    Args:
        name: what it is called.
        provider: whose plugin and model are looked up, and whose capabilities are believed.
        given: fields that the user knows better; of `pace` also one alone.
    """
    plugin = plugin_of(provider)
    known = model_of(plugin, type(provider).__name__, provider.model)
    interims = provider.capabilities.interim_results
    traits = ProviderTraits(
        name=name,
        interim_results=interims,
        language_detection=_detects_language(provider),
        key_variable=key_variable(plugin),
        **(_known_traits(known) if known else _default_traits(provider)),
    )
    own = dict(given or {})
    if "pace" in own:
        own["pace"] = replace(traits.pace, **own["pace"])
    return replace(traits, **own)


def _detects_language(provider: stt.STT[Any]) -> bool:
    """Whether it was made to find languages out, which LiveKit's interface does not tell: so look
    at where Deepgram's plugin (1.8.9) keeps it."""
    return str(getattr(options_of(provider), "language", None) or "").lower() == MULTI


def _known_traits(known: Model) -> dict[str, Any]:
    return {
        "pace": known.pace,
        "manual_flush": known.manual_flush,
        "slow_endpointing": known.slow_endpointing,
        "final_timeout": known.final_timeout,
        "end_of_turn_timeout": known.end_of_turn_timeout,
    }


def _default_traits(provider: stt.STT[Any]) -> dict[str, Any]:
    """Of an unknown class: nothing is flushed unasked, and it is given time."""
    able = provider.capabilities
    turn_after = _TURN_AFTER if able.interim_results else 0.0
    return {
        "manual_flush": manual_flush(provider),
        "final_timeout": 2.5,
        "end_of_turn_timeout": turn_after,
    }


def key_variable(plugin: str) -> str:
    """The environment variable that holds a plugin's key by convention; empty if unknown."""
    return next((d.variable for d in DEFAULTS if d.name == plugin), "")


# -- languages


@dataclass(frozen=True, slots=True)
class LanguageSupport:
    """What a configured provider can be sent, as far as it is known."""

    model: str
    """The model, as given or as the plugin picks it; empty if unknown."""
    languages: frozenset[str] | None
    language_detection: bool | None
    """Whether it finds the language out by itself."""

    def supports(self, tag: str) -> bool:
        """Whether a language may be sent: it or one that it is a kind of (RFC 4647, lookup), or
        nothing is known."""
        return self.languages is None or supports(self.languages, tag)


def language_support(
    plugin: str, kind: str, options: Mapping[str, Any], default: str
) -> LanguageSupport:
    """What a provider will hear with these options; `default` is its constructor's model."""
    language = str(options.get("language") or "")
    model = str(options.get("model") or default)
    if plugin == "cartesia" and not model:
        # as the plugin (1.8.9) picks it
        english = not language or LanguageCode(language).language == "en"
        model = "ink-2" if english else "ink-whisper"
    known = model_of(plugin, kind, model)
    if known is None:
        return LanguageSupport(model, None, None)
    is_multi = language.lower() == MULTI
    if known.languages is None:
        return LanguageSupport(model, None, is_multi)
    detects = is_multi and bool(known.multi)
    return LanguageSupport(model, known.multi if detects else known.languages, detects)


def batch_only(plugin: str, kind: str, options: Mapping[str, Any]) -> list[str]:
    """Which of the options that are set let a class recognise buffers, and never stream."""
    return [o for o in _BATCH_ONLY.get((plugin, kind), ()) if options.get(o)]


def supports(languages: Collection[str], tag: str) -> bool:
    """Whether a list of languages has a tag or, by RFC 4647 lookup, one that it is a kind of."""
    known = {language.lower() for language in languages}
    return any(shorter in known for shorter in shortened(tag))


def models_supporting(plugin: str, kind: str, tag: str) -> list[str]:
    """Models of the same class that are known to speak a language."""
    of = [m for m in TABLE if (m.plugin, m.kind) == (plugin, kind) and m.languages]
    return [m.family for m in of if supports(m.languages or (), tag)]
