"""Wan's transformer with image tokens in its cross-attention: one image, or a first and a last."""

import torch

from . import original
from .case import Case, generator, normal, randomize
from .reference import WanModel, convert_wan_transformer_to_diffusers
from .transformer import context, diffusers_model, model_config

TEXT_LEN = 512  # diffusers and Wan treat all but the last 512 tokens as image tokens.
TOLERANCE = {"absolute": 1e-5, "relative": 1e-5}


def with_wans_sinusoid(model):
    """Computes the timestep embedding in float64, as Wan and Swan do; diffusers uses float32."""
    width = model.condition_embedder.timesteps_proj.num_channels

    def sinusoid(timestep):
        half = width // 2
        exponent = -torch.arange(half, dtype=torch.float64) / half
        angles = timestep.double().unsqueeze(1) * 10000.0 ** exponent
        return torch.cat([angles.cos(), angles.sin()], dim=1).float()

    model.condition_embedder.timesteps_proj.forward = sinusoid
    return model


def case(name, seed, images, size, lengths, timestep, image_dim, scales=(1, 1), **changes):
    """`scales` shrinks the inputs of the two norms of the image tokens, so that their eps matters."""
    config = model_config(text_len=TEXT_LEN, model_type="i2v", **changes)
    positions = 514 if images == 2 else None
    rng = generator(seed)
    model = WanModel(**config)
    model.img_emb = type(model.img_emb)(image_dim, config["dim"])
    randomize(model, rng)
    for parameter in model.img_emb.proj[3].parameters():
        parameter.mul_(scales[1])
    weights = dict(model.state_dict())
    if positions:
        weights["img_emb.emb_pos"] = normal(rng, 1, positions, image_dim, scale=0.5)
    converted = convert_wan_transformer_to_diffusers(dict(weights))
    if positions:
        converted["condition_embedder.image_embedder.pos_embed"] = converted.pop("img_emb.emb_pos")
    x = normal(rng, len(lengths), config["in_dim"], *size)
    texts, padded = context(rng, config, lengths)
    image = normal(rng, len(lengths) * images, 257, image_dim, scale=scales[0])
    result = Case(
        name=name,
        reference="diffusers WanTransformer3DModel; Wan2.1 wan/modules/model.py"
        + ("; streamdiffusionv2 WanModel" if images == 1 else ""),
        seed=seed,
        config={
            **config,
            "model_type": "i2v" if images == 1 else "flf2v",
            "image_dim": image_dim,
            "pos_embed_seq_len": positions,
        },
        tolerance=TOLERANCE,
        notes=[
            "image holds what the image encoder makes of each image, [B * images, 257, image_dim]; "
            "the two of a video follow each other.",
            "context is padded with zeros to its longest row; the reference sees it padded to "
            "text_len.",
            "The sinusoid of a timestep is Wan's, in float64, also where diffusers computes the "
            "rest.",
            "Wan2.1 at its published state agrees; a run with SWAN_WAN21 set to a checkout checks "
            "that.",
        ],
    )
    peer = with_wans_sinusoid(diffusers_model(
        config, converted, image_dim=image_dim, added_kv_proj_dim=config["dim"],
        pos_embed_seq_len=positions))
    output = peer(x, timestep, padded, image, return_dict=False)[0]
    other = peer(x, timestep, padded, -image, return_dict=False)[0]
    assert (other - output).abs().max() > 0.1, "the image does not matter"
    # Wan's models concatenate the noisy latents and the condition themselves.
    arguments = dict(
        x=[row[:config["out_dim"]] for row in x],
        y=[row[config["out_dim"]:] for row in x],
        t=timestep, context=texts, clip_fea=image,
        seq_len=size[0] * (size[1] // 2) * (size[2] // 2),
    )
    if images == 1:
        result.agree("WanTransformer3DModel and WanModel", output, model(**arguments), 1e-5)
    if module := original.module("modules.model"):
        own = module.WanModel(**{**config, "model_type": result.config["model_type"]})
        own.img_emb = module.MLPProj(image_dim, config["dim"])
        if positions:
            own.img_emb.emb_pos = torch.nn.Parameter(torch.zeros(1, positions, image_dim))
        own.load_state_dict(weights, strict=True)
        result.agree(
            "WanTransformer3DModel and Wan2.1", output, torch.stack(own.eval()(**arguments)), 1e-5)
    result.add("weights", weights)
    result.add("input", {
        "video": x, "timestep": timestep, "context": padded[:, :max(lengths)], "image": image})
    result.add("output", {"video": output})
    print(f"  {name}: output std {output.std():.2f}")
    return result


def cases():
    yield case(
        "wan_i2v", 2201, 1, (3, 6, 10), [12, 5], torch.tensor([999, 250]), 32,
        scales=(1, 0.01), in_dim=9)
    yield case(
        "wan_i2v_36", 2202, 1, (2, 10, 6), [17], torch.tensor([731]), 24, scales=(0.01, 1),
        in_dim=36, out_dim=16, dim=40, ffn_dim=80)
    yield case(
        "wan_flf2v", 2203, 2, (3, 6, 6), [3, 9], torch.tensor([500, 13]), 32, in_dim=9)
