"""Wan's video autoencoders: 2.1 whole, streaming and in tiles, 2.2 (residual, patched) whole."""

import re
from unittest.mock import patch

import torch

from .case import Case, generator, normal, randomize
from .reference import AutoencoderKLWan, WanVAE_, convert_wan_vae_to_diffusers, wan_wrapper

TOLERANCE = {"absolute": 2e-4, "relative": 2e-4}
PARTS = [
    (".residual.0.", ".norm1."), (".residual.2.", ".conv1."), (".residual.3.", ".norm2."),
    (".residual.6.", ".conv2."), (".shortcut.", ".conv_shortcut."),
    ("coder.middle.0.", "coder.mid_block.resnets.0."),
    ("coder.middle.1.", "coder.mid_block.attentions.0."),
    ("coder.middle.2.", "coder.mid_block.resnets.1."),
    ("coder.head.0.", "coder.norm_out."), ("coder.head.2.", "coder.conv_out."),
    ("coder.conv1.", "coder.conv_in."),
]


def diffusers_key(key, res_blocks, residual):
    """Converts an original VAE key to diffusers' key; 2.1 has a flat list of blocks, 2.2 nests them."""
    if key.startswith("conv1."):
        return key.replace("conv1.", "quant_conv.")
    if key.startswith("conv2."):
        return key.replace("conv2.", "post_quant_conv.")
    for original, ours in PARTS:
        key = key.replace(original, ours)
    if residual:
        match = re.match(r"(encoder\.down|decoder\.up)samples\.(\d+)\.\w+samples\.(\d+)\.", key)
        if match:
            side, block, layer = match[1], match[2], int(match[3])
            last = res_blocks if side == "encoder.down" else res_blocks + 1
            inner = f"resnets.{layer}." if layer < last else f"{side[8:]}sampler."
            key = f"{side}_blocks.{block}.{inner}" + key[match.end():]
        return key
    match = re.match(r"decoder\.upsamples\.(\d+)\.", key)
    if match:
        block, layer = divmod(int(match[1]), res_blocks + 2)
        inner = f"resnets.{layer}." if layer <= res_blocks else "upsamplers.0."
        return f"decoder.up_blocks.{block}.{inner}" + key[match.end():]
    return key.replace("encoder.downsamples.", "encoder.down_blocks.")


def original_key(key, res_blocks):
    """Converts a diffusers key of the residual (2.2) autoencoder to the original key."""
    key = key.replace("post_quant_conv.", "conv2.").replace("quant_conv.", "conv1.")
    for original, ours in PARTS:
        key = key.replace(ours, original)
    for side, last in (("down", res_blocks), ("up", res_blocks + 1)):
        key = re.sub(rf"\.{side}_blocks\.(\d+)\.resnets\.(\d+)\.",
                     rf".{side}samples.\1.{side}samples.\2.", key)
        key = re.sub(rf"\.{side}_blocks\.(\d+)\.{side}sampler\.",
                     rf".{side}samples.\1.{side}samples.{last}.", key)
    return key


def diffusers_decode_unclamped(model, latents):
    """diffusers' decode without its final clamp to [-1, 1]."""
    with patch.object(torch, "clamp", lambda value, min, max: value):
        return model.decode(latents, return_dict=False)[0]


def statistics(rng, channels):
    mean = [round(value, 4) for value in normal(rng, channels, scale=0.5).tolist()]
    std = [round(0.5 + 1.5 * value, 4) for value in torch.rand(channels, generator=rng).tolist()]
    return mean, std


def wan21(name, seed, base_dim, z_dim, dim_mult, res_blocks, sizes, batch):
    rng = generator(seed)
    mean, std = statistics(rng, z_dim)
    shape = dict(
        z_dim=z_dim, dim_mult=dim_mult, num_res_blocks=res_blocks, attn_scales=[],
        temperal_downsample=[False, True, True],
    )
    original = randomize(WanVAE_(dim=base_dim, **shape), rng)
    config = dict(base_dim=base_dim, latents_mean=mean, latents_std=std, **shape)
    peer = AutoencoderKLWan(**config).eval()
    weights = dict(original.state_dict())
    renamed = {diffusers_key(key, res_blocks, False): value for key, value in weights.items()}
    if res_blocks == 2:
        converted = convert_wan_vae_to_diffusers(dict(weights))
        assert converted.keys() == renamed.keys()
        assert all(torch.equal(converted[key], renamed[key]) for key in renamed)
    peer.load_state_dict(renamed, strict=True)

    case = Case(
        name=name,
        reference="diffusers AutoencoderKLWan; streamdiffusionv2 WanVAE_ and WanVAEWrapper",
        seed=seed,
        config=config,
        tolerance=TOLERANCE,
        notes=[
            "video_T is [B, 3, T, H, W] in [-1, 1]; mean_T and logvar_T are the whole encode's, "
            "not normalised; decoded_T is the whole decode of latents_T (not normalised either), "
            "clamped to [-1, 1].",
            "normalized_T = (mean - latents_mean) / latents_std, as Wan's own encode returns.",
            "Whole encode and decode are themselves chunked: frames 1, 4, 4, ... and latents one "
            "by one, with two frames of cache per causal convolution.",
            "Streaming keeps the caches between calls. First call: frames (latents) 1 and then all "
            "the rest at once, so it needs at least 5 frames (2 latents); later calls: 4 frames (1 "
            "latent) at a time. The result equals the whole's.",
            "The temporal upsampling convolution is skipped for the first latent, starts from "
            "zeros at the second, and uses its cache from then on; the downsampling one passes the "
            "first frame through and keeps the last frame of each chunk.",
            "stream_encode is by default NOT normalised (the streaming pipeline feeds the raw mean "
            "to the transformer), while stream_decode takes normalised latents: "
            "z*latents_std + latents_mean comes first. stream_encoded is the raw one, "
            "stream_encoded_normalized the other; stream_decoded is not clamped, the reference's "
            "wrapper then clamps to [-1, 1] (and runs in bfloat16, unlike here).",
        ],
    )
    case.add("weights", weights)
    if res_blocks == 2:
        case.add("weights_diffusers", renamed)
    identity = [torch.zeros(z_dim), torch.ones(z_dim)]
    scale = [torch.tensor(mean), 1.0 / torch.tensor(std)]
    for count, (height, width) in sizes.items():
        video = normal(rng, batch, 3, count, height, width, scale=0.5).clamp(-1, 1)
        latents = normal(rng, batch, z_dim, 1 + (count - 1) // 4, height // 8, width // 8)
        posterior = peer.encode(video).latent_dist
        raw = diffusers_decode_unclamped(peer, latents)
        normalized = original.encode(video, scale)
        case.agree(f"encode {count}", posterior.mean, original.encode(video, identity), 2e-4)
        case.agree(f"decode {count}", raw, original.decode(latents, identity), 2e-4)
        case.add("input", {f"video_{count}": video, f"latents_{count}": latents})
        case.add("output", {
            f"mean_{count}": posterior.mean,
            f"logvar_{count}": posterior.logvar,
            f"normalized_{count}": normalized,
            f"decoded_{count}": raw.clamp(-1, 1),
        })
    print(f"  {name}: mean std {posterior.mean.std():.2f}, pixels std {raw.std():.2f}")

    if batch == 1:
        stream(case, original, scale, video, normalized)
    return case


def stream(case, model, scale, video, normalized):
    """Streams the last video with both chunk sizes: blocks of one latent and of three."""
    wrapper = wan_wrapper.WanVAEWrapper.__new__(wan_wrapper.WanVAEWrapper)
    torch.nn.Module.__init__(wrapper)
    wrapper.model, wrapper.mean, wrapper.std = model, scale[0], torch.tensor(
        case.config["latents_std"])
    whole = model.decode(normalized, scale)
    for name, chunks in (("block1", [5, 4, 4, 4]), ("block3", [13, 4])):
        latents, pixels = [], []
        for scaled in (False, True):
            model.first_encode, start, encoded = True, 0, []
            for count in chunks:
                encoded.append(
                    wrapper.stream_encode(video[:, :, start:start + count], is_scale=scaled))
                start += count
            latents.append(torch.cat(encoded, 2))
        model.first_decode, start = True, 0
        for count in [part.shape[2] for part in encoded]:
            pixels.append(model.stream_decode(normalized[:, :, start:start + count], scale))
            start += count
        pixels = torch.cat(pixels, 2)
        case.agree(f"{name} streamed and whole encode", latents[1], normalized, 1e-4)
        case.agree(f"{name} streamed and whole decode", pixels, whole, 1e-4)
        if name == "block1":
            case.add("output", {
                "stream_encoded": latents[0],
                "stream_encoded_normalized": latents[1],
                "stream_decoded": pixels,
            })
    case.config["stream"] = {
        "video": f"video_{video.shape[2]}",
        "latents": f"normalized_{video.shape[2]}",
        "frame_chunks": [[5, 4, 4, 4], [13, 4]],
        "latent_chunks": [[2, 1, 1, 1], [4, 1]],
    }


def wan22(name, seed, res_blocks):
    rng = generator(seed)
    z_dim, sizes = 6, {1: (32, 48), 5: (32, 48), 9: (16, 32)}
    mean, std = statistics(rng, z_dim)
    config = dict(
        base_dim=4, decoder_base_dim=6, z_dim=z_dim, dim_mult=[1, 2, 2, 2],
        num_res_blocks=res_blocks, attn_scales=[], temperal_downsample=[False, True, True],
        latents_mean=mean, latents_std=std, is_residual=True, in_channels=12, out_channels=12,
        patch_size=2, scale_factor_temporal=4, scale_factor_spatial=16,
    )
    model = randomize(AutoencoderKLWan(**config), rng)
    case = Case(
        name=name,
        reference="diffusers AutoencoderKLWan (is_residual)",
        seed=seed,
        config=config,
        tolerance=TOLERANCE,
        notes=[
            "video_T is [B, 3, T, H, W]; names as in wan_vae21_a; decoded_raw_T is not clamped. "
            "H and W are multiples of 16.",
            "`weights/` are the keys of Wan2.2_VAE.pth, nested downsamples.N.downsamples.M and "
            "upsamples.N.upsamples.M, derived from diffusers' keys: a block's resampler comes "
            "after its num_res_blocks (encoder) or num_res_blocks + 1 (decoder) residual blocks. "
            "The original's code is in no package, so no run of it confirms them; the published "
            "size has 196 keys under this renaming, as the published file does.",
            "Patches: pixel (2h + i, 2w + j) of channel c goes to channel c*4 + j*2 + i at (h, w), "
            "before the encoder; the decoder's output is put back the same way.",
        ],
    )
    renamed = {original_key(key, res_blocks): value for key, value in model.state_dict().items()}
    assert {diffusers_key(key, res_blocks, True) for key in renamed} == model.state_dict().keys()
    case.add("weights", renamed)
    case.add("weights_diffusers", dict(model.state_dict()))
    for count, (height, width) in sizes.items():
        video = normal(rng, 1, 3, count, height, width, scale=0.5).clamp(-1, 1)
        latents = normal(rng, 1, z_dim, 1 + (count - 1) // 4, height // 16, width // 16)
        posterior = model.encode(video).latent_dist
        raw = diffusers_decode_unclamped(model, latents)
        decoded = model.decode(latents, return_dict=False)[0]
        case.agree(f"decode {count}, clamped and raw", raw.clamp(-1, 1), decoded, 0)
        case.add("input", {f"video_{count}": video, f"latents_{count}": latents})
        case.add("output", {
            f"mean_{count}": posterior.mean,
            f"logvar_{count}": posterior.logvar,
            f"decoded_{count}": decoded,
        })
        if count == 9:
            case.add("output", {f"decoded_raw_{count}": raw})
    print(f"  {name}: mean std {posterior.mean.std():.2f}, pixels std {raw.std():.2f}")
    return case


def tiled(name, seed, sizes):
    """Tiles of 4x4 latents, 3 apart, of Wan 2.1's autoencoder."""
    rng = generator(seed)
    mean, std = statistics(rng, 4)
    config = dict(
        base_dim=4, z_dim=4, dim_mult=[1, 1, 1, 2], num_res_blocks=1, attn_scales=[],
        temperal_downsample=[False, True, True], latents_mean=mean, latents_std=std,
    )
    model = randomize(AutoencoderKLWan(**config), rng)
    # Pixels stay within [-1, 1], so it does not matter when they are clamped.
    model.decoder.conv_out.weight *= 0.2
    case = Case(
        name=name,
        reference="diffusers AutoencoderKLWan with tiling",
        seed=seed,
        config=config,
        tolerance=TOLERANCE,
        notes=[
            "Tiles of 32x32 pixels, 24 apart. mean_HxW is of video_HxW and not normalised, decoded_HxW "
            "of latents_HxW.",
            "The sizes have no tile that lies within the one before it.",
        ],
    )
    case.add("weights_diffusers", dict(model.state_dict()))
    for height, width in sizes:
        label = f"{height}x{width}"
        video = normal(rng, 1, 3, 5, height, width, scale=0.5).clamp(-1, 1)
        latents = normal(rng, 1, 4, 2, height // 8, width // 8)
        model.use_tiling = False
        whole = model.decode(latents, return_dict=False)[0]
        model.enable_tiling(32, 32, 24, 24)
        decoded = model.decode(latents, return_dict=False)[0]
        assert decoded.abs().max() < 1 and (decoded - whole).abs().max() > 1e-3
        case.add("input", {f"video_{label}": video, f"latents_{label}": latents})
        case.add("output", {
            f"mean_{label}": model.encode(video).latent_dist.mean,
            f"decoded_{label}": decoded,
        })
    return case


def check_published_keys():
    """Checks that renaming gives as many tensors as the published Wan2.2 file has."""
    with torch.device("meta"):
        model = AutoencoderKLWan(
            base_dim=160, decoder_base_dim=256, z_dim=48, is_residual=True, in_channels=12,
            out_channels=12, patch_size=2, latents_mean=[0.0] * 48, latents_std=[1.0] * 48,
            scale_factor_spatial=16)
    keys = {original_key(key, 2) for key in model.state_dict()}
    assert len(keys) == 196, len(keys)


def cases():
    check_published_keys()
    sizes = {1: (24, 40), 5: (24, 40), 9: (16, 24), 17: (16, 24)}
    yield wan21("wan_vae21_a", 4001, 4, 4, [1, 2, 4, 4], 2, sizes, batch=1)
    yield wan21("wan_vae21_b", 4002, 4, 16, [1, 2, 2, 2], 1, {5: (16, 24), 9: (8, 16)}, batch=2)
    yield wan22("wan_vae22", 4101, 2)
    yield tiled("wan_vae21_tiled", 4003, [(40, 64), (24, 40)])
