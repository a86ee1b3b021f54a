"""A voice agent that keeps transcribing while its speech-to-text providers fail.

Set `CARTESIA_API_KEY` and `DEEPGRAM_API_KEY` for speech-to-text, and `LIVEKIT_URL`,
`LIVEKIT_API_KEY` and `LIVEKIT_API_SECRET` for the language model and the voice, in the environment
or in a `.env` file (`pip install python-dotenv` reads it). Then talk to it, on a machine with a
microphone and PortAudio (on Debian, `apt-get install libportaudio2`):

    python examples/agent.py console
"""

from __future__ import annotations

import logging

from dotenv import load_dotenv
from livekit.agents import Agent, AgentServer, AgentSession, JobContext, JobProcess, cli

from resilient_stt import OutageEnded, OutageStarted, ResilientSTT, Switched

logger = logging.getLogger("agent")
server = AgentServer()


def log_events(stt: ResilientSTT) -> None:
    """Log when another provider takes over, and when an outage starts and ends."""

    def on_switched(event: Switched) -> None:
        logger.info("%s took over from %s", event.to_provider, event.from_provider)

    def on_outage_started(event: OutageStarted) -> None:
        logger.error("no speech-to-text provider works; audio is buffered until one does")

    def on_outage_ended(event: OutageEnded) -> None:
        logger.info("%s works again after %.1f s", event.provider, event.duration)

    stt.on("switched", on_switched)
    stt.on("outage_started", on_outage_started)
    stt.on("outage_ended", on_outage_ended)


def set_up(process: JobProcess) -> None:
    """Make what all calls of a process can share, before the first one comes.

    With `health=RedisHealth("redis://...")`, the processes also share which providers work.
    """
    stt = ResilientSTT()
    log_events(stt)
    process.userdata["stt"] = stt


server.setup_fnc = set_up


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    """Join the room and talk with the caller."""
    session: AgentSession[None] = AgentSession(
        stt=ctx.proc.userdata["stt"],
        llm="google/gemma-4-31b-it",
        tts="cartesia/sonic-3",
    )
    agent = Agent(instructions="You take reservations for a restaurant. Answer in one sentence.")
    await session.start(agent=agent, room=ctx.room)
    await session.generate_reply(instructions="Greet the caller.")


if __name__ == "__main__":
    load_dotenv()
    cli.run_app(server)
