"""What counts as a leak: the same patient, or the same picture, in two parts of the data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Sequence

from napari_hmkd.wording import counted

STAINS = ("H&E", "IHC")
PictureDigests = tuple[bytes | None, bytes | None]
"""Of the decoded pixels of a tile's H&E and IHC; None where there is no file, or none that is read."""


def shared_patients(
    patients: Sequence[str | None], parts: Sequence[str], names: Sequence[str] | None = None
) -> list[str]:
    """One sentence for each patient with tiles in more than one part; unknown ones are skipped.

    With the names of the tiles these are listed, too.
    """
    found = []
    for group in _alike(patients):
        held = _by_part(group, parts)
        if len(held) > 1:
            shares = [f"{part} ({_listed(indices, names)})" for part, indices in held.items()]
            found.append(f"patient {patients[group[0]]} is in {' and '.join(shares)}")
    return found


def _listed(indices: Sequence[int], names: Sequence[str] | None) -> str:
    count = counted(len(indices), "tile")
    return count if names is None else f"{count}: {', '.join(names[i] for i in indices)}"


def shared_pictures(
    digests: Sequence[PictureDigests],
    names: Sequence[tuple[str, ...]],
    patients: Sequence[str | None],
    parts: Sequence[str],
    divided: Collection[str] = (),
) -> tuple[list[str], list[str]]:
    """Pictures that are there more than once: in two parts (leaks), and within one.

    Copies in a part that is yet to be divided are a leak too, unless they are of one patient, whom
    no split divides.

    Parameters
    ----------
    digests : sequence of PictureDigests
        Of each tile. H&E is compared with H&E, IHC with IHC.
    names : sequence of (str, str)
        What the two pictures are called.
    patients, parts : sequences of str
        Whose each tile is, None where that is unknown, and where it is.
    divided : collection of str
        The parts out of which others are yet to be drawn.

    Returns
    -------
    leaks, repeats : lists of str
        One sentence for each picture.
    """
    leaks: list[str] = []
    repeats: list[str] = []
    for place, stain in enumerate(STAINS):
        for group in _alike([found[place] for found in digests]):
            held = _by_part(group, parts)
            where = "; ".join(
                f"{part}: {', '.join(names[i][place] for i in indices)}"
                for part, indices in held.items()
            )
            sentence = f"the same {stain} picture is in {where}"
            owners = {patients[i] for i in group}
            if len(held) > 1:
                leaks.append(sentence)
            elif held.keys() <= set(divided) and (None in owners or len(owners) > 1):
                leaks.append(f"{sentence}; {_whose(owners)}, so that a split can part them")
            else:
                repeats.append(sentence)
    return leaks, repeats


def _whose(owners: Collection[str | None]) -> str:
    if None in owners:
        return "whose patients are unknown"
    return f"of the patients {' and '.join(sorted(filter(None, owners)))}"


def _alike(keys: Iterable[Hashable | None]) -> list[list[int]]:
    """Indices of equal keys, where there are several."""
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for index, key in enumerate(keys):
        if key is not None:
            groups[key].append(index)
    return [group for group in groups.values() if len(group) > 1]


def _by_part(group: Sequence[int], parts: Sequence[str]) -> dict[str, list[int]]:
    held: dict[str, list[int]] = defaultdict(list)
    for index in group:
        held[parts[index]].append(index)
    return dict(held)
