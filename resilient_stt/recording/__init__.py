"""The flight recorder: a page for each stream, which shows what happened and why."""
