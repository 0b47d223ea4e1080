"""Names in tables, as messages tell them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from napari_hmkd.errors import DataError

SHOWN = 5


def listed(names: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    every = list(names)
    more = f" and {len(every) - SHOWN} more" if len(every) > SHOWN else ""
    return ", ".join(every[:SHOWN]) + more


def require_unique(names: Iterable[str], what: str, where: object = "") -> None:
    """Refuse names that are there more than once, naming them.

    Parameters
    ----------
    names : iterable of str
    what : str
        What they name, in the plural.
    where : object
        What the message begins with, such as their file.

    Raises
    ------
    DataError
        If a name is there twice.
    """
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(
            f"{where}{': ' if where else ''}{len(twice)} {what} are there more than once: {listed(twice)}. Give each one its own "
            "name, or keep one of them"
        )
