"""Results of a slide, written to files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari_hmkd.export.folder import RESULTS, result_folders
from napari_hmkd.export.geojson import write_geojson
from napari_hmkd.export.ome_zarr import write_ome_zarr
from napari_hmkd.export.picture import write_picture
from napari_hmkd.export.provenance import png_text
from napari_hmkd.export.report import write_report
from napari_hmkd.export.summary import write_summary
from napari_hmkd.export.table import tile_table, write_tiles
from napari_hmkd.export.tissue import TISSUE_FILE, write_tissue
from napari_hmkd.geometry import Origin
from napari_hmkd.grading import SlideGrading
from napari_hmkd.output_folder import replaced_folder
from napari_hmkd.result_files import SUMMARY_FILE, TABLE_FILE

__all__ = ["result_folders", "write_results"]


def write_results(
    grading: SlideGrading, folder: Path, geojson_origin: Origin = "slide"
) -> dict[str, Any]:
    """Write all files of a slide's results, `RESULTS.entries`: all of them, or none.

    There is no `tissue.png` where tissue could not be told from background and grading was forced.
    `geojson_origin` is what `tiles.geojson` counts from, see `feature_collection`.

    Returns
    -------
    dict
        What `summary.json` says.

    Raises
    ------
    OutputError
        If the folder cannot be written, or what is there is no result folder.
    """
    with replaced_folder(folder, RESULTS) as part:
        write_tiles(tile_table(grading), part / TABLE_FILE, part / "tiles.parquet")
        write_geojson(grading, part / "tiles.geojson", geojson_origin)
        thumbnail = write_picture(grading, part / "heatmap.png")
        write_ome_zarr(grading, part / "heatmap.ome.zarr")
        write_report(grading, part / "report.html", part / "heatmap.png", thumbnail)
        if grading.plan.tissue is not None:
            write_tissue(grading.plan.tissue, part / TISSUE_FILE, png_text(grading))
        said = write_summary(grading, part / SUMMARY_FILE, geojson_origin)  # it lists the others
    return said
