"""`resilient-stt demo`: one fault, shown live or compared side by side."""
