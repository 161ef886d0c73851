"""Names of the tensors of published checkpoints in an :class:`~arbex.models.ExpressionClassifier`.

The checkpoints are those of POSTER++ (``Talented-Q/POSTER_V2``), POSTER (``zczcwh/POSTER``), IR50 of face.evoLVe in two
forms (one body per stage, or one flat body) and MobileFaceNet of ``cunjian/pytorch_face_landmark``.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from torch import Tensor

ENCODER, IMAGE, LANDMARKS = "encoder.", "encoder.image.", "encoder.landmarks."
"""Prefixes of the model's names: the encoder, and its two backbones."""

IR50_DEPTHS = (3, 4, 14, 3)
"""Number of blocks of each stage; the encoder has no fourth stage."""

UNUSED = ""
"""Stands for the name of a tensor that is known and not needed."""

PARTS = {"expand": "conv", "depthwise": "conv_dw", "project": "project"}
LAYERS = {"conv": 0, "bn": 1, "prelu": 2}
LANDMARK_STEM = {"conv1": "stem.0", "conv2_dw": "stem.1", "conv_6_sep": "last"}
LANDMARK_FIRST = {"conv_23": 0, "conv_34": 1, "conv_45": 2}
LANDMARK_REST = {"conv_3": 0, "conv_4": 1, "conv_5": 2}

LEVEL = {
    "norm": "norm_in",
    "qkv": "attention.key_value",
    "proj": "attention.project",
    "gamma1": "attention_scale",
    "gamma2": "mlp_scale",
    "mlp.fc1": "mlp.0",
    "mlp.fc2": "mlp.2",
}
FUSION = {
    "norm1": "norm_attention",
    "attn.qkv": "query_key_value",
    "attn.proj": "project",
    "norm2": "norm_mlp",
    "mlp.fc1": "mlp.0",
    "mlp.fc2": "mlp.2",
}
SINGLE = {
    "last_face_conv": "landmark_last.0",
    "embed_q.0": "embed.0.0.0",
    "embed_q.1": "embed.0.1.0",
    "embed_k.0": "embed.1.0",
    "embed_v.proj": "embed.2.0",
    "VIT.cls_token": "class_token",
    "VIT.pos_embed": "position",
    "VIT.norm": "norm",
    "VIT.se_block.linear1": "gate.squeeze",
    "VIT.se_block.linear2": "gate.excite",
}
PYRAMID_SINGLE = {
    "ir_layer": "project",
    "pyramid_fuse.downsample_m": "narrow.0",
    "pyramid_fuse.downsample_s": "narrow.1",
    "pyramid_fuse.norm": "norm",
    "se_block.linear1": "gate.squeeze",
    "se_block.linear2": "gate.excite",
}
PYRAMID_LAYERS = {
    "norm1": "norm.image",
    "norm2": "norm_mlp.image",
    "norm3": "norm.landmarks",
    "norm4": "norm_mlp.landmarks",
    "attn_img.kv": "attention.image.key_value",
    "attn_img.proj": "attention.image.project",
    "attn_lm.kv": "attention.landmarks.key_value",
    "attn_lm.proj": "attention.landmarks.project",
    "mlp1.fc1": "mlp.image.0",
    "mlp1.fc2": "mlp.image.2",
    "mlp2.fc1": "mlp.landmarks.0",
    "mlp2.fc2": "mlp.landmarks.2",
    "conv": "mix",
}
DEAD = re.compile(r"VIT\.(patch_embed|CON1|IRLinear\d|eca_block|blocks\.\d+\.conv)\.|attn\d\.relative_position_index$")
"""Tensors of every POSTER++ checkpoint that its forward pass does not use; the index is computed from the window."""


def image_name(name: str) -> str | None:
    """Returns the name below ``encoder.image`` of a tensor of IR50, ``UNUSED``, or None if it is unknown."""
    if name.startswith("output_layer."):
        return UNUSED
    if found := re.fullmatch(r"input_layer\.([0-2])\.(\w+)", name):
        return f"stem.{found[1]}.{found[2]}"
    if not (found := re.fullmatch(r"body([1-4]?)\.(\d+)\.(res|shortcut)_layer\.(\d)\.(\w+)", name)):
        return None
    stage, block = (int(found[1]) - 1, int(found[2])) if found[1] else stage_of(int(found[2]))
    if stage >= 3:
        return UNUSED
    branch = "residual" if found[3] == "res" else "shortcut"
    return f"stages.{stage}.{block}.{branch}.{found[4]}.{found[5]}"


def stage_of(block: int) -> tuple[int, int]:
    """Returns the stage of a block in a flat body, and the position of the block in the stage."""
    for stage, depth in enumerate(IR50_DEPTHS):
        if block < depth:
            return stage, block
        block -= depth
    return len(IR50_DEPTHS), block


def landmark_name(name: str) -> str | None:
    """Returns the name below ``encoder.landmarks`` of a MobileFaceNet tensor, ``UNUSED``, or None if it is unknown."""
    if name.startswith("output_layer."):
        return UNUSED
    if found := re.fullmatch(r"(conv1|conv2_dw|conv_6_sep)\.(conv|bn|prelu)\.(\w+)", name):
        return f"{LANDMARK_STEM[found[1]]}.{LAYERS[found[2]]}.{found[3]}"
    unit = r"(conv|conv_dw|project)\.(conv|bn|prelu)\.(\w+)"
    if found := re.fullmatch(rf"(conv_23|conv_34|conv_45)\.{unit}", name):
        place = f"levels.{LANDMARK_FIRST[found[1]]}.0"
    elif found := re.fullmatch(rf"(conv_[345])\.model\.(?P<i>\d+)\.{unit}", name):
        place = f"levels.{LANDMARK_REST[found[1]]}.{int(found['i']) + 1}"
    else:
        return None
    part, layer, leaf = found.groups()[-3:]
    return f"{place}.{next(ours for ours, public in PARTS.items() if public == part)}.{LAYERS[layer]}.{leaf}"


def poster_name(name: str) -> str | None:
    """Returns the name of a tensor of a whole POSTER++ checkpoint, ``UNUSED``, or None if it is unknown."""
    for prefix, ours, inner in (
        ("ir_back.", IMAGE, image_name),
        ("face_landback.", LANDMARKS, landmark_name),
    ):
        if name.startswith(prefix):
            return below(ours, inner)(name.removeprefix(prefix))
    if DEAD.match(name):
        return UNUSED
    if found := re.fullmatch(r"VIT\.head\.linear\.(weight|bias)", name):
        return f"head.classify.{found[1]}"
    return below(ENCODER, fusion_name)(name)


def pyramid_name(name: str) -> str | None:
    """Returns the name of a tensor of a whole POSTER checkpoint, ``UNUSED``, or None if it is unknown."""
    for prefix, ours, inner in (
        ("ir_back.", IMAGE, image_name),
        ("face_landback.", LANDMARKS, landmark_name),
    ):
        if name.startswith(prefix):
            return below(ours, inner)(name.removeprefix(prefix))
    if name == "pyramid_fuse.cls_token":
        return UNUSED
    if found := re.fullmatch(r"head\.linear\.(weight|bias)", name):
        return f"head.classify.{found[1]}"
    return below(ENCODER, pyramid_part_name)(name)


def pyramid_part_name(name: str) -> str | None:
    """Returns the name below ``encoder`` of a tensor of POSTER outside of its backbones, or None if it is unknown."""
    stem, _, leaf = name.rpartition(".")
    if name == "pyramid_fuse.pos_embed":
        return "position"
    if stem in PYRAMID_SINGLE:
        return f"{PYRAMID_SINGLE[stem]}.{leaf}"
    if found := re.fullmatch(r"pyramid_fuse\.blocks\.(\d+)\.upsample_([ms])", stem):
        own = {"weight": "spread.weight", "bias": "bias"}.get(leaf, leaf)
        return f"blocks.{found[1]}.widen.{'ms'.index(found[2])}.{own}"
    layers = "|".join(map(re.escape, PYRAMID_LAYERS))
    if found := re.fullmatch(rf"pyramid_fuse\.blocks\.(\d+)\.block_([lms])\.({layers})", stem):
        return f"blocks.{found[1]}.levels.{'lms'.index(found[2])}.{PYRAMID_LAYERS[found[3]]}.{leaf}"
    return None


def pyramid_tensor(name: str, tensor: Tensor) -> Tensor:
    """Returns a tensor of POSTER in the form of ours, whose convolutions along the features are linear layers.

    Args:
        name: Its name in our model.
        tensor: The published tensor.
    """
    if re.search(r"\.(narrow\.\d|mix)\.weight$", name):
        return tensor.flatten(1)  # [P, P, kernel]
    if re.search(r"\.widen\.\d\.spread\.weight$", name):
        return tensor.permute(1, 2, 0).flatten(0, 1)  # [P in, P out, kernel], which is transposed
    return tensor[:, None] if re.search(r"\.widen\.\d\.bias$", name) else tensor


def fusion_name(name: str) -> str | None:
    """Returns the name below ``encoder`` of a tensor of POSTER++ outside of its backbones, or None if it is unknown."""
    stem, _, leaf = name.rpartition(".")
    if name in SINGLE:
        return SINGLE[name]
    if stem in SINGLE:
        return f"{SINGLE[stem]}.{leaf}"
    if found := re.fullmatch(r"conv([123])", stem):
        return f"reduce.{int(found[1]) - 1}.0.{leaf}"
    if found := re.fullmatch(r"attn([123])\.relative_position_bias_table", name):
        return f"levels.{int(found[1]) - 1}.attention.position.table"
    if found := re.fullmatch(r"ffn([123])\.(gamma[12])", name):
        return f"levels.{int(found[1]) - 1}.{LEVEL[found[2]]}"
    if found := re.fullmatch(r"ffn([123])\.norm", stem):
        return f"levels.{int(found[1]) - 1}.norm_mlp.{leaf}"
    if found := re.fullmatch(r"(?:window|attn|ffn)([123])\.(norm|qkv|proj|mlp\.fc[12])", stem):
        return f"levels.{int(found[1]) - 1}.{LEVEL[found[2]]}.{leaf}"
    if found := re.fullmatch(r"VIT\.blocks\.(\d+)\.(norm[12]|attn\.(?:qkv|proj)|mlp\.fc[12])", stem):
        return f"fusion.{found[1]}.{FUSION[found[2]]}.{leaf}"
    return None


def below(prefix: str, rename: Callable[[str], str | None]) -> Callable[[str], str | None]:
    """Returns a function that puts ``prefix`` in front of the names that ``rename`` returns."""

    def renamed(name: str) -> str | None:
        answer = rename(name)
        return f"{prefix}{answer}" if answer else answer

    return renamed
