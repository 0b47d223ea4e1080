"""Inspections of the tiles last looked at, within a bound of memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable

from napari_hmkd.inspection.slide import InspectedTile

DEFAULT_BYTES = 256 * 2**20


class InspectionCache:
    """Keeps what was last used of what was inspected.

    A level-0 matrix of a 1024-px tile has 4 MB, and a tile with a teacher three of them.

    Parameters
    ----------
    most_bytes : int
        Of all matrices together; one inspection is kept even if it is larger.
    """

    def __init__(self, most_bytes: int = DEFAULT_BYTES) -> None:
        self.most_bytes = most_bytes
        self._lock = threading.RLock()
        self._kept: OrderedDict[Hashable, InspectedTile] = OrderedDict()

    @property
    def nbytes(self) -> int:
        """Of all matrices that are kept."""
        with self._lock:
            return sum(one.inspection.nbytes for one in self._kept.values())

    def put(self, key: Hashable, inspected: InspectedTile) -> None:
        """Keep a tile; what was not used for longest gives way."""
        with self._lock:
            self._kept[key] = inspected
            self._kept.move_to_end(key)
            while self.nbytes > self.most_bytes and len(self._kept) > 1:
                self._kept.popitem(last=False)

    def find(self, key: Hashable) -> InspectedTile | None:
        """The tile of a key, if it is kept; it counts as used."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found
