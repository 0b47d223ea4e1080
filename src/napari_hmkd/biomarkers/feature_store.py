"""Features of tiles kept on disk, so that a run which was closed or killed goes on where it was."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from napari_hmkd.errors import OutputError
from napari_hmkd.result_store import TileStore, kept_among_the_users_data


def default_folder() -> Path | None:
    """Where features are kept that were not asked for as files: in the user's data folder.

    None, with a warning, for a user without a home.
    """
    return kept_among_the_users_data(FeatureStore)


class FeatureStore(TileStore):
    """What one encoder says about the tiles of one slide on one grid; see `TileStore`."""

    what = "features"
    values: ClassVar[Mapping[str, str]] = {"features": "BLOB NOT NULL"}

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """The tiles that were kept, int64 (n, 2), and their features, float32 (n, d).

        Raises
        ------
        OutputError
            The file is damaged, or is not the key's.
        """
        rows = self._read_rows()
        tiles = np.array([row[:2] for row in rows], dtype=np.int64).reshape(-1, 2)
        features = np.frombuffer(b"".join(row[2] for row in rows), np.float32)
        return tiles, features.reshape(len(rows), -1) if rows else features.reshape(0, 0)

    def add(self, tiles: np.ndarray, features: np.ndarray) -> None:
        """Keep features, float32 (n, d), of tiles, (n, 2).

        Raises
        ------
        OutputError
            They cannot be written.
        """
        self._add_rows(
            [(*tile, row.tobytes()) for tile, row in zip(tiles.tolist(), features, strict=True)]
        )

    def remove(self) -> None:
        """Forget everything.

        Raises
        ------
        OutputError
            The file cannot be removed.
        """
        try:
            remove_store(self.path)
        except OSError as error:
            raise OutputError(f"asked to remove {self.path}, but: {error}") from error


def remove_store(path: Path) -> None:
    """Remove a store's file, and what a run that was killed has left beside it."""
    for one in (path, path.with_name(f"{path.name}-journal")):
        one.unlink(missing_ok=True)
