"""Sentences that every result carries."""

from __future__ import annotations

RESEARCH_ONLY = "research use only"
NO_SCORE = "by area of tiles, not by cells: not an ASCO/CAP score"
NO_GRADE = "a status predicted for the whole slide; not the HER2 grade, which is of tiles and by area, and no result of a test"
BY_P, BY_M = "network P, from H&E alone", "network M, from H&E and genes"


def counted(count: int, what: str) -> str:
    """A number of things that are called `what` in the singular: "1 tile", "2 tiles"."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def printable(name: str) -> str:
    """A file's name as UTF-8 can hold it: bytes that are none become escapes, "f\\udcfcr.tif"."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
