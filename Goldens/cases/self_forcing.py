"""Self-Forcing's own training classes on tiny networks: videos made block by block, and their losses.

The originals are not published on a registry: set SWAN_SELF_FORCING to a checkout of guandeh17/Self-Forcing.
Without it, the files are left unchanged. The networks are those of `distill_networks`.
"""

import contextlib
import io
import os
import sys
import types

import torch

from . import reference as packages  # noqa: F401  (diffusers must be imported before the stand-ins)
from .case import Case, generator, normal, randomize
from .distillation import NETWORK, SEEDS, TOLERANCE, dense_attention, gradients, texts

REFERENCE = "guandeh17/Self-Forcing"
# Scores see 21 frames, which the reference has as a number; it can only make one video at once.
SHAPE = [1, 21, 4, 4, 6]
TOKENS = SHAPE[3] * SHAPE[4] // 4
# Two published configurations, and what none of them has.
CONFIGS = {
    "dmd": dict(steps=[1000, 750, 500, 250], warp=True, block=3, w=3.0, same=True),
    "long": dict(
        steps=[1000, 750, 500, 250], warp=True, block=3, w=3.0, same=True, ts=True, ts_max=True,
        frames=24),
    "free": dict(
        steps=[950, 600], warp=False, block=7, w=2.0, wf=0.5, same=False, context=150),
    "last": dict(
        steps=[1000, 700, 300], warp=True, block=3, w=1.5, same=False, last=True, frames=27),
    "sid": dict(steps=[1000, 750, 500, 250], warp=True, block=3, w=3.0, same=True, sid=0.7),
}


class Absent(torch.nn.Module):
    """The text encoder, which the losses do not use."""


class Autoencoder(torch.nn.Module):
    """In place of Wan's: every pixel depends on all frames so far, and an encoder undoes little of it."""

    def __init__(self):
        super().__init__()
        rng = generator(6500)
        self.decoder, self.encoder = normal(rng, 3, SHAPE[2]), normal(rng, SHAPE[2], 3)

    def decode_to_pixel(self, latent):
        mixed = latent + 0.1 * latent.cumsum(1)
        return torch.tanh(torch.einsum("pc,bfchw->bfphw", self.decoder, mixed))

    def encode_to_latent(self, pixel):
        return torch.einsum("cp,bpfhw->bfchw", self.encoder, pixel)


def reference(path):
    """The modules of a checkout, made to run on a CPU; their mathematics is not modified."""
    os.environ["TORCHDYNAMO_DISABLE"] = "1"
    torch.compile = lambda function, **_: function
    torch.Tensor.cuda = lambda tensor, *_, **__: tensor
    torch.cuda.current_device = lambda: 0
    torch.distributed.broadcast = lambda *_, **__: None
    sys.path.insert(0, path)
    import model.base as base
    import model.dmd as dmd
    import model.sid as sid
    import pipeline.self_forcing_training as pipeline
    import utils.wan_wrapper as wrapper
    import wan.modules.causal_model as causal
    import wan.modules.model as bidirectional

    bidirectional.flash_attention = dense_attention
    causal.attention = dense_attention
    base.WanTextEncoder, base.WanVAEWrapper = Absent, Autoencoder
    # As older versions of diffusers do it.
    wrapper.WanDiffusionWrapper.enable_gradient_checkpointing = (
        lambda self: setattr(self.model, "gradient_checkpointing", True))
    pipeline.SelfForcingTrainingPipeline._initialize_kv_cache = empty_cache
    return types.SimpleNamespace(
        dmd=dmd.DMD, sid=sid.SiD, pipeline=pipeline.SelfForcingTrainingPipeline,
        wan=bidirectional.WanModel, causal=causal.CausalWanModel)


def empty_cache(pipeline, batch_size, dtype, device):
    """The cache of a network of this size; the reference's is of 30 layers with 12 heads of 128."""
    heads = NETWORK["num_heads"]
    frames = pipeline.kv_cache_size // pipeline.frame_seq_length
    pipeline.num_transformer_blocks = NETWORK["num_layers"]
    pipeline.frame_seq_length = TOKENS
    shape = [batch_size, frames * TOKENS, heads, NETWORK["dim"] // heads]
    pipeline.kv_cache1 = [
        {
            "k": torch.zeros(shape), "v": torch.zeros(shape),
            "global_end_index": torch.tensor([0]), "local_end_index": torch.tensor([0]),
        }
        for _ in range(NETWORK["num_layers"])
    ]


def constant_past(wrapper):
    """Cuts the keys of finished blocks from the graph.

    They are overwritten without gradients, but the reference's tensor remembers how its older contents
    were made, so that some gradient reaches them as if they still were there.
    """
    whole = wrapper.forward

    def forward(*args, **kwargs):
        found = whole(*args, **kwargs)
        if not torch.is_grad_enabled():
            for layer in kwargs.get("kv_cache") or []:
                layer["k"], layer["v"] = layer["k"].detach(), layer["v"].detach()
        return found

    wrapper.forward = forward


def seeded(kind, role):
    """The random network of a role; the causal one's window is a number of frames."""
    sizes = {name: value for name, value in NETWORK.items() if name != "window_size"}
    return randomize(kind(**sizes), generator(SEEDS[role]))


def distillation(modules, config, cuts=True):
    """The reference's module for a configuration, with the random networks."""
    order = iter(["generator", "real", "fake"])
    for kind in (modules.wan, modules.causal):
        kind.from_pretrained = lambda *_, _kind=kind, **__: seeded(_kind, next(order))
    args = types.SimpleNamespace(
        num_train_timestep=1000, denoising_loss_type="flow", mixed_precision=False,
        gradient_checkpointing=True, denoising_step_list=config["steps"],
        warp_denoising_step=config["warp"], timestep_shift=5.0, real_guidance_scale=config["w"],
        fake_guidance_scale=config.get("wf", 0.0), num_frame_per_block=config["block"],
        same_step_across_blocks=config["same"], last_step_only=config.get("last", False),
        ts_schedule=config.get("ts", False), ts_schedule_max=config.get("ts_max", False),
        context_noise=config.get("context", 0), num_training_frames=config.get("frames", 21),
        independent_first_frame=False, i2v=False, model_kwargs={"timestep_shift": 5.0},
        sid_alpha=config.get("sid", 1.0),
    )
    module = (modules.sid if "sid" in config else modules.dmd)(args, device="cpu")
    # What its class for score identity forgets.
    module.num_training_frames, module.min_score_timestep = args.num_training_frames, 0
    for wrapper in (module.generator, module.real_score, module.fake_score):
        wrapper.seq_len = SHAPE[1] * TOKENS
        # As published, scores look up noise levels in the table of shift 8, and are up to 0.0005 off.
        wrapper.scheduler = module.scheduler
    for wrapper in (module.generator, module.fake_score):
        wrapper.model.requires_grad_(True)
    if cuts:
        constant_past(module.generator)
    return module


def losses(module, given, seed):
    """Both losses with the draws of two seeds, and all gradients."""
    shared = dict(
        image_or_video_shape=list(SHAPE), conditional_dict={"prompt_embeds": given["prompt"]},
        unconditional_dict={"prompt_embeds": given["negative"]}, clean_latent=None)
    found, run, make = {}, module._run_generator, module._consistency_backward_simulation

    def watched(*args, **kwargs):
        found["p"], *rest = run(*args, **kwargs)
        return found["p"], *rest

    def counted(noise, **kwargs):
        found["frames"] = torch.tensor(noise.shape[1])
        return make(noise, **kwargs)

    module._run_generator, module._consistency_backward_simulation = watched, counted
    torch.manual_seed(seed)
    loss, log = module.generator_loss(**shared)
    loss.backward()
    found |= {"generator_loss": loss.detach(), "score_timestep": log["timestep"]}
    kept = {name: value.detach().clone() for name, value in found.items()}
    # Score identity has a gradient for the critic, which its optimizer drops.
    module.fake_score.zero_grad()
    torch.manual_seed(seed + 1)
    loss, log = module.critic_loss(**shared)
    loss.backward()
    return kept | {
        "critic_loss": loss.detach(), "critic_p": found["p"].detach(),
        "critic_timestep": log["critic_timestep"],
    }


def rollout(modules, index, key):
    config = CONFIGS[key]
    # The numbers of frames of the long ones are drawn, too.
    seed = {"long": 6521, "last": 6517}.get(key, 6510 + 10 * index)
    given = {name: rows[1:] for name, rows in texts(generator(seed)).items()}
    module = distillation(modules, config)
    found = losses(module, given, seed + 1)
    golden = Case(
        name=f"self_forcing_{key}", reference=REFERENCE, seed=seed, config={**config, "shape": SHAPE},
        tolerance=TOLERANCE, notes=[
            "Networks are those of distill_networks. Draws are torch's with seed + 1 for the "
            "generator's loss and seed + 2 for the critic's. Keys of finished blocks are constant, and "
            "scores have the generator's table of noise levels.",
        ])
    golden.add("input", given)
    if module.vae is not None:
        golden.add("input", {"decoder": module.vae.decoder, "encoder": module.vae.encoder})
    golden.add("output", found)
    golden.add("gradients/generator", gradients(module.generator))
    golden.add("gradients/critic", gradients(module.fake_score))
    print(f"  {golden.name}: {found['generator_loss']:.6f}, critic {found['critic_loss']:.6f}, "
          f"t {found['score_timestep'][:, 0].tolist()}, {leak(modules, config, given, seed, module):.3f} "
          "of the gradient's norm would come through overwritten keys")
    return golden


def leak(modules, config, given, seed, exact):
    """What the gradient of the generator changes if finished blocks are not cut off, relative to it."""
    published = distillation(modules, config, cuts=False)
    losses(published, given, seed + 1)
    error = norm = 0.0
    for ours, theirs in zip(exact.generator.parameters(), published.generator.parameters()):
        error += (ours.grad - theirs.grad).square().sum().item()
        norm += ours.grad.square().sum().item()
    return (error / norm) ** 0.5


def cases():
    path = os.environ.get("SWAN_SELF_FORCING")
    if not path:
        print("  left unchanged: SWAN_SELF_FORCING is not set")
        return
    modules = reference(path)
    with torch.enable_grad(), contextlib.redirect_stderr(io.StringIO()):
        for index, key in enumerate(CONFIGS):
            yield rollout(modules, index, key)
