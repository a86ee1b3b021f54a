"""Validates the arguments of `ResilientSTT`: says what is wrong and what to give instead."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from livekit.agents import LanguageCode
from livekit.agents.stt import STT
from livekit.agents.types import NotGivenOr
from livekit.agents.utils import is_given
from livekit.agents.vad import VAD
from pydantic import ValidationError

from .core.policy import Policies
from .core.routing.language import UNDETERMINED
from .errors import ConfigurationError
from .fleet import HealthStore
from .livekit.vad import BundledDetector, SpeechDetectorFactory
from .phrasing import nearest
from .providers.model_strings import from_model_string


def validate_language(language: NotGivenOr[str]) -> str:
    """Return a language tag in its normal form.

    Empty if none is given, or a tag that says that the language is unknown (`und`, `mul`).

    Raises:
        ConfigurationError: it is not a string.
    """
    if not is_given(language) or language is None:
        return ""
    if not isinstance(language, str):
        raise ConfigurationError(
            f"language must be a BCP 47 tag such as 'es' or 'pt-BR', not {_described(language)}"
        )
    normal = str(LanguageCode(language))
    return "" if normal in UNDETERMINED else normal


def validate_providers(providers: object) -> list[STT[Any]]:
    """Return the providers; a model string becomes LiveKit Inference's STT.

    Raises:
        ConfigurationError: it is not a list, or empty, or an item is neither a LiveKit STT nor a
            model string, or is in it twice.
    """
    if isinstance(providers, STT | str | Mapping) or not isinstance(providers, Sequence):
        raise ConfigurationError(
            "providers must be a list of LiveKit STTs in order of preference, such as "
            "[cartesia.STT(model='ink-whisper'), deepgram.STT()] or "
            f"['cartesia/ink-whisper:en', 'deepgram/nova-3']; got {type(providers).__name__}"
        )
    if not providers:
        raise ConfigurationError(
            "the list of providers is empty: give at least one LiveKit STT, or none at all "
            "(ResilientSTT()) to use Cartesia and Deepgram with keys from the environment"
        )
    providers = [from_model_string(p) if isinstance(p, str) else p for p in providers]
    for index, provider in enumerate(providers):
        if not isinstance(provider, STT):
            hint = "; call the class" if isinstance(provider, type) else ""
            raise ConfigurationError(
                f"provider {index} is not a livekit.agents.stt.STT but {_described(provider)}{hint}"
            )
        if any(provider is other for other in providers[:index]):
            raise ConfigurationError(
                f"provider {index} ({provider.label}) is in the list twice: a provider that drops "
                "is reconnected anyway, and a fallback must be another object"
            )
    return list(providers)


def validate_traits(traits: object, names: Collection[str]) -> dict[str, dict[str, Any]]:
    """Return the traits that a user knows better, by provider name.

    They are checked like those of a configuration, and may be written in the same way (`"1.5s"`).

    Raises:
        ConfigurationError: it is not a mapping of mappings, or there is no such provider or trait,
            or a value is of another type or impossible.
    """
    if traits is None:
        return {}
    if not isinstance(traits, Mapping):
        raise ConfigurationError(
            'traits must be a mapping such as {"soniox": {"interim_results": False}}, not '
            f"{_described(traits)}"
        )
    for name in traits:
        if name not in names:
            raise ConfigurationError(
                f"traits: no provider is named {name!r}{nearest(str(name), names)}"
            )
    return {name: _validated_traits(name, given) for name, given in traits.items()}


def _validated_traits(name: str, given: object) -> dict[str, Any]:
    from .config.models import Traits  # imports a YAML reader, which takes 0.1 s

    if not isinstance(given, Mapping):
        raise ConfigurationError(f"traits of {name} must be a mapping, not {_described(given)}")
    try:
        model = Traits.model_validate(dict(given))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        trait = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            hint = nearest(trait, Traits.model_fields)
            raise ConfigurationError(f"traits of {name}: no trait {trait!r}{hint}") from None
        raise ConfigurationError(f"traits of {name}: {trait}: {first['msg']}") from None
    return model.model_dump(exclude_unset=True, exclude_none=True, exclude={"languages"})


def validate_store(health: object) -> HealthStore | None:
    """Return the health store, or `None` if none is given.

    Raises:
        ConfigurationError: it is something else.
    """
    if health is None or isinstance(health, HealthStore):
        return health
    raise ConfigurationError(
        'health must be a health store, such as RedisHealth("redis://localhost:6379/0"), not '
        f"{_described(health)}"
    )


def with_overrides(
    policies: Policies,
    attempt_timeout: float | None,
    max_retry_per_stt: int | None,
    retry_interval: float | None,
) -> Policies:
    """Apply the options that LiveKit's `FallbackAdapter` has to the retry policy.

    Raises:
        ConfigurationError: one of them is impossible; names the option.
    """
    options = {
        "attempt_timeout": ("connect_timeout", attempt_timeout),
        "max_retry_per_stt": ("reconnect_budget", max_retry_per_stt),
        "retry_interval": ("wait_max", retry_interval),
    }
    retry = policies.retry
    for option, (name, value) in options.items():
        if value is not None:
            changes: dict[str, Any] = {name: value}
            try:
                retry = replace(retry, **changes)
            except ValueError as error:
                raise ConfigurationError(f"{option} cannot be {value!r}: {error}") from None
    return replace(policies, retry=retry)


def detector_factory(
    vad: NotGivenOr[VAD | SpeechDetectorFactory | None],
) -> SpeechDetectorFactory | None:
    """Return what makes the detectors of local voice activity; `None` if it is turned off.

    A LiveKit `VAD` is only for providers that cannot stream: the bundled model is used beside it.

    Raises:
        ConfigurationError: `vad` is not a LiveKit `VAD`, a callable or `None`.
    """
    if isinstance(vad, VAD) or not is_given(vad):
        return BundledDetector
    if vad is None or callable(vad):
        return vad
    raise ConfigurationError(
        "vad must be a livekit.agents.vad.VAD, a callable that makes a SpeechDetector (such as its "
        f"class), or None, not {_described(vad)}"
    )


def _described(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"
