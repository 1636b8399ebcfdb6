"""One timed run of a peer: `python peers.py dit|vae --dtype float32 --threads 2 --repeats 3`.

Prints a line of JSON with the milliseconds of every repeat, after one that is not counted.
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
    """Four frames out of one latent, in the middle of a stream."""
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


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("case", choices=["dit", "vae"])
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    with torch.inference_mode():
        step = {"dit": dit, "vae": vae}[options.case](getattr(torch, options.dtype))
        step()
        times = []
        for _ in range(options.repeats):
            start = time.perf_counter()
            step()
            times.append((time.perf_counter() - start) * 1000)
    print(json.dumps({"case": options.case, "ms": times}))


if __name__ == "__main__":
    main()
