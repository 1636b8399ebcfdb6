"""Wan's transformer: bidirectional, per-token timesteps, and the block-causal training form."""

import contextlib
import io

import torch

from .case import Case, generator, normal, randomize
from .reference import (
    CausalWanModel,
    WanModel,
    WanTransformer3DModel,
    convert_wan_transformer_to_diffusers,
)

TOLERANCE = {"absolute": 1e-4, "relative": 1e-4}


def model_config(**changes):
    """A small configuration with the reference's names; head size 24 splits into 8 + 8 + 8."""
    config = dict(
        model_type="t2v", patch_size=(1, 2, 2), text_len=12, in_dim=4, dim=48, ffn_dim=96,
        freq_dim=32, text_dim=20, out_dim=4, num_heads=2, num_layers=2, window_size=(-1, -1),
        qk_norm=True, cross_attn_norm=True, eps=1e-6,
    )
    config.update(changes)
    return config


def context(rng, config, lengths):
    """Text embeddings of the given lengths, as a list and padded with zeros to text_len."""
    texts = [normal(rng, length, config["text_dim"]) for length in lengths]
    padded = torch.zeros(len(lengths), config["text_len"], config["text_dim"])
    for row, text in enumerate(texts):
        padded[row, :text.shape[0]] = text
    return texts, padded


def diffusers_model(config, weights, kind=WanTransformer3DModel, **more):
    """diffusers' transformer of the same configuration, with weights in diffusers' keys.

    `more` are further arguments that a `kind` or image tokens need.
    """
    model = kind(
        patch_size=config["patch_size"],
        num_attention_heads=config["num_heads"],
        attention_head_dim=config["dim"] // config["num_heads"],
        in_channels=config["in_dim"],
        out_channels=config["out_dim"],
        text_dim=config["text_dim"],
        freq_dim=config["freq_dim"],
        ffn_dim=config["ffn_dim"],
        num_layers=config["num_layers"],
        cross_attn_norm=config["cross_attn_norm"],
        eps=config["eps"],
        **more,
    )
    model.load_state_dict(weights, strict=True)
    return model.eval()


def bidirectional(name, seed, frames, height, width, lengths, timestep, **changes):
    config = model_config(**changes)
    rng = generator(seed)
    model = randomize(WanModel(**config), rng)
    weights = dict(model.state_dict())
    renamed = convert_wan_transformer_to_diffusers(dict(weights))
    x = normal(rng, len(lengths), config["in_dim"], frames, height, width)
    texts, padded = context(rng, config, lengths)
    tokens = frames * (height // 2) * (width // 2)

    case = Case(
        name=name,
        reference="streamdiffusionv2 WanModel; diffusers WanTransformer3DModel",
        seed=seed,
        config=config,
        tolerance=TOLERANCE,
        notes=[
            "video is [B, C, F, H, W]. Text is padded with zeros to text_len before the text "
            "embedding, and attention sees all text_len positions, padding included.",
            "The sinusoid of a timestep is computed in float64 by Wan's code and in float32 by "
            "diffusers; output/video is Wan's, output/video_diffusers is diffusers' own.",
            "RoPE rotates in float64 and rounds back; head size d splits into frame, row, column "
            "parts of d - 4*(d//6), 2*(d//6), 2*(d//6).",
        ],
    )
    case.add("weights", weights)
    case.add("weights_diffusers", renamed)
    case.add("input", {
        "video": x,
        "timestep": timestep,
        "context": padded,
        "context_lengths": torch.tensor(lengths),
    })
    output = model(list(x), t=timestep, context=texts, seq_len=tokens)
    peer = diffusers_model(config, renamed)(x, timestep, padded, return_dict=False)[0]
    case.add("output", {"video": output, "video_diffusers": peer})
    case.agree("WanModel and WanTransformer3DModel", output, peer, 2e-3)
    print(f"  {name}: output std {output.std():.2f}")
    return case


def per_token():
    """Wan2.2 TI2V-5B: the first frame is given (timestep 0), the others are at t."""
    name, seed = "wan_ti2v_per_token", 2003
    config = model_config(in_dim=6, out_dim=6, dim=36, num_heads=3, ffn_dim=80)
    rng = generator(seed)
    model = randomize(WanModel(**config), rng)
    weights = dict(model.state_dict())
    renamed = convert_wan_transformer_to_diffusers(dict(weights))
    x = normal(rng, 2, config["in_dim"], 3, 6, 10)
    _, padded = context(rng, config, [12, 5])
    tokens_per_frame = 3 * 5
    timestep = torch.tensor([[837.0] * 3, [421.0] * 3])
    timestep[:, 0] = 0
    timestep = timestep.repeat_interleave(tokens_per_frame, dim=1)
    case = Case(
        name=name,
        reference="diffusers WanTransformer3DModel",
        seed=seed,
        config=config,
        tolerance={"absolute": 1e-3, "relative": 1e-3},
        notes=[
            "timestep is [B, L], one per token; modulation and head are then per token.",
            "Only diffusers computes this here, with its float32 sinusoid; uniform rows agree with "
            "the per-sample form, which is checked at generation.",
        ],
    )
    peer = diffusers_model(config, renamed)
    output = peer(x, timestep, padded, return_dict=False)[0]
    uniform = torch.tensor([[837.0], [421.0]]).repeat(1, timestep.shape[1])
    case.agree(
        "uniform per-token and per-sample timesteps",
        peer(x, uniform, padded, return_dict=False)[0],
        peer(x, uniform[:, 0], padded, return_dict=False)[0],
        1e-5,
    )
    case.add("weights", weights)
    case.add("weights_diffusers", renamed)
    case.add("input", {"video": x, "timestep": timestep, "context": padded})
    case.add("output", {"video_diffusers": output})
    return case


def causal_training(name, seed, block, frames, height, width, lengths, timestep, **changes):
    config = model_config(**changes)
    rng = generator(seed)
    model = randomize(CausalWanModel(**config), rng)
    model.num_frame_per_block = block
    x = normal(rng, len(lengths), config["in_dim"], frames, height, width)
    texts, padded = context(rng, config, lengths)
    tokens = frames * (height // 2) * (width // 2)
    assert frames % block == 0, "a short last block attends to the reference's padding"
    assert tokens % 128 != 0, "the reference returns nothing when no padding is needed"
    case = Case(
        name=name,
        reference="streamdiffusionv2 CausalWanModel, training form",
        seed=seed,
        config={**config, "num_frame_per_block": block},
        tolerance=TOLERANCE,
        notes=[
            "video is [B, C, F, H, W], timestep [B, F]: modulation and head are per frame.",
            "A token attends to every token before the end of its own block of "
            "num_frame_per_block frames.",
            "The reference pads tokens to a multiple of 128 for flex attention. The padding does "
            "not reach the output as long as frames are a multiple of the block: a short last "
            "block would also attend to zero keys of the padding. A token count that is a multiple "
            "of 128 fails there.",
        ],
    )
    case.add("weights", dict(model.state_dict()))
    case.add("input", {
        "video": x,
        "timestep": timestep,
        "context": padded,
        "context_lengths": torch.tensor(lengths),
    })
    with contextlib.redirect_stdout(io.StringIO()):
        output = model(x, t=timestep, context=texts, seq_len=tokens)
    case.add("output", {"video": output})
    # Frames of the first block must not depend on later ones.
    changed = x.clone()
    changed[:, :, block:] += 1
    with contextlib.redirect_stdout(io.StringIO()):
        other = model(changed, t=timestep, context=texts, seq_len=tokens)
    case.agree("first block, later frames changed", output[:, :, :block], other[:, :, :block], 1e-5)
    assert (output - other).abs().max() > 0.1
    print(f"  {name}: output std {output.std():.2f}")
    return case


def cases():
    yield causal_training(
        "causal_wan_train_a", 2101, 1, 5, 6, 10, [7, 12],
        torch.tensor([[999, 757, 500, 33, 0], [12, 345, 678, 901, 250]]))
    yield causal_training(
        "causal_wan_train_b", 2102, 3, 6, 6, 6, [3, 9],
        torch.tensor([[700.0] * 3 + [522.25] * 3, [88.0] * 3 + [999.0, 13.5, 400.5]]),
        dim=32, num_heads=1, ffn_dim=80, in_dim=6)
    yield causal_training(
        "causal_wan_train_c", 2103, 2, 4, 4, 6, [1, 12],
        torch.tensor([[300, 300, 200, 200], [900, 900, 800, 800]]),
        qk_norm=False, cross_attn_norm=False, num_heads=3, num_layers=3, eps=1e-5)
    yield bidirectional(
        "wan_t2v_a", 2001, 3, 6, 10, [12, 5], torch.tensor([999, 250]))
    yield bidirectional(
        "wan_t2v_b", 2002, 2, 10, 6, [4, 8], torch.tensor([731.5, 0.0]),
        dim=40, num_heads=2, ffn_dim=80, in_dim=6, out_dim=4)
    yield per_token()
