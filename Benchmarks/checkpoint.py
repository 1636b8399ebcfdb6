"""Writes a folder of random weights in a published layout and size.

    python Benchmarks/checkpoint.py FOLDER --size 1.3B --layout original --dtype bfloat16

`original` is the layout of the Wan repositories: config.json and diffusion_pytorch_model.safetensors (in
shards with an index above --shard-size), Wan2.1_VAE.pth or Wan2.2_VAE.pth,
models_t5_umt5-xxl-enc-bf16.pth, google/umt5-xxl/spiece.model. `diffusers` is a folder that
`WanPipeline.from_pretrained` opens. Names and shapes come from the reference implementations, built
without allocating memory; values are generated one tensor at a time.

The text encoder has the published width, but only one small layer and the vocabulary of Swan's bundled
tokenizer: one of the published size would add 11 GB and no information.
"""

import argparse
import json
import math
import os
import pathlib
import shutil
import struct
import sys

os.environ["TORCHDYNAMO_DISABLE"] = "1"
ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "Goldens"))
sys.dont_write_bytecode = True

import torch  # noqa: E402

TOKENIZER = ROOT / "Sources/SwanCheckpoints/Resources/tiny/tokenizer/spiece.model"
VOCABULARY = 512
# dim, ffn_dim, heads, layers, latent channels, text_dim
SIZES = {
    "tiny": (48, 96, 2, 2, 16, 32),
    "1.3B": (1536, 8960, 12, 30, 16, 4096),
    "5B": (3072, 14336, 24, 30, 48, 4096),
    "14B": (5120, 13824, 40, 40, 16, 4096),
}
DTYPES = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}


def shapes(module):
    return {key: tuple(value.shape) for key, value in module.state_dict().items()}


def values(name, shape, dtype, rng):
    """Random values: norms around one, biases near zero, matrices that keep the scale of their input."""
    noise = torch.randn(shape, generator=rng)
    if name.endswith(("gamma", "norm.weight")) or "norm" in name and len(shape) == 1:
        noise = 1 + 0.1 * noise if not name.endswith("bias") else 0.02 * noise
    elif len(shape) > 1 and "modulation" not in name and "scale_shift" not in name:
        noise /= math.sqrt(math.prod(shape[1:]))
    else:
        noise *= 0.02
    return noise.to(dtype)


def write_safetensors(path, tensors, dtype, rng):
    """Writes tensors of the given shapes, one after another."""
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in tensors.items():
        size = math.prod(shape) * dtype.itemsize
        header[name] = {
            "dtype": DTYPES[str(dtype).removeprefix("torch.")],
            "shape": list(shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape in tensors.items():
            tensor = values(name, shape, dtype, rng)
            file.write(tensor.reshape(-1).view(torch.uint8).numpy())


def write_weights(folder, stem, tensors, dtype, rng, shard_bytes):
    """Writes one file, or shards with an index if the limit requires them."""
    shards, filled = [{}], 0
    for name, shape in tensors.items():
        size = math.prod(shape) * dtype.itemsize
        if filled > 0 and filled + size > shard_bytes:
            shards.append({})
            filled = 0
        shards[-1][name] = shape
        filled += size
    if len(shards) == 1:
        write_safetensors(folder / f"{stem}.safetensors", tensors, dtype, rng)
        return
    index = {}
    for number, shard in enumerate(shards, 1):
        name = f"{stem}-{number:05}-of-{len(shards):05}.safetensors"
        write_safetensors(folder / name, shard, dtype, rng)
        index.update(dict.fromkeys(shard, name))
    total = sum(math.prod(shape) for shape in tensors.values()) * dtype.itemsize
    write_json(folder / f"{stem}.safetensors.index.json", {
        "metadata": {"total_size": total}, "weight_map": index})


def write_pth(path, tensors, dtype, rng):
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({name: values(name, shape, dtype, rng) for name, shape in tensors.items()}, path)


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n")


def vae_config(size, channels):
    """The published sizes; small ones for `tiny`."""
    config = dict(z_dim=channels, base_dim=96)
    if channels == 48:
        config = dict(
            z_dim=48, base_dim=160, decoder_base_dim=256, is_residual=True, in_channels=12,
            out_channels=12, patch_size=2, scale_factor_spatial=16, latents_mean=[0.0] * 48,
            latents_std=[1.0] * 48)
    if size == "tiny":
        config.update(base_dim=8, dim_mult=[1, 2, 2, 2])
    return config


def published(folder, options, dtype, rng, shard_bytes):
    from cases.reference import AutoencoderKLWan, T5Encoder, WanModel, WanVAE_
    from cases.vae import original_key

    dim, ffn, heads, layers, channels, text = SIZES[options.size]
    config = dict(
        model_type="t2v", dim=dim, ffn_dim=ffn, freq_dim=256, in_dim=channels, out_dim=channels,
        num_heads=heads, num_layers=layers, text_len=512, eps=1e-6)
    autoencoder = vae_config(options.size, channels)
    with torch.device("meta"):
        network = shapes(WanModel(**config, text_dim=text))
        if channels == 48:
            model = AutoencoderKLWan(**autoencoder)
            vae = {original_key(key, 2): shape for key, shape in shapes(model).items()}
        else:
            vae = shapes(WanVAE_(
                dim=autoencoder["base_dim"], z_dim=channels,
                dim_mult=autoencoder.get("dim_mult", [1, 2, 4, 4]),
                temperal_downsample=[False, True, True]))
        encoder = shapes(T5Encoder(
            vocab=VOCABULARY, dim=text, dim_attn=64, dim_ffn=128, num_heads=4, num_layers=1,
            num_buckets=32, shared_pos=False))
    said = {"_class_name": "WanModel", **config}
    if channels == 48:
        said["model_type"] = "ti2v"
    if text != 4096:
        said["text_dim"] = text
    write_json(folder / "config.json", said)
    write_weights(folder, "diffusion_pytorch_model", network, dtype, rng, shard_bytes)
    write_pth(folder / ("Wan2.2_VAE.pth" if channels == 48 else "Wan2.1_VAE.pth"), vae,
              torch.float32, rng)
    write_pth(folder / "models_t5_umt5-xxl-enc-bf16.pth", encoder, torch.bfloat16, rng)
    copy_tokenizer(folder / "google/umt5-xxl")


def diffusers(folder, options, dtype, rng, shard_bytes):
    import diffusers as package
    from cases.reference import (
        AutoencoderKLWan,
        UMT5Config,
        UMT5EncoderModel,
        WanTransformer3DModel,
    )

    dim, ffn, heads, layers, channels, text = SIZES[options.size]
    config = dict(
        num_attention_heads=heads, attention_head_dim=dim // heads, in_channels=channels,
        out_channels=channels, text_dim=text, ffn_dim=ffn, num_layers=layers)
    autoencoder = vae_config(options.size, channels)
    encoder = UMT5Config(
        vocab_size=VOCABULARY, d_model=text, d_kv=16, d_ff=128, num_heads=4, num_layers=1,
        is_encoder_decoder=False)
    with torch.device("meta"):
        network = WanTransformer3DModel(**config)
        vae = AutoencoderKLWan(**autoencoder)
        text_encoder = shapes(UMT5EncoderModel(encoder))
    # A second name for the same weights.
    text_encoder.pop("encoder.embed_tokens.weight", None)
    solver = package.UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
    write_json(folder / "model_index.json", {
        "_class_name": "WanPipeline", "_diffusers_version": package.__version__,
        "expand_timesteps": channels == 48,
        "scheduler": ["diffusers", "UniPCMultistepScheduler"],
        "text_encoder": ["transformers", "UMT5EncoderModel"],
        "tokenizer": ["transformers", "T5TokenizerFast"],
        "transformer": ["diffusers", "WanTransformer3DModel"],
        "vae": ["diffusers", "AutoencoderKLWan"],
    })
    solver.save_pretrained(folder / "scheduler")
    network.save_config(folder / "transformer")
    vae.save_config(folder / "vae")
    write_json(folder / "text_encoder/config.json", {
        **encoder.to_dict(), "architectures": ["UMT5EncoderModel"]})
    name = "diffusion_pytorch_model"
    write_weights(folder / "transformer", name, shapes(network), dtype, rng, shard_bytes)
    write_weights(folder / "vae", name, shapes(vae), torch.float32, rng, shard_bytes)
    write_weights(
        folder / "text_encoder", "model", text_encoder, torch.bfloat16, rng, shard_bytes)
    copy_tokenizer(folder / "tokenizer")


def copy_tokenizer(folder):
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(TOKENIZER, folder / "spiece.model")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--size", choices=SIZES, default="1.3B")
    parser.add_argument("--layout", choices=["original", "diffusers"], default="original")
    parser.add_argument("--dtype", choices=DTYPES, default="bfloat16", help="dtype of the transformer")
    parser.add_argument("--shard-size", type=float, default=5.0, help="in GB")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.folder.exists() and any(options.folder.iterdir()):
        parser.error(f"{options.folder} is not empty")
    dtype = getattr(torch, options.dtype)
    rng = torch.Generator().manual_seed(options.seed)
    write = {"original": published, "diffusers": diffusers}[options.layout]
    write(options.folder, options, dtype, rng, int(options.shard_size * 1e9))
    total = sum(file.stat().st_size for file in options.folder.rglob("*") if file.is_file())
    print(f"{options.folder}: {total / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
