"""What the consumer gets: transcripts, speech events, and the audio that they commit."""
