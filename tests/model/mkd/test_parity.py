"""The networks of MKD reproduce the published programs' numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_hmkd.bags.packing import pack
from napari_hmkd.model.mkd import (
    MkdOutput,
    build_genomic_network,
    build_multimodal_network,
    build_pathology_network,
)

BUILDERS: dict[str, Callable[[], torch.nn.Module]] = {
    "pathology": build_pathology_network,
    "multimodal": build_multimodal_network,
    "genomic": build_genomic_network,
}
# What parity/README.md says a correct float32 implementation stays under.
TOLERANCE = 2e-6


def attention(own: str, published: str) -> dict[str, str]:
    names = {"content": "attention_V.0", "gate": "attention_U.0", "score": "attention_weights"}
    return {f"{own}.{layer}": f"{published}.{name}" for layer, name in names.items()}


# Our layers by their published names.
LAYERS = {
    "pathology": {
        "branch.embed.0": "_fc1.0",
        **attention("branch.attention", "attention"),
        "classify": "classifier.fc",
    },
    "multimodal": {
        "patches.embed.0": "wsi_net.0",
        **attention("patches.attention", "attention_path"),
        "genes.embed.0": "snn.0",
        **attention("genes.attention", "attention_snn"),
        "fusion.tissue.reduce": "mm.linear_h1.0",
        "fusion.tissue.gate": "mm.linear_z1",
        "fusion.tissue.mix": "mm.linear_o1.0",
        "fusion.genes.reduce": "mm.linear_h2.0",
        "fusion.genes.gate": "mm.linear_z2",
        "fusion.genes.mix": "mm.linear_o2.0",
        "fusion.product": "mm.encoder1.0",
        "fusion.join": "mm.encoder2.0",
        "classify": "classifier",
    },
    "genomic": {
        "branch.embed.0": "fc1.0",
        **attention("branch.attention", "abmil.attention"),
        "classify": "abmil.classifier.fc",
    },
}
NEVER_USED = {"classifier.weight", "classifier.bias", "abmil._fc1.0.weight", "abmil._fc1.0.bias"}


def published_name(network: str, own: str) -> str:
    layer, _, kind = own.rpartition(".")
    return f"{LAYERS[network][layer]}.{kind}"


@pytest.fixture(scope="module")
def answers(
    published_shapes: dict, published_tensor: Callable, parity_input: Callable
) -> dict[str, MkdOutput]:
    """Our networks with the published weights, on the reference's one case."""
    bags = pack([parity_input("bag", (37, 1024))])
    genes = parity_input("genes", (1, 8192)).view(1, 16, 512)
    inputs = {"pathology": (bags,), "multimodal": (bags, genes), "genomic": (genes,)}
    found = {}
    for name, build in BUILDERS.items():
        network = build().eval()
        keys = {own: published_name(name, own) for own in network.state_dict()}
        shapes = published_shapes["mkd"][name]
        network.load_state_dict({o: published_tensor(k, shapes[k]) for o, k in keys.items()})
        with torch.inference_mode():
            found[name] = network(*inputs[name])
    return found


@pytest.mark.parametrize(
    "array",
    [f"{name}.{kind}" for name in BUILDERS for kind in ("logits", "embedding")]
    + ["pathology.attention"],
)
def test_reproduces_every_reference_array(
    answers: dict[str, MkdOutput], parity: Path, array: str
) -> None:
    with np.load(parity / "mkd.npz") as file:
        wanted = file[f"network.{array}"]
    network, kind = array.split(".")
    found = getattr(answers[network], kind).numpy().reshape(wanted.shape)
    assert np.abs(found - wanted).max() / np.abs(wanted).max() < TOLERANCE


@pytest.mark.parametrize("network", BUILDERS)
def test_every_published_tensor_has_its_place(published_shapes: dict, network: str) -> None:
    wanted = dict(published_shapes["mkd"][network])
    if network == "genomic":
        wanted = {name: shape for name, shape in wanted.items() if name not in NEVER_USED}
    own = {
        published_name(network, name): list(tensor.shape)
        for name, tensor in BUILDERS[network]().state_dict().items()
    }
    assert own == wanted
