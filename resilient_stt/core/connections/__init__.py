"""The connections of one stream: what each was sent, and what it has transcribed."""
