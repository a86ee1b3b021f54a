"""The `resilient-stt` command."""
