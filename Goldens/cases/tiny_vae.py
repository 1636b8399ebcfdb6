"""TAEHV, the tiny autoencoder: for Wan 2.1, for Wan 2.2 with patches, and with the larger decoder.

The original is not published on a registry: set SWAN_TAEHV to a checkout of madebyollin/taehv. Without
it, the files are left unchanged.
"""

import importlib.util
import os
import pathlib
import re

import torch

from .case import Case, generator, normal, randomize

TOLERANCE = {"absolute": 1e-5, "relative": 1e-5}


def narrowed(path, encoder, decoder, larger):
    """The original module with other widths, which are literals there; nothing else changes."""
    source = path.read_text()
    for pattern, text, count in (
        (r"(?<=encoder = nn\.Sequential\()[\s\S]*?\n        \)",
         lambda part: re.sub(r"\b64\b", str(encoder), part[0]), 1),
        (r"n_f = \[256, 128, 64, 64\]", f"n_f = {decoder}", 1),
        (r"n_f = \[512, 256, 128, 64\]", f"n_f = {larger}", 1),
    ):
        source, found = re.subn(pattern, text, source)
        assert found == count, pattern
    spec = importlib.util.spec_from_loader("taehv", loader=None)
    module = importlib.util.module_from_spec(spec)
    exec(compile(source, str(path), "exec"), module.__dict__)
    return module


def weights(model, rng):
    """Random weights that keep the scale of activations; some pixels are outside [0, 1]."""
    randomize(model, rng)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 4:
                parameter *= 0.9
        model.encoder[-1].weight *= 5
        model.decoder[-1].weight *= 2
        model.decoder[-1].bias += 0.5
    return model.eval().requires_grad_(False)


def tiny(taehv, name, seed, patch, latent_channels, sizes, variant=None, grown=False):
    rng = generator(seed)
    shape = dict(patch_size=patch, latent_channels=latent_channels, arch_variant=variant)
    model = weights(taehv.TAEHV(checkpoint_path=None, **shape), rng)
    stored = dict(model.state_dict())
    if grown:
        # In this file, the first temporal step also makes two frames, one of which is dropped for Wan.
        whole = weights(taehv.TAEHV(None, decoder_time_upscale=(True, True, True), **shape), rng)
        stored = dict(whole.state_dict())
        model.load_state_dict(model.patch_tgrow_layers(dict(stored)))
    stride = 8 * patch
    case = Case(
        name=name,
        reference="taehv TAEHV and StreamingTAEHV, at other widths",
        seed=seed,
        config=dict(patch_size=patch, latent_channels=latent_channels),
        tolerance=TOLERANCE,
        notes=[
            "video_T and decoded_T are [B, 3, T, H, W] in [-1, 1]; the reference takes and gives "
            "[0, 1]. latents_T are normalised, as encode_video gives them; noise_T is what "
            "decoded_T was decoded from.",
            "encode_video repeats the last frame up to a multiple of four frames: latent k sees "
            "frames 4k ... 4k + 3 and earlier ones. decode_video drops the first three frames.",
        ],
    )
    case.add("weights", stored)
    for count, (height, width) in sizes.items():
        video = normal(rng, 1, 3, count, height, width, scale=0.5).clamp(-1, 1)
        frames = ((video + 1) / 2).transpose(1, 2)
        latents = model.encode_video(frames, show_progress_bar=False)
        noise = normal(rng, 1, latent_channels, 1 + (count - 1) // 4, height // stride,
                       width // stride, scale=1.5)
        decoded = model.decode_video(noise.transpose(1, 2), show_progress_bar=False)
        assert latents.shape[1] == noise.shape[2] and decoded.shape[1] == count
        stream = taehv.StreamingTAEHV(model)
        parts = [part for frame in frames.unbind(1)
                 if (part := stream.encode(frame[:, None])) is not None]
        parts += stream.flush_encoder()
        case.agree(f"encode {count}, streamed", torch.cat(parts, 1), latents, 1e-5)
        parts = []
        for latent in noise.transpose(1, 2).unbind(1):
            parts.append(stream.decode(latent[:, None]))
            parts += stream.flush_decoder()
        parts = [part for part in parts if part is not None]
        case.agree(f"decode {count}, streamed", torch.cat(parts, 1), decoded, 1e-5)
        case.add("input", {f"video_{count}": video, f"noise_{count}": noise})
        case.add("output", {
            f"latents_{count}": latents.transpose(1, 2),
            f"decoded_{count}": decoded.transpose(1, 2) * 2 - 1,
        })
    inside = ((decoded > 0) & (decoded < 1)).float().mean().item()
    print(f"  {name}: latents std {latents.std():.2f}, {inside:.0%} of pixels inside [0, 1]")
    return case


def cases():
    if "SWAN_TAEHV" not in os.environ:
        print("  skipped: SWAN_TAEHV is not set to a checkout of madebyollin/taehv")
        return
    path = pathlib.Path(os.environ["SWAN_TAEHV"]) / "taehv.py"
    taehv = narrowed(path, 8, [16, 12, 8, 8], [16, 12, 8, 8])
    sizes = {1: (24, 40), 5: (24, 40), 9: (16, 24)}
    yield tiny(taehv, "tiny_vae21", 4201, 1, 4, sizes)
    sizes = {5: (16, 48), 9: (16, 32)}
    yield tiny(taehv, "tiny_vae22", 4202, 2, 6, sizes, grown=True)
    yield tiny(taehv, "tiny_vae22_super", 4203, 2, 6, sizes, variant="super")
