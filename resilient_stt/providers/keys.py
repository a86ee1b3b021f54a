"""The environment variables that hold the providers' keys, for advice to the user.

Each is the one that the plugin itself reads (livekit-plugins 1.8.9).
"""

from __future__ import annotations

KEY_VARIABLES = {
    "assemblyai": "ASSEMBLYAI_API_KEY",
    "aws": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "azure": "AZURE_SPEECH_KEY and AZURE_SPEECH_REGION",
    "baseten": "BASETEN_API_KEY",
    "cartesia": "CARTESIA_API_KEY",
    "clova": "CLOVA_STT_SECRET_KEY",
    "deepgram": "DEEPGRAM_API_KEY",
    "elevenlabs": "ELEVEN_API_KEY",
    "fal": "FAL_KEY",
    "fireworksai": "FIREWORKS_API_KEY",
    "gladia": "GLADIA_API_KEY",
    "google": "GOOGLE_APPLICATION_CREDENTIALS",
    "gradium": "GRADIUM_API_KEY",
    "groq": "GROQ_API_KEY",
    "inference": "LIVEKIT_API_KEY and LIVEKIT_API_SECRET",
    "inworld": "INWORLD_API_KEY",
    "meta": "MODEL_API_KEY or META_API_KEY",
    "mistralai": "MISTRAL_API_KEY",
    "nvidia": "NVIDIA_API_KEY",
    "openai": "OPENAI_API_KEY",
    "rtzr": "RTZR_CLIENT_ID and RTZR_CLIENT_SECRET",
    "sarvam": "SARVAM_API_KEY",
    "simplismart": "SIMPLISMART_API_KEY",
    "smallestai": "SMALLEST_API_KEY",
    "soniox": "SONIOX_API_KEY",
    "speechmatics": "SPEECHMATICS_API_KEY",
    "spitch": "SPITCH_API_KEY",
    "telnyx": "TELNYX_API_KEY",
    "xai": "XAI_API_KEY",
}
"""By plugin. Where one variable is not enough, or another will do, all are named."""

_NEEDED = frozenset({"cartesia", "deepgram", "assemblyai", "elevenlabs", "gladia", "soniox", "xai"})
"""Plugins that have no other credentials than this key, as `api_key=` or in the environment."""


def key_variable(plugin: str) -> str:
    """Return the environment variable of a plugin's key; empty if unknown."""
    return KEY_VARIABLES.get(plugin, "")


def needed_variable(plugin: str) -> str:
    """Return the environment variable without which a plugin cannot be made, unless it is given
    `api_key`; empty if there is none, or it has other credentials, too."""
    return KEY_VARIABLES[plugin] if plugin in _NEEDED else ""
