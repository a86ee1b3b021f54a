"""The arguments of `ResilientSTT`, checked: what is wrong, and what to give instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from livekit.agents import LanguageCode
from livekit.agents.stt import STT
from livekit.agents.types import NotGivenOr
from livekit.agents.utils import is_given
from livekit.agents.vad import VAD

from .core.policy import Policies
from .core.routing.language import UNDETERMINED
from .errors import ConfigurationError
from .fleet import HealthStore
from .livekit.vad import BundledDetector, SpeechDetectorFactory


def validate_language(language: NotGivenOr[str]) -> str:
    """A language in its normal form; empty if none is given, or one that says that it is unknown.

    Raises:
        ConfigurationError: it is no text.
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
    """The providers, if they can be used.

    Raises:
        ConfigurationError: none, not a list, not LiveKit STTs, or one given twice.
    """
    if isinstance(providers, STT | str | Mapping) or not isinstance(providers, Sequence):
        raise ConfigurationError(
            "providers must be a list of LiveKit STTs in order of preference, such as "
            f"[cartesia.STT(model='ink-whisper'), deepgram.STT()]; got {type(providers).__name__}"
        )
    if not providers:
        raise ConfigurationError(
            "the list of providers is empty: give at least one LiveKit STT, or none at all "
            "(ResilientSTT()) to use Cartesia and Deepgram with keys from the environment"
        )
    for index, provider in enumerate(providers):
        if not isinstance(provider, STT):
            hint = "; call the class" if isinstance(provider, type) else ""
            raise ConfigurationError(
                f"provider {index} is no livekit.agents.stt.STT but {_described(provider)}{hint}"
            )
        if any(provider is other for other in providers[:index]):
            raise ConfigurationError(
                f"provider {index} ({provider.label}) is in the list twice: a provider is reopened "
                "by itself, a fallback has to be another object"
            )
    return list(providers)


def validate_store(health: object) -> HealthStore | None:
    """What was given as a health store.

    Raises:
        ConfigurationError: it is none.
    """
    if health is None or isinstance(health, HealthStore):
        return health
    raise ConfigurationError(
        'health is a health store, such as RedisHealth("redis://localhost:6379/0"), not '
        f"{_described(health)}"
    )


def _described(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"


def with_overrides(
    policies: Policies,
    attempt_timeout: float | None,
    max_retry_per_stt: int | None,
    retry_interval: float | None,
) -> Policies:
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
    if isinstance(vad, VAD) or not is_given(vad):
        return BundledDetector
    return vad
