"""Which program, which machine, which pictures a result comes from."""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Collection
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from dask.system import CPU_COUNT

from napari_hmkd import model, sample, training
from napari_hmkd.training.run import versions

NOT_TRAINING = (
    *("scores", "mkd"),
    *(f"experiment/{name}.py" for name in ("provenance", "runner", "scoring")),
)
"""What is done with trained networks; and MKD, which nothing in the experiment imports."""


def program_digest() -> str:
    """A digest of the source of generator, graders and their training, as they run."""
    return source_digest(model, sample, training, without=NOT_TRAINING)


def source_digest(*packages: ModuleType, without: Collection[str] = ()) -> str:
    """A digest of the source of packages, without the folders and files that lie there in one of them."""
    digest = hashlib.sha256()
    for package in packages:
        folder = Path(str(package.__file__)).parent
        for path in sorted(folder.rglob("*.py")):
            place = path.relative_to(folder)
            if not any(map(place.is_relative_to, without)):
                digest.update(place.as_posix().encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def provenance(device: str) -> dict[str, Any]:
    """Date, hardware, versions and program."""
    cores = f"{CPU_COUNT} CPU cores ({platform.machine()})"
    gpu = torch.cuda.get_device_name(device) if device.startswith("cuda") else ""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "hardware": f"{gpu}, {cores}" if gpu else cores,
        "program": program_digest(),
        "versions": versions(),
    }
