"""Playing speech through any LiveKit STT in virtual time, and scoring what comes out."""
