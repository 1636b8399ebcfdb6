"""Streaming: rolling KV caches, with and without stream batch, sinks, adaptive sinks.

The reference's own pipeline runs here, including its constructor, with these changes: the models are
small and random instead of loaded from disk, the text encoder returns given embeddings, the hard-coded
cache sizes (12 heads of 128, 30 layers) are reduced to the small model, and `torch.randn_like` draws
from a seeded generator and is recorded.
"""

from types import SimpleNamespace
from unittest.mock import patch

import torch

from .case import Case, generator, normal, randomize
from .reference import CausalWanModel, stream_inference, wan_wrapper
from .transformer import context, model_config

NOTES = [
    "Layouts: latents [calls, 1, frames, C, H, W]; noise [calls, steps - 1, frames, C, H, W] in "
    "the order drawn; x0 [calls, rows or steps, frames, C, H, W]; current_start [calls] in tokens "
    "(divide by tokens_per_frame); current_step [calls], -1 where none was given.",
    "prepare: one batch-1 run over prepare_latents (latent frames 0 ..< F) at every step of the "
    "list in turn, current_start 0, re-noised in between with prepare_noise; every step writes its "
    "keys and values over the same frames, so the cache keeps those of the last step. prepare_x0 "
    "holds the clean prediction of every step; the last is what is decoded.",
    "Then, with stream batch, caches are repeated once per step, rows (hidden_states) start as "
    "zeros and all row positions start at the end of prepare. The cross-attention cache of prepare "
    "stays; prompt embeddings are not used again.",
    "Stream batch, every call: rows and row positions shift down by one, row 0 takes the new "
    "latents and current_start, one forward runs all rows with timestep[row] and "
    "start[row]; then rows 0 ... steps - 2 are re-noised with noise[row] at step row + 1; the last "
    "row is the finished chunk. x0 is the forward's result before re-noising; hidden, where a file "
    "has it, the rows after. In the first steps - 1 calls the lower rows still carry the zeros "
    "of the start; their keys and values do enter the caches of those rows, at the position right "
    "after prepare, and are overwritten when the first chunk gets there.",
    "Without stream batch, every call runs all steps on its latents with one cache; x0 lists the "
    "steps in order.",
    "current_step replaces timestep[0] and stays until replaced (it is written into the step list "
    "itself). The list is int64, so a given step is truncated to an integer; re-noising looks up "
    "entries 1... only, by the nearest-timestep rule of flow_match.",
    "Flow to x0 uses each frame's timestep with the nearest table sigma, in float64, rounded once.",
    "RoPE: a row's frames take temporal positions start/tokens_per_frame, +1, ...; a key keeps the "
    "position it was stored with. Positions are those of the stream, not of the cache slot.",
    "Cache while it fills (end of the chunk <= capacity and the row's length < capacity): frames "
    "go to slots [start, end) of the row, where the length becomes length + end - previous end. "
    "Attention sees the slots below the largest length of all rows, each row its own length.",
    "Which slots may be evicted is decided while filling: with n the chunk's tokens, the value "
    "end + n is appended to the row's eviction list if sink < end + n <= capacity and it is not "
    "the last entry already. An entry e means slots [e - n, e). After a 2-frame prepare and "
    "1-frame chunks the list is frames 4, 5 ... capacity (or sink + 1 ... if sink > 3): slots 0, 1 "
    "and 2 are never evicted even when sink is 0, 1 or 2.",
    "Once end > capacity or the row's length has reached capacity, each write takes the first "
    "entry e of the row's list, overwrites slots [e - n, e), and moves e to the back of the list "
    "(if e > sink; a sink entry inserted by the adaptive rule is dropped after use). Length stays "
    "capacity.",
    "Batch-1 cache with several steps (no stream batch): a counter starts at steps; while it is "
    "above 1 the write reuses the first entry and counts down, at 1 the entry is rotated and the "
    "counter returns to steps. The chunk that fills the last slot exactly writes that slot only at "
    "its first step; at its following steps the length has already reached capacity, so they go to "
    "the first eviction entry and count down. From then on the rotation falls after a chunk's "
    "first step: that step overwrites the entry holding the previous chunk's last step, and the "
    "chunk's other steps go to the entry after it. The frame that was in the first entry is lost "
    "one chunk early, and slots keep keys of first steps. With one step none of this happens.",
    "Adaptive sinks (threshold > -1, 1-frame chunks only, before each write, per layer and row): "
    "for each sink slot, the mean over tokens of its keys and of the new (rotated) keys are "
    "compared by cosine over all heads together, the same for values, and the two cosines are "
    "averaged; if the smallest over the slots is below the threshold, that slot's end is put at "
    "the front of the eviction list. While the cache fills nothing takes entries from the list, "
    "so insertions wait there, newest first. A sink slot that is still empty has cosine 0, so a "
    "threshold above 0 inserts it while the first chunks arrive.",
    "The reference keeps the eviction lists in the layers and never clears them, so a second "
    "session in one process starts with the first one's lists; here every case is a first session.",
    "trace[call][layer][row] is the eviction list after the call in frames; call 0 is prepare. "
    "cache_k_0 and cache_v_0 are layer 0's cache at the end, by slot: [rows, slots, heads, size].",
]


class Prompt(torch.nn.Module):
    """Replaces the text encoder: the embeddings are an input of the case."""

    def __init__(self, embeddings):
        super().__init__()
        self.embeddings = embeddings

    def forward(self, text_prompts):
        return {"prompt_embeds": self.embeddings.clone()}


def pipeline_of(model, embeddings, options, height, width):
    """The reference's pipeline around a small model."""
    arguments = SimpleNamespace(
        model_type="T2V-1.3B", model_name="wan", generator_name="causal_wan",
        # With t2v, the reference keeps the list's last timestep, 0, as a step.
        t2v=options["steps"][-1] == 0,
        denoising_step_list=[*(step for step in options["steps"] if step > 0), 0],
        warp_denoising_step=options["warp_denoising_step"],
        height=height * 8, width=width * 8, num_kv_cache=options["num_kv_cache"],
        num_sink_tokens=options["num_sink_tokens"],
        adapt_sink_threshold=options["adapt_sink_threshold"],
        num_frame_per_block=options["num_frame_per_block"],
    )
    with (
        patch.object(wan_wrapper.WanModel, "from_pretrained", lambda path: torch.nn.Identity()),
        patch.object(wan_wrapper.CausalWanModel, "from_pretrained", lambda path: model),
        patch.object(stream_inference, "get_text_encoder_wrapper",
                     lambda model_name: lambda model_type: Prompt(embeddings)),
        patch.object(stream_inference, "get_vae_wrapper",
                     lambda model_name: lambda model_type: torch.nn.Identity()),
    ):
        pipeline = stream_inference.CausalStreamInferencePipeline(arguments, device="cpu")
    pipeline.num_transformer_blocks = len(model.blocks)
    pipeline.num_heads = model.num_heads
    initialize = pipeline._initialize_kv_cache

    def initialize_small(batch_size, dtype, device):
        initialize(batch_size=batch_size, dtype=dtype, device=device)
        for cache in pipeline.kv_cache1:
            for name in ("k", "v"):
                cache[name] = cache[name][..., :model.dim // model.num_heads].clone()

    pipeline._initialize_kv_cache = initialize_small
    return pipeline


def latent_video(rng, calls, frames, channels, height, width, cut):
    """Noisy latents that are correlated between chunks, with a cut in the middle."""
    scene = normal(rng, 1, frames, channels, height, width)
    chunks = []
    for call in range(calls):
        if call == cut:
            scene = -scene + normal(rng, *scene.shape, scale=0.5)
        scene = 0.97 * scene + 0.1 * normal(rng, *scene.shape)
        chunks.append(0.6 * scene + 0.6 * normal(rng, *scene.shape))
    return torch.stack(chunks)


def stream(name, seed, steps, calls=16, batch=True, block=1, kv=6, sink=0, threshold=-1, warp=False,
           prepare_frames=None, refresh=None, default_steps=(), text=False, **changes):
    config = model_config(**changes)
    rng = generator(seed)
    model = randomize(CausalWanModel(**config), rng)
    height, width = 6, 10
    per_frame = (height // 2) * (width // 2)
    frames = prepare_frames or 1 + block
    options = {
        "steps": [*steps, 0] if text else list(steps), "stream_batch": batch, "num_frame_per_block": block,
        "num_kv_cache": kv, "num_sink_tokens": sink, "adapt_sink_threshold": threshold,
        "warp_denoising_step": warp, "tokens_per_frame": per_frame, "prepare_frames": frames,
        "t_refresh": refresh, "timestep_shift": 8.0,
    }
    _, embeddings = context(rng, config, [7])
    channels = config["in_dim"]
    prepare_latents = normal(rng, 1, frames, channels, height, width)
    latents = latent_video(rng, calls, block, channels, height, width, cut=calls // 2)
    current_steps = torch.randint(520, steps[0] + 1, (calls,), generator=rng)
    for call in default_steps:
        current_steps[call] = -1
    if text:
        # Without stream batch, the reference has no other way to say the list's own step.
        current_steps[:] = -1 if batch else steps[0]

    pipeline = pipeline_of(model, embeddings, options, height, width)
    drawn, predicted, starts, hidden, trace = [], [], [], [], []

    def draw(like):
        drawn.append(normal(rng, *like.shape))
        return drawn[-1]

    def take(values):
        taken = [value.clone() for value in values]
        values.clear()
        return taken

    cosine, cosines = torch.cosine_similarity, []

    def compare(left, right, dim):
        cosines.append(cosine(left, right, dim=dim))
        return cosines[-1]

    def snapshot():
        trace.append([
            [[end // per_frame for end in row] for row in block.self_attn.evict_idx]
            for block in model.blocks
        ])

    pipeline.generator.register_forward_hook(lambda _, __, output: predicted.append(output.clone()))
    case = Case(
        name=name,
        reference="streamdiffusionv2 CausalStreamInferencePipeline "
        + ("inference_stream" if batch else "inference_wo_batch"),
        seed=seed,
        config={**config, "stream": options},
        tolerance={"absolute": 5e-4, "relative": 5e-4},
    )
    with (
        patch.object(torch, "randn_like", draw),
        patch.object(torch, "cosine_similarity", compare),
    ):
        first = pipeline.prepare(
            text_prompts=[""], device="cpu", dtype=torch.float32, noise=prepare_latents.clone(),
            current_start=0, current_end=frames * per_frame, batch_denoise=batch)
        assert torch.equal(first, predicted[-1])
        case.add("input", {
            "context": embeddings,
            "prepare_latents": prepare_latents,
            "latents": latents,
            "current_step": current_steps,
        })
        prepare_noise = take(drawn)
        case.add("output", {"prepare_x0": torch.cat(take(predicted))})
        if prepare_noise:
            case.add("input", {"prepare_noise": torch.stack(prepare_noise)})
        snapshot()

        start, noises, x0 = frames * per_frame, [], []
        for call in range(calls):
            # The session's rule for positions that have grown too large.
            if refresh is not None and start // per_frame >= refresh:
                start = (kv - 1) * per_frame
            starts.append(start)
            end = start + block * per_frame
            step = int(current_steps[call])
            result = (pipeline.inference_stream if batch else pipeline.inference_wo_batch)(
                noise=latents[call].clone(), current_start=start, current_end=end,
                current_step=None if step < 0 else step)
            start = end
            if batch:
                hidden.append(result.clone())
            x0.append(torch.cat(take(predicted)))
            noise = take(drawn)
            noises.append(torch.stack([value.reshape(latents[call][0].shape) for value in noise])
                          if noise else None)
            snapshot()

    case.add("weights", dict(model.state_dict()))
    case.add("input", {"current_start": torch.tensor(starts)})
    if noises[0] is not None:
        case.add("input", {"noise": torch.stack(noises)})
    case.add("output", {
        "x0": torch.stack(x0),
        "cache_k_0": pipeline.kv_cache1[0]["k"],
        "cache_v_0": pipeline.kv_cache1[0]["v"],
    })
    if batch and len(steps) > 1 and threshold < 0 and block == 1 and sink in (1, 3):
        case.add("output", {"hidden": torch.stack(hidden)})
    case.trace = {"eviction_lists": trace}
    if cosines:
        # Keys and values alternate; a decision must not depend on the last bits.
        lowest = torch.stack([
            ((keys + values) / 2).min() for keys, values in zip(cosines[::2], cosines[1::2])
        ])
        margin = (lowest - threshold).abs().min().item()
        fired = int((lowest < threshold).sum())
        assert margin > 1e-3, f"{name}: a cosine lies {margin} from the threshold"
        case.trace["refreshes"] = {"fired": fired, "compared": len(lowest), "margin": margin}
        print(f"  {name}: {case.trace['refreshes']}")
    print(f"  {name}: x0 std {torch.stack(x0).std():.2f}")
    return case


SMALL = dict(dim=32, ffn_dim=64)


def cases():
    made = [
        stream("causal_wan_stream_1step", 3001, [700], calls=16, **SMALL),
        stream("causal_wan_stream_2step_sink1", 3002, [700, 500], calls=18, sink=1,
               default_steps=(3, 9), **SMALL),
        stream("causal_wan_stream_4step_sink3", 3003, [700, 500, 400, 200], calls=20, sink=3,
               **SMALL),
        stream("causal_wan_stream_2step_sink4", 3004, [700, 500], calls=14, sink=4, num_heads=3),
        stream("causal_wan_stream_adapt_low", 3005, [700, 500], calls=18, sink=3, threshold=0.2,
               **SMALL),
        stream("causal_wan_stream_adapt_high", 3006, [700, 500], calls=18, sink=3, threshold=0.5,
               **SMALL),
        stream("causal_wan_stream_warp", 3007, [700, 500, 400], calls=14, sink=2, kv=5, warp=True,
               **SMALL),
        stream("causal_wan_stream_refresh", 3008, [700, 500], calls=18, sink=3, refresh=12,
               **SMALL),
        stream("causal_wan_stream_block3", 3009, [700, 500], calls=14, block=3, kv=12,
               prepare_frames=3, **SMALL),
        stream("causal_wan_stream_block3_input", 3010, [700, 500], calls=14, block=3, kv=13,
               sink=8, **SMALL),
        stream("causal_wan_nobatch_1step", 3011, [700], calls=14, batch=False, sink=3,
               **SMALL),
        stream("causal_wan_nobatch_2step_sink3", 3012, [700, 500], calls=16, batch=False, sink=3,
               **SMALL),
        stream("causal_wan_nobatch_4step_sink1", 3013, [700, 500, 400, 200], calls=16, batch=False,
               sink=1, **SMALL),
    ]
    made[0].notes = NOTES
    for case in made[1:]:
        case.notes = [f"The rules are those of {made[0].name}."]
    yield from made
