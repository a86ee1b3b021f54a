"""The chaos kit: fake providers, faults and reference speech."""
