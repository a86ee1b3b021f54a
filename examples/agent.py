"""A voice agent that keeps listening while its speech-to-text providers fail.

Set `CARTESIA_API_KEY` and `DEEPGRAM_API_KEY`, and for the rest `LIVEKIT_URL`, `LIVEKIT_API_KEY` and
`LIVEKIT_API_SECRET`; then talk to it:

    python examples/agent.py console
"""

from __future__ import annotations

import logging

from dotenv import load_dotenv
from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli

from resilient_stt import OutageStarted, ResilientSTT, Switched

logger = logging.getLogger("agent")
server = AgentServer()


def watched(stt: ResilientSTT) -> ResilientSTT:
    """Log when another provider takes over, and when none is left."""

    def on_switched(event: Switched) -> None:
        logger.info("%s took over from %s", event.to_provider, event.from_provider)

    def on_degraded(event: OutageStarted) -> None:
        logger.error("no speech-to-text provider works; audio is kept until one does")

    stt.on("switched", on_switched)
    stt.on("outage_started", on_degraded)
    return stt


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    """Join the room and talk."""
    session: AgentSession[None] = AgentSession(
        stt=watched(ResilientSTT()),
        llm="google/gemma-4-31b-it",
        tts="cartesia/sonic-3",
    )
    agent = Agent(instructions="You take reservations for a restaurant. Answer in one sentence.")
    await session.start(agent=agent, room=ctx.room)
    await session.generate_reply(instructions="Greet the caller.")


if __name__ == "__main__":
    load_dotenv()
    cli.run_app(server)
