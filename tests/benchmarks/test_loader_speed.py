"""Batches prepared ahead against batches prepared on demand, beside a busy device.

Both read the same store with the same augmentation. The device is a sleep as long as a batch takes
to load, so that without preparation half of the time is waiting. The suite runs a small size:
`BENCHMARK_TILE_PX=1024 pytest -s tests/benchmarks/test_loader_speed.py` measures BCI's.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("lightning", reason="needs the extra `train`")
pytest.importorskip("sklearn", reason="needs the extra `train`")

from torch.utils.data import DataLoader

from napari_hmkd.training.config import AugmentSettings, StoredDataSettings
from napari_hmkd.training.data import Batch, BatchLoader, TileData
from napari_hmkd.training.splits import Split
from napari_hmkd.training.store import open_store
from napari_hmkd.training.tiles import Tile

SIDE = int(os.environ.get("BENCHMARK_TILE_PX", "512"))
TILES, BATCH, ATTEMPTS = 48, 4, 5
NONE = np.array([], np.intp)


def random_source() -> SimpleNamespace:
    pairs = np.random.default_rng(0).integers(0, 256, (TILES, 2, SIDE, SIDE, 3), np.uint8)
    return SimpleNamespace(
        tiles=[Tile(str(number), 0) for number in range(TILES)],
        tile_px=SIDE,
        identity="random",
        renders=False,
        read=pairs.__getitem__,
    )


def on_demand(data: TileData) -> DataLoader:
    """torch's loader over the same tiles, without processes of its own."""
    return DataLoader(
        data.train_set,
        data.batch_size,
        sampler=data.train_dataloader().sampler,
        drop_last=True,
        collate_fn=lambda batch: batch,
    )


def waits(loader: Iterable[Batch], compute_s: float = 0) -> list[float]:
    """Seconds of waiting for each batch, with so much computing after each."""
    found, batches = [], iter(loader)
    while True:
        started = time.perf_counter()
        if next(batches, None) is None:
            return found
        found.append(time.perf_counter() - started)
        time.sleep(compute_s)


@pytest.mark.parametrize("kept", ["memory", "cache"])
def test_a_busy_device_hardly_waits_for_prepared_batches(kept: str, tmp_path: Path) -> None:
    settings = StoredDataSettings(cache=tmp_path if kept == "cache" else None)
    source = random_source()
    store = open_store(source, settings)
    split = Split(np.arange(TILES), NONE, NONE, NONE, "for the benchmark")
    data = TileData(source.tiles, store, split, AugmentSettings(), batch_size=BATCH, seed=0)
    ahead, demand = data.train_dataloader(), on_demand(data)
    # The machine has other things to do: one undisturbed attempt is enough.
    assert any(prepared_waits_less(ahead, demand, kept) for _ in range(ATTEMPTS))


def prepared_waits_less(ahead: BatchLoader, demand: DataLoader, kept: str) -> bool:
    """Whether less than 0.6 of the waiting is left; prints what was measured."""
    plain = waits(demand)
    load_s = median(plain)
    prepared = waits(ahead, load_s)
    computing, tiles = load_s * len(ahead), BATCH * len(ahead)
    speeds = [tiles / (computing + sum(waiting)) for waiting in (plain, prepared)]
    shares = [sum(waiting) / (computing + sum(waiting)) for waiting in (plain, prepared)]
    print(
        f"{SIDE} px from {kept}: {tiles / sum(plain):.0f} tiles/s loaded; beside a device as fast, "
        f"on demand {speeds[0]:.0f} tiles/s (waiting {shares[0]:.0%} of the time), prepared "
        f"{speeds[1]:.0f} tiles/s (waiting {shares[1]:.0%}), ratio {speeds[1] / speeds[0]:.2f}"
    )
    return sum(prepared) < 0.6 * sum(plain)
