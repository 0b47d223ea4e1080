"""What an answer hangs on, by networks of which it is known."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import pytest
import torch

from napari_hmkd.errors import HmkdError, ModelError
from napari_hmkd.grading import OpenModel
from napari_hmkd.inspection import importance
from napari_hmkd.inspection.importance import (
    Method,
    measure_importance,
    surroundings,
)
from napari_hmkd.inspection.tile import LEVELS, Gaze, inspect_tile

HE = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)


def importance_of_tile(
    student: OpenModel, he: np.ndarray, method: Method, level: int = 2
) -> np.ndarray:
    """What is known in the end."""
    *_, whole = measure_importance(student, he, method, level)
    return whole.tokens


HE.setflags(write=False)
SQUARE = np.s_[:, :, 32:64, 160:192]  # token (1, 5) of level 0
Watch = Callable[..., OpenModel]


def mean_of_square(he: torch.Tensor) -> torch.Tensor:
    return he[SQUARE].mean(dim=(1, 2, 3))


@pytest.fixture(params=Method)
def method(request: pytest.FixtureRequest) -> Method:
    if request.param is Method.GRADIENT:
        request.getfixturevalue("captum")
    return request.param


@pytest.mark.parametrize("level", LEVELS)
def test_it_has_the_grid_of_received_attention(
    student: OpenModel, method: Method, level: int
) -> None:
    tokens = importance_of_tile(student, HE, method, level)
    assert tokens.shape == inspect_tile(student, HE).received(Gaze.STUDENT, level).shape
    assert tokens.dtype == np.float32
    assert tokens.min() > 0  # half of the network looks everywhere


@pytest.mark.parametrize(("level", "token"), [(0, (1, 5)), (1, (0, 2)), (2, (0, 1))])
@pytest.mark.parametrize("sure", [0, 1, 400])
def test_it_is_where_the_network_looks_however_sure_it_is(
    watching: Watch, method: Method, level: int, token: tuple[int, int], sure: float
) -> None:
    model = watching(lambda he: sure + mean_of_square(he))
    tokens = importance_of_tile(model, HE, method, level)
    assert np.argwhere(tokens).tolist() == [list(token)]


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("sure", [10, 400])  # with 400 every other grade's p is 0 in float32
def test_it_is_how_far_the_log_odds_move_up_or_down(
    watching: Watch, method: Method, sign: int, sure: float
) -> None:
    model = watching(lambda he: sure + 3 * sign * mean_of_square(he))
    moved = importance_of_tile(model, HE, method, level=0)[1, 5]
    if method is Method.GRADIENT:
        by_look = 1.0  # a mean's slopes add up to one
    else:
        hidden = np.array(HE)
        hidden[32:64, 160:192] = surroundings(HE, 32)[1, 5]
        shown, not_shown = mean_of_square(model.card.normalise(np.stack([HE, hidden])))
        by_look = abs(float(shown - not_shown))
    assert moved == pytest.approx(3 * by_look / model.card.temperature, rel=1e-3)


@pytest.mark.parametrize(
    "look", [lambda he: torch.ones(len(he)), lambda he: (0 * he).sum(dim=(1, 2, 3))]
)
def test_to_a_network_that_always_says_the_same_nothing_is_important(
    watching: Watch, method: Method, look: Callable
) -> None:
    assert not importance_of_tile(watching(look), HE, method).any()


@pytest.mark.parametrize("mode", [nullcontext, torch.no_grad, torch.inference_mode])
def test_it_is_the_same_each_time_and_leaves_the_network_alone(
    student: OpenModel, method: Method, mode: Callable[[], AbstractContextManager]
) -> None:
    before = importance_of_tile(student, HE, method)
    with mode():
        again = importance_of_tile(student, HE, method)
    assert again.tolist() == before.tolist()
    assert all(weight.grad is None for weight in student.network.parameters())


@pytest.mark.usefixtures("one_thread")
def test_the_network_is_asked_in_its_devices_thread(
    watching: Watch, method: Method, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, asked = [False], []

    def look(he: torch.Tensor) -> torch.Tensor:
        asked.append(inside[0])
        return mean_of_square(he)

    def done_on(_device: torch.device, work: Callable[..., object], *given: object) -> object:
        inside[0] = True
        try:
            return work(*given)
        finally:
            inside[0] = False

    monkeypatch.setattr(importance, "done_on", done_on)
    importance_of_tile(watching(look), HE, method)
    assert asked
    assert all(asked)


@pytest.mark.usefixtures("one_thread")
def test_it_can_be_stopped_between_steps(watching: Watch) -> None:
    model = watching(mean_of_square)
    steps = measure_importance(model, HE, Method.OCCLUSION, level=0)
    shares = [next(steps).share for _ in range(3)]
    assert shares == [1 / 8, 2 / 8, 3 / 8]
    steps.close()
    assert model.network.runs == 4  # the untouched tile, and three times eight tokens


def test_what_is_known_stays(student: OpenModel, method: Method) -> None:
    *partial, whole = measure_importance(student, HE, method, level=0)
    assert whole.share == 1
    for step in partial:
        known = np.isfinite(step.tokens)
        assert step.method is method
        assert step.tokens[known].tolist() == whole.tokens[known].tolist()


def test_a_hidden_token_has_the_colour_of_its_surroundings() -> None:
    glass, tissue = (243, 243, 243), (200, 110, 170)
    tile = np.full((256, 256, 3), glass, np.uint8)
    tile[:, 128:] = tissue
    tile[:64, :64] = tile[64:128, 192:] = 0
    around = surroundings(tile, 64)
    assert around[0, 0].tolist() == list(glass)
    assert around[1, 3].tolist() == list(tissue)
    assert around[3, 0].tolist() == list(glass)
    three_of_five = np.average([glass, tissue], axis=0, weights=[3, 2]).round()
    assert around[3, 1].tolist() == three_of_five.tolist()


@pytest.mark.usefixtures("captum")
@pytest.mark.parametrize(
    ("what", "look"),
    [
        ("answer", lambda he: torch.full((len(he),), torch.nan)),
        ("gradient", lambda he: (he - he.detach()).sum(dim=(1, 2, 3)).sqrt()),
    ],
)
def test_a_gradient_that_is_not_finite_is_refused(
    watching: Watch, what: str, look: Callable
) -> None:
    with pytest.raises(ModelError, match=f"its {what} is not finite"):
        importance_of_tile(watching(look), HE, Method.GRADIENT)


def test_an_answer_that_is_not_finite_with_a_token_hidden_is_refused(watching: Watch) -> None:
    first = watching(mean_of_square).card.normalise(HE[None])[0, 0, 0, 0]

    def look(he: torch.Tensor) -> torch.Tensor:
        return torch.where(he[:, 0, 0, 0] == first, 1.0, torch.inf)

    with pytest.raises(ModelError, match="not finite"):
        importance_of_tile(watching(look), HE, Method.OCCLUSION)


def test_without_captum_there_is_occlusion_and_the_command_that_brings_it(
    watching: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    assert importance_of_tile(watching(mean_of_square), HE, Method.OCCLUSION).any()
    with pytest.raises(HmkdError, match=r'pip install "napari-hmkd\[inspect\]"'):
        importance_of_tile(watching(mean_of_square), HE, Method.GRADIENT)
