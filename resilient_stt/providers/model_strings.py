"""Model strings, such as `deepgram/nova-3:en`: LiveKit Inference's STTs."""

from __future__ import annotations

import re
from typing import Any

from livekit.agents import stt

from ..errors import ConfigurationError

INFERENCE = "inference"
"""The name by which a configuration finds LiveKit Inference's class, which is in no plugin."""
_VARIABLE = re.compile(r"\bLIVEKIT_[A-Z_]+\b")
_MODEL = re.compile(r"[\w.-]+/[\w./-]+(:[\w-]+)?|auto")


def from_model_string(model: str) -> stt.STT[Any]:
    """Make LiveKit Inference's STT of a model, as `AgentSession(stt="...")` does.

    Args:
        model: `provider/model`, or `provider/model:language`. LiveKit keeps the list; an unknown
            model is refused by its gateway, when the first connection is made.

    Raises:
        ConfigurationError: the text has another form, or LiveKit's key or secret is missing.
    """
    if not _MODEL.fullmatch(model):
        raise ConfigurationError(
            f"{model!r} is no model of LiveKit Inference: a model string is like 'deepgram/nova-3' "
            "or 'cartesia/ink-whisper:en'; give a plugin's own STT as an object, such as "
            "deepgram.STT()"
        )
    from livekit.agents import inference  # takes a while, and most use plugins

    try:
        return inference.STT.from_model_string(model)
    except ValueError as error:
        variable = _VARIABLE.search(str(error))
        if variable is None:
            raise ConfigurationError(f"{model!r} cannot be used: {error}") from None
        raise ConfigurationError(
            f"{model!r} is served by LiveKit Inference, which needs LIVEKIT_API_KEY and "
            f"LIVEKIT_API_SECRET: set {variable[0]} in the environment, or give the plugin's STT "
            "as an object"
        ) from None
