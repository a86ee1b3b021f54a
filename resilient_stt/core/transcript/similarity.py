"""How alike two spellings of a word are."""

from __future__ import annotations

MAX_FUZZY_LETTERS = 64
"""Longer words must be equal. A bound on CPU time: a recognizer that loops writes thousands of
letters as one word."""


class Letters:
    """A word, prepared to be compared with others.

    The letters that two words have in common and in the same order are counted with the bits of one
    integer for a row of the table of their longest common subsequence (Hyyrö 2004): a step for each
    letter of the shorter word, instead of one for each pair of letters.
    """

    __slots__ = ("_alphabet", "_distinct", "_places", "text")

    def __init__(self, text: str) -> None:
        """Prepare a word. One of more than `MAX_FUZZY_LETTERS` is only like itself."""
        self.text = text
        self._places: dict[str, int] = {}
        for place, letter in enumerate(text[:MAX_FUZZY_LETTERS]):
            self._places[letter] = self._places.get(letter, 0) | 1 << place
        self._alphabet = 0
        for letter in self._places:
            self._alphabet |= 1 << (ord(letter) & 63)
        self._distinct = self._alphabet.bit_count()

    def __repr__(self) -> str:
        return f"Letters({len(self.text)})"

    def likeness(self, other: Letters) -> float:
        """Return the share (0 to 1) of letters that both have, in the same order.

        0 if most of their different letters are not the same ones, without looking further: most
        words that are compared have nothing to do with each other.
        """
        ours, theirs = self.text, other.text
        if ours == theirs:
            return 1.0
        if max(len(ours), len(theirs)) > MAX_FUZZY_LETTERS:
            return 0.0
        if 4 * (self._alphabet & other._alphabet).bit_count() < self._distinct + other._distinct:
            return 0.0
        full = (1 << len(ours)) - 1
        row = full
        for letter in theirs:
            if here := self._places.get(letter):
                common = row & here
                row = ((row + common) | (row - common)) & full
        return 2 * (len(ours) - row.bit_count()) / (len(ours) + len(theirs))
