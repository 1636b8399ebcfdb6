"""LoRAs with the key names of common trainers, and the result of diffusers' converters."""

import torch
from diffusers.loaders.lora_conversion_utils import (
    _convert_musubi_wan_lora_to_diffusers,
    _convert_non_diffusers_wan_lora_to_diffusers,
)

from .case import Case, generator, normal

DIM, FFN, TEXT, FREQ, OUT, LAYERS, RANK = 48, 96, 20, 32, 16, 2, 2

BLOCK = {
    **{f"{attention}.{name}": (DIM, DIM)
       for attention in ("self_attn", "cross_attn") for name in "qkvo"},
    "ffn.0": (DIM, FFN),
    "ffn.2": (FFN, DIM),
}
ROOT = {
    "time_projection.1": (DIM, 6 * DIM), "head.head": (DIM, OUT),
    "text_embedding.0": (TEXT, DIM), "text_embedding.2": (DIM, DIM),
    "time_embedding.0": (FREQ, DIM), "time_embedding.2": (DIM, DIM),
}


def comfy(rng):
    """Wan's names under `diffusion_model.`, with alphas for the blocks and bias differences."""
    keys = {}
    for block in range(LAYERS):
        for name, (inputs, outputs) in BLOCK.items():
            path = f"diffusion_model.blocks.{block}.{name}"
            keys[f"{path}.lora_down.weight"] = normal(rng, RANK, inputs)
            keys[f"{path}.lora_up.weight"] = normal(rng, outputs, RANK)
            keys[f"{path}.alpha"] = torch.tensor(1.0 + block)
            if name.startswith("ffn"):
                keys[f"{path}.diff_b"] = normal(rng, outputs)
    for name, (inputs, outputs) in ROOT.items():
        path = f"diffusion_model.{name}"
        keys[f"{path}.lora_down.weight"] = normal(rng, RANK, inputs)
        keys[f"{path}.lora_up.weight"] = normal(rng, outputs, RANK)
        keys[f"{path}.diff_b"] = normal(rng, outputs)
    return keys


def musubi(rng):
    """Underscores instead of dots under `lora_unet_`, an alpha for every layer, blocks only."""
    keys = {}
    for block in range(LAYERS):
        for name, (inputs, outputs) in BLOCK.items():
            path = f"lora_unet_blocks_{block}_{name.replace('.', '_')}"
            keys[f"{path}.lora_down.weight"] = normal(rng, RANK, inputs)
            keys[f"{path}.lora_up.weight"] = normal(rng, outputs, RANK)
            keys[f"{path}.alpha"] = torch.tensor(0.5 + block)
    return keys


def names():
    seed = 7001
    rng = generator(seed)
    case = Case(
        name="lora_names",
        reference="diffusers lora_conversion_utils",
        seed=seed,
        config={"rank": RANK},
        tolerance={"absolute": 1e-5, "relative": 1e-5},
        notes=[
            "For the transformer of wan_t2v_a. input_comfy/ and input_musubi/ hold the keys of two "
            "LoRAs as trainers write them; output_comfy/ and output_musubi/ what diffusers' own "
            "conversion makes of them: to a weight comes lora_B lora_A, to a bias lora_B.bias.",
        ],
    )
    for name, keys, convert in [
        ("comfy", comfy(rng), _convert_non_diffusers_wan_lora_to_diffusers),
        ("musubi", musubi(rng), _convert_musubi_wan_lora_to_diffusers),
    ]:
        case.add(f"input_{name}", keys)
        case.add(f"output_{name}", convert(dict(keys)))
    return case


def cases():
    yield names()
