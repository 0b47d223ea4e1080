"""Procedural paired H&E / IHC tissue with known grades, for the demo, the tests and training."""

from napari_hmkd.sample.cohort import Cohort, TileRecord
from napari_hmkd.sample.patient import oracle_grades
from napari_hmkd.sample.slides import SamplePair, sample_slide, sample_tissue, write_slide
from napari_hmkd.sample.tissue import FieldTruth, ProceduralTissue

__all__ = [
    "Cohort",
    "FieldTruth",
    "ProceduralTissue",
    "SamplePair",
    "TileRecord",
    "oracle_grades",
    "sample_slide",
    "sample_tissue",
    "write_slide",
]
