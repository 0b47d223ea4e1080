"""The published program's names for the tensors of both networks.

Only own -> published is written down; the other direction is this one read backwards.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_PLACE = re.compile(
    r"(?P<stage>(?:he_|ihc_)?stages\.\d|joint_stage)\.(?P<part>embedding|blocks\.\d)\."
    r"|(?P<attention>crossed|distilled)\.(?P<level>\d)\.(?P<stain>he|ihc)\."
)
_EMBEDDING = {"project": "proj", "norm": "norm"}
_BLOCK = {
    "position": "pos_embed",
    "mixer_norm": "norm1",
    "mixer.local_unit.reduce": "token_mixer.local_unit.fc1.0",
    "mixer.local_unit.reduce_norm": "token_mixer.local_unit.fc1.2",
    "mixer.local_unit.multi_scale.scales": "token_mixer.local_unit.dwconv.proj",
    "mixer.local_unit.scale_norm": "token_mixer.local_unit.norm",
    "mixer.local_unit.expand": "token_mixer.local_unit.fc2.0",
    "mixer.local_unit.expand_norm": "token_mixer.local_unit.fc2.1",
    "mixer.global_unit.query": "token_mixer.global_unit.q",
    "mixer.global_unit.key": "token_mixer.global_unit.k",
    "mixer.global_unit.value": "token_mixer.global_unit.v",
    "mixer.global_unit.planes.mix": "token_mixer.global_unit.attn_conv_0.0",
    "mixer.global_unit.planes.norm": "token_mixer.global_unit.attn_conv_0.1",
    "mixer.global_unit.planes.merge": "token_mixer.global_unit.attn_conv_1",
    "mixer.bottleneck.depthwise": "token_mixer.proj.0",
    "mixer.bottleneck.depthwise_norm": "token_mixer.proj.1",
    "mixer.bottleneck.reduce": "token_mixer.proj.3",
    "mixer.bottleneck.reduce_norm": "token_mixer.proj.4",
    "mixer.bottleneck.expand": "token_mixer.proj.6",
    "mixer.bottleneck.expand_norm": "token_mixer.proj.7",
    "mlp_norm": "norm2",
    "mlp.expand": "mlp.fc1.0",
    "mlp.reduce": "mlp.fc2.0",
}
# {inner} is the attention inside its block; {s} is a for H&E, b for IHC.
_ATTENTION = {
    "norm": "norm1_{s}",
    "query": "{inner}.q_{s}",
    "key": "{inner}.k_{s}",
    "value": "{inner}.v_{s}",
    "planes.mix": "{inner}.attn_conv_{s}0.0",
    "planes.norm": "{inner}.attn_conv_{s}0.1",
    "planes.merge": "{inner}.attn_conv_{s}1",
    "project": "{inner}.proj_{s}",
    "mlp_norm": "norm2_{s}",
    "mlp.expand": "mlp_{s}.fc1.0",
    "mlp.inner_norm": "mlp_{s}.fc1.2",
    "mlp.reduce": "mlp_{s}.fc2.0",
    "mlp.outer_norm": "mlp_{s}.fc2.1",
}
_HEAD = {
    "head.norm": "avg_final.0",
    "head.embed": "fc_new1.0",
    "head.embed_norm": "fc_new1.1",
    "head.classify": "fc_new2",
}


def _translate(name: str, table: Mapping[str, str]) -> str:
    """Replace the leading layer of a tensor's name."""
    layer = max((own for own in table if name.startswith(f"{own}.")), key=len)
    rest = name[len(layer) :]
    return table[layer] + rest.replace("depthwise", "depth_conv").replace("pointwise", "point_conv")


def _stage_letter(stage: str) -> str:
    """A0 to A3 for H&E stages, B0 to B2 for IHC, concat for the teacher's last."""
    if stage == "joint_stage":
        return "concat"
    return ("B" if stage.startswith("ihc") else "A") + stage[-1]


def published_name(own: str) -> str:
    """The published name of one of our tensors, e.g. ``block_A0.1.pos_embed.weight``."""
    place = _PLACE.match(own)
    if place is None:
        return _translate(own, _HEAD)
    rest = own[place.end() :]
    if place["stage"]:
        letter = _stage_letter(place["stage"])
        if place["part"] == "embedding":
            return f"patch_embed_{letter}.{_translate(rest, _EMBEDDING)}"
        return f"block_{letter}.{place['part'][-1]}.{_translate(rest, _BLOCK)}"
    inner = "cross_attn" if place["attention"] == "crossed" else "kd_cross_attn"
    layer = _translate(rest, _ATTENTION)
    return f"{inner}_{place['level']}.{layer}".format(
        inner=inner, s="a" if place["stain"] == "he" else "b"
    )


def own_names(names: Iterable[str]) -> dict[str, str]:
    """Published name -> own name, for the own names of a network."""
    return {published_name(own): own for own in names}
