"""A student in the layout of the WSInfer model zoo: for `wsinfer` and QuPath's WSInfer extension.

The layout is that of wsinfer-zoo 0.6, specification 1.0 (Kaczmarzyk et al. 2024, npj Precision
Oncology 8:9, doi 10.1038/s41698-024-00499-9).
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from napari_hmkd.errors import ModelError
from napari_hmkd.export.torchscript import write_torchscript
from napari_hmkd.grading import OpenModel
from napari_hmkd.model import ModelCard
from napari_hmkd.model.timm_student import PREFIX
from napari_hmkd.output_folder import FolderKind, replaced_folder, write_json
from napari_hmkd.wording import NO_SCORE, RESEARCH_ONLY

SCRIPT_FILE, CONFIG_FILE, README_FILE = "torchscript_model.pt", "config.json", "README.md"
_MODEL = FolderKind(
    "a model for WSInfer",
    frozenset({SCRIPT_FILE, CONFIG_FILE}),
    frozenset({SCRIPT_FILE, CONFIG_FILE, README_FILE}),
)


def export_wsinfer(model: OpenModel, folder: Path) -> None:
    """Write `torchscript_model.pt`, `config.json` and `README.md`: all of them, or none.

    Both programs apply softmax to what the module returns, which gives the probabilities of
    `napari_hmkd.tile_grader.TileGrader` in float32, for the same pixels. See `write_torchscript`.

    Parameters
    ----------
    model : OpenModel
        A student.
    folder : pathlib.Path
        A new or empty folder, or an earlier export, which is replaced; what a user put into that
        besides is kept.

    Raises
    ------
    ModelError
        If the model is a teacher, or it cannot be written as TorchScript.
    OutputError
        If the folder cannot be written, or what is there is no earlier export.
    """
    card = model.card
    if card.role != "student":
        raise ModelError(
            f"asked to export {card.name} for WSInfer, which has H&E tiles alone, but it is a "
            f"{card.role} and needs IHC as well: choose a student"
        )
    with replaced_folder(folder, _MODEL) as part:
        write_torchscript(model.network, card, part / SCRIPT_FILE)
        write_json(part / CONFIG_FILE, _config(card))
        (part / README_FILE).write_text(_readme(model), encoding="utf-8", newline="\n")


def _config(card: ModelCard) -> dict[str, object]:
    """Content of `config.json`; its last three entries are read by people alone."""
    normalise = {"mean": [float(m) for m in card.mean], "std": [float(s) for s in card.std]}
    return {
        "spec_version": "1.0",
        "architecture": card.architecture.removeprefix(PREFIX),
        "num_classes": len(card.class_names),
        "patch_size_pixels": card.tile_px,
        "spacing_um_px": float(card.mpp),
        "class_names": _class_names(card),
        "transform": [
            {"name": "Resize", "arguments": {"size": card.tile_px}},
            {"name": "ToTensor"},
            {"name": "Normalize", "arguments": normalise},
        ],
        "use": RESEARCH_ONLY,
        "meaning": NO_SCORE,
        "notice": card.notice,
    }


def _class_names(card: ModelCard) -> list[str]:
    """Names that mean grades of tiles.

    "1+", "2+" and "3+" alone are QuPath's intensities of single cells: it would count each of them
    as positive, 2+ too, and offer an H-score.
    """
    return [f"HER2 {name}" for name in card.class_names]


def _readme(model: OpenModel) -> str:
    """The model card of the zoo, as Markdown."""
    card, classes = model.card, _class_names(model.card)
    side_um = card.tile_px * card.mpp
    notice = f"\n**Notice: {card.notice}**\n" if card.notice else ""
    return f"""# {card.name}
{notice}
**{RESEARCH_ONLY.capitalize()}.** HER2 grades of H&E tiles, for WSInfer and for QuPath's WSInfer extension.
Whatever is summed up from them is {NO_SCORE}.
{classes[2]} is equivocal: count it neither as positive nor as negative.

## Input and output

- Tiles of {card.tile_px} x {card.tile_px} px at {card.mpp:g} um/px ({side_um:g} um), RGB, normalised as `config.json` says; any number at once.
- For each tile four logits, already divided by the model's temperature ({card.temperature:g}): their softmax is the
  calibrated probability of {", ".join(classes)}.
- A tile that the network cannot answer gets NaN. `wsinfer` leaves its columns empty. QuPath shows NaN as
  its measurements but classifies it as {classes[0]}: leave such tiles out before counting.
- Tiles of another size are refused. Some versions of QuPath's extension read the tiles at the edge of a slide
  in another size, and the run ends there: keep annotations half a tile away from it.
- For PyTorch 2.5 and newer.

## Use

QuPath: put this folder into `user` in the model directory that the WSInfer window shows.

    wsinfer run --wsi-dir slides --results-dir results --config {CONFIG_FILE} --model-path {SCRIPT_FILE}

Tissue, places of tiles and resampling are then that program's: grades differ slightly from napari-hmkd's, which
also tells slides that are no sharp H&E, and tiles whose grade is undecided.

## Model

- Training data: {card.training_data or "not stated"}
- Architecture: {card.architecture}
- Weights: {model.path.name}, SHA-256 {model.sha256()}, made by {card.created_with}
- Exported by napari-hmkd {version("napari-hmkd")} with torch {version("torch")}
"""
