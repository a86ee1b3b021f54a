"""What LiveKit's capabilities do not say about the models of providers.

Each entry comes from a capture, a production report or the vendor's documentation of November 2026.
Where sources disagree, the one that promises less counts. Models that are not in the table are
unknown; for them, the user and LiveKit's capabilities are believed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from livekit.agents import LanguageCode, stt

from ..core.policy import Pace, ProviderTraits
from ..core.routing.language import shortened
from ..livekit.compat import kept, manual_flush
from .defaults import LOCAL, plugin_of
from .keys import key_variable
from .model_strings import INFERENCE

# Cartesia processes a burst at about 1.5 times real time, Deepgram at about 1.25 times (seen in
# production): a higher rate would only queue there. The burst determines the delay after a drop:
# if a connection drops near the end of a sentence of 5 s and the replay sends 2 s at once and the
# rest at 1.5x, its final comes (5 + 0.5 - 2) / 1.5 - 0.5 = 1.8 s later than without the drop. 8 s
# contain any sentence spoken in one breath.
_CARTESIA_PACE = Pace(burst=8.0, rate=1.5)
_DEEPGRAM_PACE = Pace(burst=8.0, rate=2.0)

_END_OF_TURN_TIMEOUT = 6.0
"""Seconds for which a recognizer that detects ends of turns may keep a turn open after its words
were transcribed: ink-2's `turn_end_timeout_ms` is 5600 by default. Unknown ones get the same."""

_UNKNOWN_PACE = Pace()
_UNKNOWN_FINAL_TIMEOUT = 2.5
"""Seconds, for a class of which nothing is known."""

_BATCH_ONLY = {("deepgram", "STT"): ("detect_language",)}
"""Options, by class of a plugin, with which its `stream()` raises (1.8.9)."""

MULTI = "multi"
"""The `language` with which Deepgram's models detect the language themselves."""

_ANY_LANGUAGE = frozenset({MULTI, "auto", "unknown"})
"""Values of `language` with which models detect it: Deepgram's, smallest.ai's, Sarvam's (1.8.9)."""
_LANGUAGES = ("language", "languages", "language_codes")
"""Options that take several languages, to detect which one is spoken: Azure, Google, OpenAI."""
_DETECTING = (
    "enable_language_identification",
    "include_language_detection",
    "language_detection",
)
"""Options that turn detection on in streams: of Soniox, ElevenLabs and AssemblyAI (1.8.9)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What is known of a family of models; `plugin` and `kind` name the class that has them."""

    plugin: str
    family: str = ""
    """The name that the family's models begin with; empty for all other models of the class."""
    variants: str = r"(-general)?(-[0-9]{4}.*)?"
    """A regular expression for what may follow the name, such as a snapshot (`-2025-06-04`)."""
    kind: str = "STT"
    languages: frozenset[str] | None = None
    """The languages that may be requested; `None` if unknown."""
    multi: frozenset[str] | None = frozenset()
    """The languages that it detects with `language: multi`; `None` if it is not known how it can be
    told to detect them."""
    pace: Pace = _UNKNOWN_PACE
    interim_results: bool = True
    """Whether it gives interim transcripts while somebody speaks, if LiveKit's capabilities say
    so."""
    interim_interval: float = 0.0
    endpointing_ms: str = ""
    """Which of its options has the silence in milliseconds that ends an utterance for certain, as a
    path: `turn_detection.silence_duration_ms`; empty if it is not known."""
    manual_flush: bool | None = None
    """Whether it answers a flush with a final; `None`: LiveKit's capabilities say, and if they do,
    it gives a final only when it is flushed."""
    slow_endpointing: bool = False
    final_timeout: float = _UNKNOWN_FINAL_TIMEOUT
    end_of_turn_timeout: float = 0.0
    ends_at_sent: bool = False
    finalizes_at_end: bool = True
    finalizes_when_dropped: bool = False
    last_resort: bool = False


def _other(**fields: Any) -> Model:
    """An entry for a class of whose languages nothing is known."""
    return Model(multi=None, **fields)


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
        variants=".*",  # the plugin, too, decides by the beginning of the name
        languages=_WHISPER,
        pace=_CARTESIA_PACE,
        manual_flush=True,
        slow_endpointing=True,
        final_timeout=1.6,
    ),
    Model(
        plugin="cartesia",
        family="ink-2",
        # a newer page lists fr hi ja es as well; the plugin (1.8.9) sends no language, and warns
        languages=_tags("en"),
        pace=_CARTESIA_PACE,
        manual_flush=False,
        final_timeout=1.6,
        end_of_turn_timeout=_END_OF_TURN_TIMEOUT,
        finalizes_when_dropped=True,  # the plugin of 1.8.9 does; its error follows
    ),
    Model(
        plugin="cartesia",
        pace=_CARTESIA_PACE,
        manual_flush=False,
        final_timeout=1.6,
        end_of_turn_timeout=_END_OF_TURN_TIMEOUT,
        finalizes_when_dropped=True,  # the plugin of 1.8.9 does; its error follows
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
    # Flux ends a turn after `eot_timeout_ms` at last, 5000 by default; the plugin's flush sends
    # nothing but audio.
    _other(
        plugin="deepgram",
        kind="STTv2",
        pace=_DEEPGRAM_PACE,
        manual_flush=False,
        final_timeout=1.6,
        end_of_turn_timeout=_END_OF_TURN_TIMEOUT,
    ),
    # The models of Universal-3 give an interim at 0.75 s, and then about every 3 s
    # (assemblyai.com/docs/streaming, the plugin's `continuous_partials`).
    *(
        _other(
            plugin="assemblyai",
            family=family,
            variants=".*",
            interim_interval=3.0,
            end_of_turn_timeout=_END_OF_TURN_TIMEOUT,
        )
        for family in ("universal-3", "u3")
    ),
    _other(plugin="assemblyai", end_of_turn_timeout=_END_OF_TURN_TIMEOUT),
    # The text of a turn comes in deltas after it has ended (measured with the plugin 1.8.9). Of the
    # end of the input the plugin tells its server nothing.
    _other(
        plugin="openai",
        interim_results=False,
        endpointing_ms="turn_detection.silence_duration_ms",
        finalizes_at_end=False,
    ),
    # It says that it gives interim transcripts, and its stream has no code for them.
    _other(plugin="sarvam", interim_results=False, end_of_turn_timeout=_END_OF_TURN_TIMEOUT),
    # The plugin (1.8.9) takes for the end of a final what it had sent when `vad.speech_end` came.
    _other(
        plugin="sarvam",
        kind="STTRealtime",
        ends_at_sent=True,
        end_of_turn_timeout=_END_OF_TURN_TIMEOUT,
    ),
    # The plugin drops interim transcripts below a confidence of 0.65, and Google gives interims
    # none. Faster than real time it answers OUT_OF_RANGE.
    _other(plugin="google", pace=Pace(burst=2.0, rate=1.5), interim_results=False),
    # The SDK sends 5 s at once, and then twice real time.
    _other(
        plugin="azure", pace=Pace(burst=5.0, rate=2.0), end_of_turn_timeout=_END_OF_TURN_TIMEOUT
    ),
    # Amazon asks for audio at the pace of speech (docs.aws.amazon.com/transcribe, streaming).
    _other(plugin="aws", pace=Pace(burst=2.0, rate=1.1)),
    # The plugin sends audio at the pace of speech, whatever it is given.
    _other(plugin="meta", pace=Pace(burst=1.0, rate=1.0), end_of_turn_timeout=_END_OF_TURN_TIMEOUT),
    _other(plugin="simplismart", interim_results=False, finalizes_at_end=False),
    # Of the end of the input Soniox's plugin (1.8.9), as the one before, tells its server nothing.
    # Gladia's does, and does not wait for the answer.
    *(
        _other(plugin=plugin, finalizes_at_end=False, end_of_turn_timeout=_END_OF_TURN_TIMEOUT)
        for plugin in ("soniox", "gladia")
    ),
    _other(plugin="xai", end_of_turn_timeout=_END_OF_TURN_TIMEOUT),
    _other(plugin="speechmatics", end_of_turn_timeout=_END_OF_TURN_TIMEOUT),
    # Our own recognizer in this process: it is sent all that is kept at once. Its default model is
    # English; which languages another one knows, its engine checks.
    _other(
        plugin=LOCAL,
        pace=Pace(burst=60.0, rate=20.0),
        manual_flush=True,
        final_timeout=_UNKNOWN_FINAL_TIMEOUT,
        last_resort=True,
    ),
)
"""Of several entries that match a model, the first one counts."""


def model_of(plugin: str, kind: str, model: str) -> Model | None:
    """Return the entry of `TABLE` for a model; `None` if nothing is known about its class."""
    fit = (m for m in TABLE if (m.plugin, m.kind) == (plugin, kind))
    return next((m for m in fit if not m.family or _is_of(m, model)), None)


def _known(plugin: str, kind: str, model: str) -> Model | None:
    """Return the entry for a model, for one of LiveKit Inference that of the vendor's.

    The gateway passes no flush on (`inference/stt.py`, 1.8.9), and finds the ends of speech itself.
    """
    if plugin != INFERENCE:
        return model_of(plugin, kind, model)
    vendor, _, name = model.partition("/")
    behind = "STTv2" if name.startswith("flux") else "STT"
    if (entry := model_of(vendor, behind, name)) is None:
        return None
    return replace(entry, manual_flush=False, slow_endpointing=False)


def _is_of(entry: Model, model: str) -> bool:
    return re.fullmatch(re.escape(entry.family) + entry.variants, model) is not None


def families(plugin: str, kind: str) -> list[str]:
    """Return the names of the model families of a class that are in the table."""
    return [m.family for m in TABLE if (m.plugin, m.kind) == (plugin, kind) and m.family]


def traits_of(
    name: str, provider: stt.STT[Any], given: Mapping[str, Any] | None = None
) -> ProviderTraits:
    """Return the traits on which decisions about a provider are based.

    Args:
        name: the provider's name.
        provider: its plugin and model are looked up, and its capabilities believed.
        given: traits that the user knows better; of `pace`, one field alone may be given.
    """
    plugin = plugin_of(provider)
    # What cannot stream is cut into utterances, which are transcribed as a whole. Some plugins
    # (elevenlabs scribe_v1, clova, fal) say that their batch models give interim transcripts.
    interims = provider.capabilities.streaming and provider.capabilities.interim_results
    unknown = Model(plugin=plugin, end_of_turn_timeout=_END_OF_TURN_TIMEOUT if interims else 0.0)
    known = _known(plugin, type(provider).__name__, provider.model)
    model = known or unknown
    traits = ProviderTraits(
        name=name,
        interim_results=interims and model.interim_results,
        interims_certain=known is not None or not interims or "interim_results" in (given or {}),
        language_detection=_detects_language(provider),
        key_variable=key_variable(plugin),
        **_model_traits(model, provider),
    )
    own = dict(given or {})
    if "pace" in own:
        own["pace"] = replace(traits.pace, **own["pace"])
    return replace(traits, **own)


def _detects_language(provider: stt.STT[Any]) -> bool:
    """Whether it was created to detect languages.

    LiveKit's interface does not say so. Plugins take an option for it, a list of languages, or a
    word for any of them (those of 1.8.9).
    """
    if any(value is True for name in _DETECTING for value in kept(provider, name)):
        return True
    asked = [value for name in _LANGUAGES for value in kept(provider, name)]
    if any(isinstance(value, list | tuple | set) and len(value) > 1 for value in asked):
        return True
    return any(isinstance(value, str) and value.lower() in _ANY_LANGUAGE for value in asked)


def _model_traits(model: Model, provider: stt.STT[Any]) -> dict[str, Any]:
    """The traits that a model's entry gives, completed by the provider's capabilities."""
    needs_flush = model.manual_flush is None and manual_flush(provider)
    streams = provider.capabilities.streaming
    return {
        "pace": model.pace,
        "manual_flush": needs_flush or bool(model.manual_flush),
        # Who says that he can be flushed gives no final before (elevenlabs with manual commits).
        "slow_endpointing": needs_flush or model.slow_endpointing,
        "interim_interval": model.interim_interval,
        "endpointing": _endpointing(model, provider) if streams else 0.0,
        "final_timeout": model.final_timeout,
        "end_of_turn_timeout": model.end_of_turn_timeout if streams else 0.0,
        # An utterance is transcribed when voice activity finds its end. That it does in silence.
        "finalizes_at_end": model.finalizes_at_end and streams,
        "ends_at_sent": model.ends_at_sent,
        "finalizes_when_dropped": model.finalizes_when_dropped,
        "last_resort": model.last_resort,
    }


def _endpointing(model: Model, provider: stt.STT[Any]) -> float:
    """Seconds of silence that end an utterance for certain; 0 if that is not known."""
    name, *path = model.endpointing_ms.split(".")
    for value in kept(provider, name) if name else ():
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else getattr(value, key, None)
        if isinstance(value, int | float):
            return value / 1000
    return 0.0


# -- languages


@dataclass(frozen=True, slots=True)
class LanguageSupport:
    """The languages of a configured provider, as far as they are known."""

    model: str
    """The model, as configured or as the plugin picks it; empty if unknown."""
    languages: frozenset[str] | None
    """The languages that may be requested; `None` if unknown."""
    language_detection: bool | None
    """Whether it detects the language itself; `None` if unknown."""

    def supports(self, tag: str) -> bool:
        """Whether a language may be requested, as far as is known; see `supports`."""
        return self.languages is None or supports(self.languages, tag)


def language_support(
    plugin: str, kind: str, options: Mapping[str, Any], default: str
) -> LanguageSupport:
    """Return the languages that a provider supports with these options.

    `default` is the model in its constructor's signature.
    """
    language = str(options.get("language") or "")
    model = str(options.get("model") or default)
    if plugin == "cartesia" and not model:
        # the rule of the plugin (1.8.9)
        english = not language or LanguageCode(language).language == "en"
        model = "ink-2" if english else "ink-whisper"
    known = model_of(plugin, kind, model)
    if known is None:
        return LanguageSupport(model, None, None)
    is_multi = language.lower() == MULTI
    if known.multi is None:
        return LanguageSupport(model, known.languages, None)
    if known.languages is None:
        return LanguageSupport(model, None, is_multi)
    detects = is_multi and bool(known.multi)
    return LanguageSupport(model, known.multi if detects else known.languages, detects)


def batch_only(plugin: str, kind: str, options: Mapping[str, Any]) -> list[str]:
    """Return the options that are set and with which a class recognizes buffers only."""
    return [o for o in _BATCH_ONLY.get((plugin, kind), ()) if options.get(o)]


def supports(languages: Collection[str], tag: str) -> bool:
    """Whether there is a tag or a more general one: `pt` for `pt-BR` (RFC 4647, lookup)."""
    known = {language.lower() for language in languages}
    return any(shorter in known for shorter in shortened(tag))


def models_supporting(plugin: str, kind: str, tag: str) -> list[str]:
    """Return the model families of a class that are known to support a language."""
    of = [m for m in TABLE if (m.plugin, m.kind) == (plugin, kind) and m.languages]
    return [m.family for m in of if supports(m.languages or (), tag)]
