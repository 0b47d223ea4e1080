"""A CSV manifest: one line for each pair of tiles."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from napari_hmkd.cells import separator
from napari_hmkd.errors import DataError
from napari_hmkd.patients import patient_told, written_twice
from napari_hmkd.training.sources.folders import bare_name, copied
from napari_hmkd.training.sources.pairs import Pair, Scan
from napari_hmkd.training.tiles import PARTS, Tile
from napari_hmkd.wording import GRADE_NAMES, WRITTEN_GRADES, counted

COLUMNS = ("he", "ihc", "grade", "patient", "split")
PATHS = ("he", "ihc")
KNOWN_CELLS = {"grade": {"", *WRITTEN_GRADES}, "split": {"", *PARTS}}
EXPECTED_CELLS = {"grade": f"{', '.join(GRADE_NAMES)}, 0 to 3", "split": ", ".join(PARTS)}
SHOWN_CELLS = 3
Row = tuple[int, dict[str, str]]


def scan_manifest(manifest: Path) -> Scan:
    """Pairs that a CSV file lists in the columns `he, ihc, grade, patient, split`.

    Paths are relative to the manifest, with either slash. `grade` is 0, 1+, 2+, 3+ or 0 to 3, empty
    where there is none; `patient` is empty where nobody knows, or says so as `patient_told` reads it;
    `split` is train, validation, calibration or test, empty where it is left open; the last three
    columns may be missing. Commas, semicolons or tabs separate the cells; UTF-8.

    Parameters
    ----------
    manifest : Path
        The CSV file.

    Raises
    ------
    DataError
        If the file is no such table, or lists no pair.
    """
    header, rows, problems = _table(manifest)
    if not rows and not problems:
        raise DataError(f"{manifest} lists no pairs: it needs one line for each pair")
    pairs = []
    seen: dict[tuple[Path, str], int] = {}
    named: dict[tuple[str, Path, str], Path] = {}
    unknown: dict[str, list[tuple[int, str]]] = {name: [] for name in KNOWN_CELLS}
    absent: dict[str, list[tuple[int, Path]]] = {name: [] for name in PATHS}
    for line, row in rows:
        pair = _pair(manifest, line, row)
        wrong = [name for name, known in KNOWN_CELLS.items() if row[name] not in known]
        for name in wrong:
            unknown[name].append((line, row[name]))
        gone = _not_there(pair, row)
        for name, path in gone:
            absent[name].append((line, path))
        found = [f"the cell {name} is empty" for name in PATHS if not row[name]]
        found += [*_wrong_files(pair, row, line, seen), *_copies(pair, named)]
        problems += [pair.said(problem) for problem in found]
        if not (wrong or gone or found):
            pairs.append(pair)
    problems += [*_absent_files(manifest, absent, len(rows)), *_unknown_cells(manifest, unknown)]
    known = (row["patient"] for _, row in rows if patient_told(row["patient"]))
    problems += [f"{manifest}: {sentence}" for sentence in written_twice(known)]
    return Scan("manifest", manifest, tuple(pairs), tuple(problems), tuple(_notes(header, rows)))


def _notes(header: Sequence[str], rows: Sequence[Row]) -> Iterator[str]:
    if ignored := [name for name in header if name and name not in COLUMNS]:
        yield f"columns that are not used: {', '.join(ignored)}"
    named = Counter(row["patient"] for _, row in rows if row["patient"])
    for cell, count in named.items():
        if not patient_told(cell):
            yield (
                f"{cell!r}, in {counted(count, 'line')}, is taken for no patient's name: each such tile "
                "counts as a patient of its own"
            )


def _pair(manifest: Path, line: int, row: dict[str, str]) -> Pair:
    tile = Tile(
        name=row["he"],
        grade=WRITTEN_GRADES.get(row["grade"]),
        patient=patient_told(row["patient"]) or None,
        part=row["split"] or None,
    )
    he, ihc = (_file(manifest.parent, row[name]) for name in PATHS)
    return Pair(tile, he, ihc, f"{manifest} line {line}")


def _file(folder: Path, cell: str) -> Path:
    """The file that a cell names; Windows writes a backslash between folders."""
    path = folder / cell
    return path if os.path.isfile(path) else folder / cell.replace("\\", "/")


def _unknown_cells(
    manifest: Path, unknown: Mapping[str, Sequence[tuple[int, str]]]
) -> Iterator[str]:
    """One sentence for each column with cells that say nothing known: usually they all do."""
    for name, found in unknown.items():
        wanted = f"none of {EXPECTED_CELLS[name]}, or empty"
        if len(found) == 1:
            ((line, cell),) = found
            yield f"{manifest} line {line}: the {name} {cell!r} is {wanted}"
        elif found:
            shown = ", ".join(f"{cell!r} in line {line}" for line, cell in found[:SHOWN_CELLS])
            more = ", ..." if len(found) > SHOWN_CELLS else ""
            yield f"{manifest}: the {name} of {len(found)} lines is {wanted}: {shown}{more}"


def _not_there(pair: Pair, row: dict[str, str]) -> list[tuple[str, Path]]:
    """Column and file for each that a line names and that does not exist."""
    # os.path answers False where pathlib raises, e.g. for a name of absurd length.
    files = zip(PATHS, pair.files(), strict=True)
    return [(name, path) for name, path in files if row[name] and not os.path.isfile(path)]


def _absent_files(
    manifest: Path, absent: Mapping[str, Sequence[tuple[int, Path]]], lines: int
) -> Iterator[str]:
    """Each file that is not there; one sentence for a column of which none is: usually moved."""
    advice = "paths are relative to the manifest's folder"
    for name, found in absent.items():
        if len(found) == lines > SHOWN_CELLS:
            line, path = found[0]
            yield (
                f"{manifest}: of {lines} files in the column {name} none is there, e.g. {path} in "
                f"line {line}: {advice}"
            )
        else:
            for line, path in found:
                yield f"{manifest} line {line}: there is no file {path}: {advice}"


def _wrong_files(
    pair: Pair, row: dict[str, str], line: int, seen: dict[tuple[Path, str], int]
) -> Iterator[str]:
    """Files that the same split, or stain, has already; remembers this line's in `seen`."""
    for name, path in zip(PATHS, pair.files(), strict=True):
        if not row[name]:
            continue
        # In two splits it is a leak, which is found by its pixels and can be accepted.
        first = seen.setdefault((path.resolve(), row["split"]), line)
        if first != line:
            yield f"{path} is listed in line {first} already"
    if row["he"] and pair.he == pair.ihc:
        yield f"{pair.he} is listed as both H&E and IHC"


def _copies(pair: Pair, named: dict[tuple[str, Path, str], Path]) -> Iterator[str]:
    """Files that differ in their suffix alone from one of the same stain; remembers these in `named`."""
    for name, path in zip(PATHS, pair.files(), strict=True):
        first = named.setdefault((name, path.parent, bare_name(path)), path)
        if first != path:
            yield copied([first, path])


def _table(manifest: Path) -> tuple[list[str], list[Row], list[str]]:
    """The header in small letters, each line that is not blank, and lines that cannot be split."""
    lines = list(io.StringIO(_text(manifest), newline=""))
    parted_by = separator("".join(lines[:1]), COLUMNS)
    records = _records(lines, parted_by)
    _, first = next(records, (1, []))
    if isinstance(first, csv.Error):
        raise DataError(f"{manifest} line 1: {_unclosed(first)}")
    header = _header(manifest, first)
    rows: list[Row] = []
    problems: list[str] = []
    for line, cells in records:
        where = f"{manifest} line {line}"
        if isinstance(cells, csv.Error):
            problems.append(f"{where}: {_unclosed(cells)}")
            continue
        filled = [cell.strip() for cell in cells]
        if any(filled[len(header) :]):
            problems.append(
                f"{where}: {len(filled)} cells, but the first line has {len(header)}: put a cell "
                f"that holds {parted_by!r} in double quotes"
            )
        elif any(filled):
            # Spreadsheets leave out empty cells at a line's end.
            named = dict(zip(header, filled, strict=False))
            rows.append((line, {name: named.get(name, "") for name in COLUMNS}))
    return header, rows, problems


def _records(lines: Sequence[str], parted_by: str) -> Iterator[tuple[int, list[str] | csv.Error]]:
    """The cells of each record, with the number of the line it begins in, or what is wrong there.

    A quote that is never closed swallows the lines below it: reading goes on with the next one.
    """
    begin = 0
    while begin < len(lines):
        reader = csv.reader(lines[begin:], delimiter=parted_by, strict=True)
        done = 0
        try:
            for cells in reader:
                # A cell in quotes may hold line breaks: the pair's line is where it begins.
                yield begin + done + 1, cells
                done = reader.line_num
            return
        except csv.Error as error:
            yield begin + done + 1, error
            begin += done + 1


def _unclosed(error: csv.Error) -> str:
    return (
        f"a cell that begins with a double quote does not end with one ({error}): close it, and "
        "write a quote inside a cell twice"
    )


def _header(manifest: Path, cells: Sequence[str]) -> list[str]:
    header = [name.strip().lower() for name in cells]
    if missing := [name for name in PATHS if name not in header]:
        raise DataError(
            f"{manifest} line 1: no column {' and no column '.join(missing)}; a manifest begins "
            f"with the line {','.join(COLUMNS)}, of which he and ihc are needed"
        )
    if twice := [name for name in COLUMNS if header.count(name) > 1]:
        raise DataError(f"{manifest} line 1: the column {twice[0]} is there twice")
    return header


def _text(manifest: Path) -> str:
    """The file's text without a byte order mark.

    Raises
    ------
    DataError
        If it cannot be read, or is not UTF-8.
    """
    raw = b""
    try:
        with manifest.open("rb") as file:
            raw = file.read(1 << 16)
            if b"\0" in raw:
                raise DataError(
                    f"{manifest} is no CSV text: name a manifest saved as 'CSV UTF-8', or a folder"
                )
            raw += file.read()
        return raw.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{manifest} line {line}: not UTF-8 text: save it as 'CSV UTF-8'"
        ) from error
    except OSError as error:
        raise DataError(f"{manifest} cannot be read: {error}") from error
