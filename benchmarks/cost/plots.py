"""Bars, as SVG."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

_LABELS, _BARS, _ROW, _TOP = 220, 380, 26, 36  # pixels
_COLORS = ("#8c959f", "#57606a", "#0969da", "#54aeff", "#bf8700")


def bars(title: str, unit: str, values: Mapping[str, float]) -> str:
    """Draw a bar for each value, with its label before it and its figure behind it."""
    most = max(values.values(), default=0.0) or 1.0
    height = _TOP + _ROW * len(values) + 10
    width = _LABELS + _BARS + 110
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="10" y="22" font-weight="bold" fill="#1f2328">{escape(title)}</text>',
    ]
    for number, (label, value) in enumerate(values.items()):
        y, length = _TOP + number * _ROW, max(0.0, value) / most * _BARS
        color = _COLORS[number % len(_COLORS)]
        middle = y + _ROW / 2 + 4
        lines += [
            f'<text x="{_LABELS - 8}" y="{middle}" text-anchor="end" fill="#1f2328">'
            f"{escape(label)}</text>",
            f'<rect x="{_LABELS}" y="{y + 4}" width="{length:.1f}" height="{_ROW - 8}" '
            f'fill="{color}"/>',
            f'<text x="{_LABELS + length + 6:.1f}" y="{middle}" fill="#1f2328">'
            f"{value:.3g} {escape(unit)}</text>",
        ]
    return "\n".join([*lines, "</svg>", ""])
