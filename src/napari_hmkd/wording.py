"""Sentences that every result carries, and names as they are told and compared."""

from __future__ import annotations

import io
import sys
import unicodedata
from collections.abc import Sequence

GRADE_NAMES = ("0", "1+", "2+", "3+")
WRITTEN_GRADES = {
    text: grade
    for grade, name in enumerate(GRADE_NAMES)
    for text in (name, f"{grade}", f"{grade}.0", f"{grade},0")
}
"""By hand, as a number, and as pandas or a spreadsheet writes whole numbers, with a point or a comma."""
RESEARCH_ONLY = "research use only"
NO_SCORE = "by area of tiles, not by cells: not an ASCO/CAP score"
NO_GRADE = "a status predicted for the whole slide; not the HER2 grade, which is of tiles and by area, and no result of a test"
BY_P, BY_M = "network P, from H&E alone", "network M, from H&E and genes"


def one_notice(*notices: str) -> str:
    """What several notices say, each sentence once: those of a model repeat its encoder's."""
    parts = "; ".join(notices).split("; ")
    said = [each.removesuffix(f", {RESEARCH_ONLY}") for each in parts]
    sentences = [each for each in dict.fromkeys(said) if each not in ("", RESEARCH_ONLY)]
    only = [RESEARCH_ONLY] if said != parts or RESEARCH_ONLY in parts else []
    return "; ".join([*sentences, *only])


def counted(count: int, what: str, several: str = "") -> str:
    """A number of things that are called `what` in the singular: "1 tile", "2 tiles", "2 patches"."""
    return f"{count} {what if count == 1 else several or f'{what}s'}"


def some_of(told: Sequence[str], most: int, mark: str = ", ") -> str:
    """The first of several texts, parted by `mark`, and how many more there are."""
    more = [f"and {len(told) - most} more"] if len(told) > most else []
    return mark.join([*told[:most], *more])


def printable(name: str) -> str:
    """A file's name as UTF-8 can hold it: bytes that are none become escapes, "f\\udcfcr.tif"."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def path_replaced(text: str, path: str, by: str) -> str:
    """A text without a path in it; errors of the system write each backslash of Windows twice."""
    return text.replace(path, by).replace(path.replace("\\", "\\\\"), by)


def print_any_name() -> None:
    """Have this program print escapes for what a console or, on Windows, a file of its output cannot hold."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def same_name(name: str) -> str:
    """Equal for names that differ in case or in how their letters are composed, if in anything."""
    return unicodedata.normalize("NFC", name).casefold()


def same_words(name: str) -> str:
    """As `same_name`, and equal too where only spaces differ, in number or as word processors fix them."""
    return " ".join(same_name(name).split())
