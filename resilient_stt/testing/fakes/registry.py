"""The fake servers by the name of the provider that they stand in for."""

from __future__ import annotations

from .assemblyai import FakeAssemblyAI
from .azure import FakeAzure
from .cartesia import FakeCartesia
from .deepgram import FakeDeepgram
from .elevenlabs import FakeElevenLabs
from .flux import FakeFlux
from .gladia import FakeGladia
from .google import FakeGoogle
from .inference import FakeInference
from .openai import FakeOpenAI
from .sarvam import FakeSarvam
from .server import FakeServer
from .soniox import FakeSoniox
from .speechmatics import FakeSpeechmatics
from .xai import FakeXAI

FAKES: dict[str, type[FakeServer]] = {
    "cartesia": FakeCartesia,
    "deepgram": FakeDeepgram,
    "assemblyai": FakeAssemblyAI,
    "azure": FakeAzure,
    "elevenlabs": FakeElevenLabs,
    "flux": FakeFlux,
    "gladia": FakeGladia,
    "google": FakeGoogle,
    "inference": FakeInference,
    "openai": FakeOpenAI,
    "sarvam": FakeSarvam,
    "soniox": FakeSoniox,
    "speechmatics": FakeSpeechmatics,
    "xai": FakeXAI,
}
"""By name: the plugin's, but `flux` for `deepgram.STTv2`, and `inference` for LiveKit's own. The
plugins of all but the first two come with the extra `providers`."""
