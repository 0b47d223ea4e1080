"""What a slide may be called."""

from __future__ import annotations

import re

from napari_hmkd.wording import same_name

# A letter first: ".1234" of an accession number is no suffix.
_SUFFIX = re.compile(r"\.[a-z][a-z0-9]{1,6}")


def slide_names(file_name: str) -> tuple[str, ...]:
    """What a slide's file may be called, as `same_name` gives it: in full, and without its suffix.

    "a.ome.tif" may also be "a.ome" and "a".
    """
    name = same_name(file_name)
    names = [name]
    for _ in range(2 if ".ome." in name else 1):
        stem, dot, ending = names[-1].rpartition(".")
        if stem and _SUFFIX.fullmatch(dot + ending):
            names.append(stem)
    return tuple(names)
