"""LiveKit's job, in which a worker's code runs."""

from __future__ import annotations

from livekit.agents import get_job_context


def ids() -> dict[str, str]:
    """Return the ids of the current job and its room for a log record; empty outside of a job."""
    context = get_job_context(required=False)
    return {} if context is None else {"job_id": context.job.id, "room": context.job.room.name}
