"""Reference speech whose every word is known, noise, and how the fakes recognize it."""
