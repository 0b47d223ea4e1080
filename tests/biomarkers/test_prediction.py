"""Biomarkers of bags and slides: calibrated probabilities, attention, and bags of others refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_hmkd.bags.bag import Bag
from napari_hmkd.bags.packing import pack
from napari_hmkd.biomarkers import prediction
from napari_hmkd.biomarkers.encoders import Encoder, find_encoder
from napari_hmkd.biomarkers.prediction import (
    BiomarkerModel,
    encoder_of,
    open_biomarkers,
    predict,
)
from napari_hmkd.biomarkers.slide import start_biomarkers
from napari_hmkd.errors import ModelError
from napari_hmkd.planning import GradeSettings
from napari_hmkd.slide import Slide
from napari_hmkd.wording import one_notice

SETTINGS = GradeSettings(batch_size=3, device="cpu")


def test_the_demo_belongs_to_the_demo_student_and_says_that_it_is_drawn() -> None:
    model, encoder = open_biomarkers("demo"), find_encoder("demo")
    assert [target.name for target in model.card.targets] == ["ER", "PR", "HER2"]
    assert all("means nothing clinically" in target.definition for target in model.card.targets)
    assert "procedural" in model.card.notice
    assert model.card.notice == one_notice(model.card.notice, encoder.model.card.notice)
    assert model.path.stat().st_size < 4e6
    drawn = np.random.default_rng(0).normal(size=(4, encoder.feature_dim)).astype(np.float32)
    said = {
        "encoder": encoder.name,
        "encoder_sha256": encoder.sha256,
        "mpp": encoder.mpp,
        "tile_px": encoder.patch_px,
    }
    found = predict(Bag("a", drawn, np.zeros((4, 2)), encoder.patch_px, said), model, "cpu")
    assert [sum(one.probabilities) for one in found] == pytest.approx([1, 1, 1])


@pytest.fixture
def model(biomarkers_file: Path) -> BiomarkerModel:
    return open_biomarkers(biomarkers_file)


@pytest.fixture
def bag(encoder: Encoder) -> Bag:
    features = np.random.default_rng(0).normal(size=(5, encoder.feature_dim)).astype(np.float32)
    said = {"encoder": encoder.name, "encoder_sha256": encoder.sha256, "mpp": 4.0, "tile_px": 256}
    return Bag("a", features, np.zeros((5, 2)), 256, said)


def test_probabilities_are_those_of_the_logits_over_the_temperature(
    bag: Bag, model: BiomarkerModel
) -> None:
    her2, growth = predict(bag, model, "cpu")
    network = model.networks["HER2"]
    with torch.inference_mode():
        patches = network.branch.embed(pack([bag.features]))
        weights = torch.from_numpy(her2.attention)
        logits = network.classify(weights @ patches)
    expected = torch.softmax(logits / 2.0, dim=0).numpy()  # the target's temperature
    np.testing.assert_allclose(her2.probabilities, expected, rtol=1e-5)
    assert her2.most_probable == ("negative", "positive")[expected.argmax()]
    assert growth.probabilities.shape == (3,)
    for one in (her2, growth):
        assert one.attention.shape == (5,)
        assert one.attention.sum() == pytest.approx(1)
        assert one.relative_attention.mean() == pytest.approx(1)
        assert (np.diff(one.attention[one.top(3)]) <= 0).all()
        assert one.top(3)[0] == one.attention.argmax()


def test_a_bag_is_judged_in_the_devices_thread(
    bag: Bag, model: BiomarkerModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, asked = [], []
    for network in model.networks.values():
        network.register_forward_pre_hook(lambda *_: asked.append(bool(inside)))

    def done_on(device: torch.device, work: Callable[..., object], *given: object) -> object:
        inside.append(device)
        try:
            return work(*given)
        finally:
            inside.pop()

    monkeypatch.setattr(prediction, "done_on", done_on, raising=False)
    predict(bag, model, "cpu")
    assert asked == [True, True]


def test_the_order_of_patches_changes_nothing_but_the_attentions(
    bag: Bag, model: BiomarkerModel
) -> None:
    turned = replace(bag, features=bag.features[::-1].copy())
    one, other = predict(bag, model, "cpu")[0], predict(turned, model, "cpu")[0]
    np.testing.assert_allclose(one.probabilities, other.probabilities, rtol=1e-5)
    np.testing.assert_allclose(one.attention, other.attention[::-1], rtol=1e-4)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"encoder_sha256": "0" * 64}, "features of random student, SHA-256 000000000000"),
        ({"mpp": 2.0}, "patches at 2 um/px instead of 4"),
        ({"tile_px": 512}, "patches of 512 px instead of 256"),
    ],
)
def test_a_bag_of_another_encoder_or_scale_is_refused(
    changed: dict[str, object], reason: str, bag: Bag, model: BiomarkerModel
) -> None:
    other = replace(bag, attributes=dict(bag.attributes) | changed)
    with pytest.raises(ModelError, match=reason):
        predict(other, model, "cpu")


def test_a_bag_of_another_dimension_is_refused(bag: Bag, model: BiomarkerModel) -> None:
    with pytest.raises(ModelError, match="7 features instead of"):
        predict(replace(bag, features=bag.features[:, :7], attributes={}), model, "cpu")


def test_a_bag_that_does_not_tell_is_judged(bag: Bag, model: BiomarkerModel) -> None:
    assert len(predict(replace(bag, attributes={}), model, "cpu")) == 2


def test_an_answer_that_is_not_finite_is_an_error(bag: Bag, model: BiomarkerModel) -> None:
    with torch.no_grad():
        model.networks["HER2"].classify.bias.fill_(torch.nan)
    with pytest.raises(ModelError, match="no finite answer for HER2 of a"):
        predict(bag, model, "cpu")


def test_only_the_encoder_of_the_bags_is_taken(
    model: BiomarkerModel, student_file: Path, other_student_file: Path
) -> None:
    assert encoder_of(model, str(student_file)).sha256 == model.card.encoder_sha256
    with pytest.raises(ModelError, match=r"name that encoder's file \(--encoder"):
        encoder_of(model, str(other_student_file))
    with pytest.raises(ModelError, match="name that encoder's file"):
        encoder_of(model)  # the demo's
    untold = replace(model, card=replace(model.card, encoder_sha256="", patch_px=None, mpp=None))
    with pytest.raises(ModelError, match="did not tell"):
        encoder_of(untold, str(student_file))


def test_weights_are_asked_for_where_the_encoder_is_a_network_of_timm(
    model: BiomarkerModel, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = replace(model.card, encoder="timm:resnet18", encoder_sha256="0" * 64)
    monkeypatch.setattr(prediction, "find_encoder", lambda *_: encoder)
    with pytest.raises(ModelError, match=r"name that encoder's file \(--weights"):
        encoder_of(replace(model, card=card))


def test_a_slide_is_encoded_and_judged(
    slide: Slide, model: BiomarkerModel, encoder: Encoder, tmp_path: Path
) -> None:
    run = start_biomarkers(slide, model, encoder, SETTINGS, kept_in=tmp_path)
    assert sum(len(batch.tiles) for batch in run.run()) == 8
    expected = predict(run.extraction.bag(), model, "cpu")
    for found, wanted in zip(run.predictions, expected, strict=True):
        np.testing.assert_array_equal(found.probabilities, wanted.probabilities)
    shown = run.attention_map(run.predictions[0])
    assert np.isnan(shown).sum() == 1
    assert np.isnan(shown[1, 1])  # the glass
    assert np.nanmean(shown) == pytest.approx(1)
    assert run.notice == "random biomarkers; random weights; research use only"
    again = start_biomarkers(slide, model, encoder, SETTINGS, kept_in=tmp_path)
    assert list(again.run()) == []  # nothing was left to encode
    np.testing.assert_array_equal(again.predictions[0].attention, run.predictions[0].attention)
