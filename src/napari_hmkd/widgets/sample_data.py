"""File > Open Sample: the procedural H&E slide, and the registered IHC of the same section."""

from __future__ import annotations

from napari.utils import progress

from napari_hmkd.layers import LayerData
from napari_hmkd.sample import sample_slide
from napari_hmkd.widgets.guarded_reader import read_slides


def sample_layers() -> list[LayerData]:
    """Layers of the sample slide: IHC, hidden, and H&E. Its first use draws it (about a minute)."""
    with progress(total=100, desc="drawing the sample slide") as bar:

        def report(share: float) -> None:
            bar.update(round(100 * share) - bar.n)

        pair = sample_slide(report)
    (ihc,), (he,) = read_slides(pair.ihc), read_slides(pair.he)
    ihc[1].update(name="sample IHC (procedural)", visible=False)
    he[1].update(name="sample H&E (procedural)")
    return [ihc, he]
