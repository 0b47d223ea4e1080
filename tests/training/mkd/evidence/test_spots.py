"""Tables of spots that cannot be used are refused in words."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("pandas", reason="needs the extra `train`")

from napari_hmkd.errors import DataError
from napari_hmkd.training.mkd.evidence.spots import read_spots

HEADER = "section,x,y,pixel_x,pixel_y,total_umi,erbb2_cp10k\n"


@pytest.mark.parametrize(
    "line", ["C2,1,2,30.5", "C2,1,2,30.5,40.5,many,0.1", f"C2,{'1' * 200_000}"]
)
def test_a_table_that_was_cut_or_damaged_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "her2st").mkdir()
    (tmp_path / "her2st" / "spots.csv").write_text(HEADER + line, encoding="utf-8")
    with pytest.raises(DataError, match=r"asked for the spots of her2st in .*spots\.csv, but"):
        read_spots(tmp_path)
