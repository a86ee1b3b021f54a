"""Speech-to-text for LiveKit Agents that keeps transcribing while its providers fail."""
