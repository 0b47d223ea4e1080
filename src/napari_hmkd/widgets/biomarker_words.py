"""What the panel of biomarkers says."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from napari_hmkd.attention_layers import BAG_LIMITS
from napari_hmkd.biomarkers.prediction import Prediction
from napari_hmkd.biomarkers.slide import SlideBiomarkers
from napari_hmkd.wording import NO_GRADE, RESEARCH_ONLY, counted

MEANING = f"Each number is the probability, after the model's temperature, of {NO_GRADE}; {RESEARCH_ONLY}."
LEGEND = (
    f"Dark violet 0, blue 1 (an even share), yellow {BAG_LIMITS[1]:g} and more, on every slide."
)


def numbers_html(slide_name: str, predictions: Sequence[Prediction], answered_by: str) -> str:
    """A table of a slide: who answered, the probability of each class of each target, what that means."""
    head = _row_html(f"<b>{escape(slide_name)}</b>", "<b>probability</b>")
    by = _whole_row_html(f"By {escape(answered_by)}")
    return f'<table width="100%">{head}{by}{"".join(map(_target_html, predictions))}</table>'


def _target_html(prediction: Prediction) -> str:
    target = prediction.target
    rows = (
        _row_html(f"{escape(target.name)} {escape(name)}", f"<b>{probability:.3f}</b>")
        for name, probability in zip(target.classes, prediction.probabilities, strict=True)
    )
    definition = f"<i>{escape(target.name)}: {escape(target.definition)}</i>"
    return "".join(rows) + _whole_row_html(definition)


def _row_html(left: str, right: str) -> str:
    return f'<tr><td width="65%">{left}</td><td align="right">{right}</td></tr>'


def _whole_row_html(text: str) -> str:
    return f'<tr><td colspan="2">{text}</td></tr>'


def progress_words(tried: int, planned: int, speed: float) -> str:
    """How far the encoding is, at `speed` tiles a second."""
    return f"{tried} of {planned} tiles encoded, {speed:.1f} tiles/s"


def end_words(biomarkers: SlideBiomarkers) -> str:
    """What a prediction that ran to its end rests on."""
    extraction = biomarkers.extraction
    patches = counted(len(extraction.encoded_tiles()), "patch", "patches")
    before = f", {extraction.resumed_tiles} encoded before" if extraction.resumed_tiles else ""
    return f"Done: {patches} in {biomarkers.seconds:.0f} s{before}"


def stop_words(tried: int, planned: int) -> str:
    """How far it came, and that it goes on from there; 0 of 0 where nothing was planned."""
    if not planned:
        return "Stopped."
    return (
        f"Stopped at {tried} of {planned} tiles, which are kept: press the button to go on. A status is predicted "
        "from all of them."
    )
