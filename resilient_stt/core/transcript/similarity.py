"""How alike two spellings are."""

from __future__ import annotations

MAX_LETTERS = 64


class Letters:
    """A spelling, prepared to be compared with others."""

    __slots__ = ("_alphabet", "_bits", "_count", "_places", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        places: dict[str, int] = {}
        for place, letter in enumerate(text[:MAX_LETTERS]):
            places[letter] = places.get(letter, 0) | 1 << place
        self._places = places
        self._bits = (1 << min(len(text), MAX_LETTERS)) - 1
        alphabet = 0
        for letter in places:
            alphabet |= 1 << (ord(letter) & 63)
        self._alphabet = alphabet
        self._count = alphabet.bit_count()

    def likeness(self, other: Letters) -> float:
        """Return the share (0 to 1) of letters that both have in the same order.

        0 if they share few letters at all, or are longer than `MAX_LETTERS`.
        """
        size = len(self.text) + len(other.text)
        if size > 2 * MAX_LETTERS:
            return float(self.text == other.text)
        shared = (self._alphabet & other._alphabet).bit_count()
        if 4 * shared < self._count + other._count:
            return 0.0
        row, places = self._bits, self._places
        for letter in other.text[:MAX_LETTERS]:
            if here := places.get(letter):
                common = row & here
                row = ((row + common) | (row - common)) & self._bits
        return 2 * (min(len(self.text), MAX_LETTERS) - row.bit_count()) / size
