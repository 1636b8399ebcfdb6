"""LoRAs with the key names of common trainers, and the result of diffusers' converters."""

import json
import pathlib

import torch
from diffusers import WanTransformer3DModel
from diffusers.loaders.lora_conversion_utils import (
    _convert_musubi_wan_lora_to_diffusers,
    _convert_non_diffusers_wan_lora_to_diffusers,
)
from diffusers.loaders.lora_pipeline import WanLoraLoaderMixin
from safetensors import safe_open

from . import lora_kinds
from .case import Case, generator, normal
from .transformer import context, diffusers_model

WRITTEN = pathlib.Path(__file__).resolve().parent.parent / "lora_written"

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


def trained():
    """What diffusers computes with the LoRA files that Swan writes (`lora_written/`)."""
    with safe_open(WRITTEN.parent / "wan_t2v_a.safetensors", "pt") as file:
        config = json.loads(file.metadata()["config"])
        weights = {
            key.split("/", 1)[1]: file.get_tensor(key)
            for key in file.keys() if key.startswith("weights_diffusers/")
        }
    seed = 7002
    rng = generator(seed)
    x = normal(rng, 2, config["in_dim"], 3, 6, 10)
    _, padded = context(rng, config, [12, 5])
    # Both projects' sinusoids are exact for such small timesteps.
    timestep = torch.tensor([1, 3])
    case = Case(
        name="lora_trained",
        reference="diffusers WanLoraLoaderMixin, PEFT",
        seed=seed,
        config=config,
        tolerance={"absolute": 1e-5, "relative": 1e-5},
        notes=[
            "For the transformer of wan_t2v_a. lora_written/*.safetensors are files that Swan wrote "
            "(the test of LoRA formats writes them again, byte for byte); output/<format> is the "
            "flow with that file loaded by diffusers, output/plain without one.",
        ],
    )
    case.add("input", {"video": x, "timestep": timestep, "context": padded})

    def flow(model):
        return model(x, timestep, padded, return_dict=False)[0]

    outputs = {"plain": flow(diffusers_model(config, weights))}
    for name in ["peft", "comfyui", "musubi"]:
        model = diffusers_model(config, weights, WanTransformer3DModel)
        state, metadata = WanLoraLoaderMixin.lora_state_dict(
            str(WRITTEN / f"{name}.safetensors"), return_lora_metadata=True)
        WanLoraLoaderMixin.load_lora_into_transformer(state, model, metadata=metadata)
        outputs[name] = flow(model)
        change = (outputs[name] - outputs["plain"]).abs().max().item()
        assert change > 0.01, (name, change)
    # The file for musubi-tuner has blocks alone.
    case.agree("comfyui and peft", outputs["comfyui"], outputs["peft"], 1e-5)
    case.add("output", outputs)
    return case


def cases():
    yield names()
    yield trained()
    yield lora_kinds.peft(WRITTEN.parent)
    yield lora_kinds.lycoris(WRITTEN.parent)
