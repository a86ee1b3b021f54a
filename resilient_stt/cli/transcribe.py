from __future__ import annotations


def transcribe() -> None:
    """x"""
