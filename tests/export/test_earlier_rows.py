"""Tables of slides that several runs write: no run loses the rows of another."""

from __future__ import annotations

import csv
import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.page_layout import require_wide_tables_to_scroll

from napari_hmkd.errors import OutputError
from napari_hmkd.export.cohort import COHORT, cohort_row
from napari_hmkd.export.earlier_rows import Lines, Row, SharedTable
from napari_hmkd.export.provenance import FIELDS

SUMMARY: dict[str, Any] = {
    **dict.fromkeys(FIELDS, ""),
    "unreadable_tiles": [],
    "slide": {"name": "a.svs"},
    "warnings": [],
    "notice": "research use only",
    "graded_tissue_mm2": 1.5,
    "expected_grade": 2.0,
    "undecided_tiles": 0,
}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Results of the slides a.svs and b.svs, and a table of them."""
    for name in ("a.svs", "b.svs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "summary.json").write_text(json.dumps(SUMMARY), encoding="utf-8")
    COHORT.write([row(f"/x/{name}") for name in ("a.svs", "b.svs")], tmp_path)
    return tmp_path


def row(slide: str) -> Row:
    return cohort_row(slide, "graded", "", SUMMARY)


def test_the_page_s_table_scrolls_on_a_phone_and_has_a_name(out: Path) -> None:
    page = (out / "cohort.html").read_text(encoding="utf-8")
    assert require_wide_tables_to_scroll(page) == ["Slides"]


def slides(out: Path) -> list[str]:
    with (out / "cohort.csv").open(encoding="utf-8", newline="") as file:
        return [line["slide"] for line in csv.DictReader(file)]


def test_other_slides_rows_stay_and_an_own_earlier_one_stays_until_there_is_a_new_one(
    out: Path,
) -> None:
    run = SharedTable(out, COHORT, ["/x/c.svs", "/new/a.svs"])
    assert run.add([row("/x/c.svs")]) is None
    assert slides(out) == ["/x/a.svs", "/x/b.svs", "/x/c.svs"]
    assert run.add([row("/new/a.svs")]) is None
    assert slides(out) == ["/new/a.svs", "/x/b.svs", "/x/c.svs"]


def test_of_one_slide_alone_no_table_is_begun_nor_its_folder(tmp_path: Path) -> None:
    assert SharedTable(tmp_path / "out", COHORT, ["/x/c.svs"]).add([row("/x/c.svs")]) is None
    assert not (tmp_path / "out").exists()


def test_a_slide_that_another_run_has_graded_anew_has_that_run_s_row(out: Path) -> None:
    first = SharedTable(out, COHORT, ["/x/a.svs", "/x/c.svs"])
    assert first.add([row("/x/a.svs")]) is None
    anew = SUMMARY | {"expected_grade": 3.0}
    (out / "a.svs" / "summary.json").write_text(json.dumps(anew), encoding="utf-8")
    second = SharedTable(out, COHORT, ["/x/a.svs"])
    assert second.add([cohort_row("/x/a.svs", "graded", "", anew)]) is None
    assert first.add([row("/x/c.svs")]) is None
    with (out / "cohort.csv").open(encoding="utf-8", newline="") as file:
        grades = {line["slide"]: line["expected_grade"] for line in csv.DictReader(file)}
    assert grades == {"/x/a.svs": "3.0", "/x/b.svs": "2.0", "/x/c.svs": "2.0"}


def test_rows_stand_in_the_order_of_the_run_in_whichever_order_its_slides_end(
    tmp_path: Path,
) -> None:
    run = SharedTable(tmp_path, COHORT, ["/x/a.svs", "/x/b.svs", "/x/c.svs"])
    for name in ("c.svs", "a.svs", "b.svs"):
        assert run.add([row(f"/x/{name}")]) is None
    assert slides(tmp_path) == ["/x/a.svs", "/x/b.svs", "/x/c.svs"]


def test_what_another_run_leaves_out_of_a_run_s_rows_comes_back(out: Path) -> None:
    """Of a failed slide that is not there only its own run knows that it was asked for."""
    run = SharedTable(out, COHORT, ["/x/typo.svs", "/x/c.svs"])
    assert run.add([cohort_row("/x/typo.svs", "failed", "no such file", {})]) is None
    assert SharedTable(out, COHORT, ["/new/b.svs"]).add([row("/new/b.svs")]) is None
    assert "/x/typo.svs" not in slides(out)
    assert run.add([row("/x/c.svs")]) is None
    assert {"/x/typo.svs", "/x/c.svs", "/new/b.svs"} < set(slides(out))


@pytest.mark.parametrize("address", ["https://server/torn.zarr", None], ids=["remote", "a file"])
def test_a_slide_that_failed_and_is_still_there_stays_in_the_table(
    out: Path, address: str | None
) -> None:
    torn = out / "torn.svs"
    torn.touch()
    failed = cohort_row(address or str(torn), "failed", "torn", {})
    assert SharedTable(out, COHORT, [failed["slide"]]).add([failed]) is None
    assert SharedTable(out, COHORT, ["/x/c.svs"]).add([row("/x/c.svs")]) is None
    assert slides(out) == ["/x/a.svs", "/x/b.svs", failed["slide"], "/x/c.svs"]


def test_a_table_that_is_removed_while_a_run_adds_to_it_is_begun_anew_with_that_run_s_rows(
    out: Path,
) -> None:
    run = SharedTable(out, COHORT, ["/x/c.svs", "/x/d.svs"])
    assert run.add([row("/x/c.svs")]) is None
    (out / "cohort.csv").unlink()
    assert run.add([row("/x/d.svs")]) is None
    assert slides(out) == ["/x/c.svs", "/x/d.svs"]


def test_a_message_with_a_name_that_is_no_utf8_ends_no_run(out: Path) -> None:
    message = "asked to write results to f\udcfc, but the disk is full"
    failed = cohort_row("/x/c.svs", "failed", message, {})
    assert SharedTable(out, COHORT, ["/x/c.svs"]).add([failed]) is None
    assert r"results to f\udcfc, but" in (out / "cohort.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("was", "became", "encoding"),
    [
        ("", "", "utf-8-sig"),
        ("/x/a.svs", "C:\\slides ä\\a.svs", "utf-8"),
        ("/x/a.svs", "\\\\server\\share\\a.svs", "utf-8"),
    ],
    ids=["saved by Excel", "written on Windows", "written on Windows' network"],
)
def test_a_table_of_another_program_or_system_keeps_its_rows(
    out: Path, was: str, became: str, encoding: str
) -> None:
    text = (out / "cohort.csv").read_text(encoding="utf-8").replace(was, became)
    (out / "cohort.csv").write_text(text, encoding=encoding, newline="")
    assert SharedTable(out, COHORT, ["/x/c.svs"]).add([row("/x/c.svs")]) is None
    assert slides(out) == [became or "/x/a.svs", "/x/b.svs", "/x/c.svs"]
    page = (out / "cohort.html").read_text(encoding="utf-8")
    assert 'href="a.svs/report.html"' in page
    assert "slides ä" not in page, "folders are often called after patients"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"slide;status;message\n/x/a.svs;graded;\n", "no column slide and message and status"),
        (b"slide,status,message\n/x/a.svs,graded\n", "line 2 ends too early"),
        (b"slide,status,message\n/x/a.svs,failed," + b"x" * 200_000, "field larger than"),
        ("slide,status,message\n/x/ä.svs,failed,\n".encode("cp1252"), "codec can't decode"),
    ],
    ids=["semicolons", "cut", "huge", "no UTF-8"],
)
def test_a_table_that_cannot_be_read_stops_a_run_and_is_not_replaced(
    out: Path, content: bytes, reason: str
) -> None:
    run = SharedTable(out, COHORT, ["/x/c.svs", "/x/d.svs"])
    (out / "cohort.csv").write_bytes(content)
    with pytest.raises(OutputError, match=f"cohort.csv, but .*{reason}.*as CSV in UTF-8"):
        SharedTable(out, COHORT, ["/x/c.svs"])
    assert reason in str(run.add([row("/x/c.svs")])), "one that runs is not stopped, but told"
    assert (out / "cohort.csv").read_bytes() == content
    (out / "cohort.csv").unlink()
    assert run.add([row("/x/d.svs")]) is None
    assert slides(out) == ["/x/c.svs", "/x/d.svs"]


@pytest.mark.parametrize(
    "summary",
    [
        '{"a": 1}',
        '{"unreadable_tiles": [], "slide": null}',
        '{"unreadable_tiles": [], "slide": {}}',
        "[]",
    ],
)
def test_results_of_another_kind_lose_their_row_alone(out: Path, summary: str) -> None:
    (out / "a.svs" / "summary.json").write_text(summary, encoding="utf-8")
    assert SharedTable(out, COHORT, ["/x/c.svs"]).add([row("/x/c.svs")]) is None
    assert slides(out) == ["/x/b.svs", "/x/c.svs"]


def test_a_row_that_is_lost_is_told_with_what_helps(
    out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lacking = {name: said for name, said in SUMMARY.items() if name != "device"}
    (out / "a.svs" / "summary.json").write_text(json.dumps(lacking), encoding="utf-8")
    assert SharedTable(out, COHORT, ["/x/c.svs"]).add([row("/x/c.svs")]) is None
    (told,) = caplog.messages
    assert "a.svs is left out of cohort.csv" in told
    assert "'device'" in told
    assert "make them again" in told


def test_runs_side_by_side_keep_each_others_rows(tmp_path: Path) -> None:
    names = [[f"/x/{run}-{k}.svs" for k in range(5)] for run in range(4)]

    def write(mine: list[str]) -> None:
        table = SharedTable(tmp_path, COHORT, mine)
        for slide in mine:
            name = Path(slide).name
            (tmp_path / name).mkdir()
            (tmp_path / name / "summary.json").write_text(json.dumps(SUMMARY), encoding="utf-8")
            assert table.add([row(slide)]) is None

    threads = [threading.Thread(target=write, args=(mine,)) for mine in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(slides(tmp_path)) == sorted(slide for mine in names for slide in mine)
    assert not list(tmp_path.glob(".*"))


def test_results_are_read_again_only_where_another_run_has_changed_their_row(out: Path) -> None:
    read: list[str] = []

    def rows(lines: Lines, name: str, folder: Path) -> list[Row]:
        read.append(name)
        return COHORT.rows(lines, name, folder)

    run = SharedTable(out, replace(COHORT, rows=rows), [f"/x/{k}.svs" for k in range(5)])
    for k in range(4):
        assert run.add([row(f"/x/{k}.svs")]) is None
    assert read == ["a.svs", "b.svs"]
    assert SharedTable(out, COHORT, ["/new/b.svs"]).add([row("/new/b.svs")]) is None
    assert run.add([row("/x/4.svs")]) is None
    assert read == ["a.svs", "b.svs", "b.svs"]
