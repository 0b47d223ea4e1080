"""How the names of slides' files end, in small letters."""

from __future__ import annotations

VENDOR_SUFFIXES = frozenset(
    {".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".svslide", ".czi", ".avs"}
)
"""Files that are slides or nothing: one that cannot be read is an error, not another's business."""

STORE_SUFFIX = ".zarr"
"""Folders that are a zarr store, whole or not."""

ARCHIVE_SUFFIXES = (".ozx", ".zarr.zip")
"""ZIP files that are a zarr store, whole or not."""

TIFF_SUFFIXES = frozenset({".tif", ".tiff", ".btf", ".tf2", ".tf8", ".ptif", ".ptiff", ".qptiff"})
"""Files that may be slides."""
