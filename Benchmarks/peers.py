"""Times one run of a peer: `python peers.py dit|vae|generate --dtype float32 --threads 2`.

Prints a line of JSON with the milliseconds of every repeat, after one warm-up run.
`start --checkpoint FOLDER` is timed once, from the start of this process.
"""

import argparse
import json
import os
import sys
import time

os.environ["TORCHDYNAMO_DISABLE"] = "1"
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "Goldens"))

import torch  # noqa: E402


def dit(dtype):
    """One chunk of two rows through four causal blocks of the 1.3B model."""
    from cases.reference import CausalWanModel

    frame, rows, frames, layers, heads, size = 1560, 2, 6, 4, 12, 128
    model = CausalWanModel(
        dim=1536, ffn_dim=8960, freq_dim=256, num_heads=heads, num_layers=layers, text_dim=4096
    )
    model = model.to(dtype).eval()
    for block in model.blocks:
        block.self_attn.sink_size = 3
        block.self_attn.adapt_sink_thr = -1
    shape = (rows, frames * frame, heads, size)
    caches = [
        {
            "k": torch.zeros(shape, dtype=dtype),
            "v": torch.zeros(shape, dtype=dtype),
            "global_end_index": torch.zeros(rows, dtype=torch.long),
            "local_end_index": torch.zeros(rows, dtype=torch.long),
            "total_steps": rows,
            "current_step": rows,
        }
        for _ in range(layers)
    ]
    text = [{"k": None, "v": None, "is_init": False} for _ in range(layers)]
    latents = torch.randn(rows, 16, 1, 60, 104, dtype=dtype)
    context = torch.randn(rows, 512, 4096, dtype=dtype)
    timesteps = torch.tensor([[700], [500]])
    position = 0

    def step():
        nonlocal position
        start = torch.tensor([position, position]) * frame
        model(
            latents, t=timesteps, context=context, seq_len=32760, kv_cache=caches,
            crossattn_cache=text, current_start=start, current_end=start + frame,
        )
        position += 1

    for _ in range(frames):  # fills the caches, so that every timed chunk sees all frames
        step()
    return step


def vae(dtype):
    """Decodes one latent to four frames, in the middle of a stream."""
    from diffusers import AutoencoderKLWan

    model = AutoencoderKLWan().to(dtype).eval()
    latent = torch.randn(1, 16, 1, 30, 52, dtype=dtype)
    model.clear_cache()

    def step(first=False):
        model._conv_idx = [0]
        x = model.post_quant_conv(latent)
        model.decoder(x, feat_cache=model._feat_map, feat_idx=model._conv_idx, first_chunk=first)

    step(first=True)
    step()
    return step


def denoising_step(dtype):
    """One step with guidance, two branches, through four blocks of the 1.3B transformer."""
    from diffusers import FlowMatchEulerDiscreteScheduler, WanTransformer3DModel

    model = WanTransformer3DModel(
        num_attention_heads=12, attention_head_dim=128, ffn_dim=8960, num_layers=4)
    model = model.to(dtype).eval()
    # As set by from_pretrained.
    for name, parameter in model.named_parameters():
        if any(part in name for part in model._keep_in_fp32_modules or []):
            parameter.data = parameter.data.float()
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(50)
    latents = torch.randn(1, 16, 3, 60, 104)
    texts = [torch.randn(1, 512, 4096, dtype=dtype) for _ in range(2)]

    def step():
        scheduler._step_index = 20
        timestep = scheduler.timesteps[20]
        cond, uncond = (
            model(latents.to(dtype), timestep.expand(1), text, return_dict=False)[0]
            for text in texts
        )
        scheduler.step(uncond + 5 * (cond - uncond), timestep, latents, return_dict=False)

    return step


def decoder(dtype, channels, height, width, **config):
    """Decodes three latents to nine frames of 208x128 in one pass."""
    from diffusers import AutoencoderKLWan

    model = AutoencoderKLWan(z_dim=channels, **config).to(dtype).eval()
    latents = torch.randn(1, channels, 3, height, width, dtype=dtype)
    return lambda: model.decode(latents, return_dict=False)


def vae21(dtype):
    return decoder(dtype, 16, 16, 26)


def vae22(dtype):
    return decoder(
        dtype, 48, 8, 13, base_dim=160, decoder_base_dim=256, is_residual=True, in_channels=12,
        out_channels=12, patch_size=2, scale_factor_spatial=16, latents_mean=[0.0] * 48,
        latents_std=[1.0] * 48)


# The timed functions of a case, by the name of the result.
CASES = {
    "dit": {"dit": dit},
    "vae": {"vae": vae},
    "generate": {"step": denoising_step, "vae21 decode": vae21, "vae22 decode": vae22},
}


def timed(step, repeats):
    step()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        step()
        times.append((time.perf_counter() - start) * 1000)
    return times


def start(folder, dtype):
    """Milliseconds from the start of this process to the first step of a pipeline on disk."""
    from diffusers import WanPipeline

    class Begun(Exception):
        pass

    def begin(*_):
        raise Begun

    # Precomputed embeddings replace the text encoder, which Swan does open and run.
    pipeline = WanPipeline.from_pretrained(
        folder, torch_dtype=dtype, text_encoder=None, tokenizer=None)
    pipeline.transformer.register_forward_pre_hook(begin)
    text = torch.randn(1, 16, pipeline.transformer.config.text_dim, dtype=dtype)
    try:
        pipeline(
            prompt_embeds=text, negative_prompt_embeds=text, height=128, width=128, num_frames=5,
            num_inference_steps=2)
    except Begun:
        pass
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    with open("/proc/self/stat") as file:
        ticks = int(file.read().rpartition(")")[2].split()[19])
    return (now - ticks / os.sysconf("SC_CLK_TCK")) * 1000


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("case", choices=[*CASES, "start"])
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--checkpoint", help="the folder that `start` opens")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    dtype = getattr(torch, options.dtype)
    with torch.inference_mode():
        if options.case == "start":
            times = {"start": [start(options.checkpoint, dtype)]}
        else:
            times = {
                name: timed(make(dtype), options.repeats)
                for name, make in CASES[options.case].items()
            }
    print(json.dumps({"case": options.case, "ms": times}))


if __name__ == "__main__":
    main()
