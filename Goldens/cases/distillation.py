"""CausVid's own training classes on tiny networks: distribution matching and ODE regression.

The originals are not published on a registry: set SWAN_CAUSVID to a checkout of tianweiy/CausVid. Without
it, the files are left unchanged. `causvid/dmd.py` is the class that StreamDiffusionV2 trains with.
"""

import contextlib
import io
import os
import sys
import types

import torch
import torch.nn.functional as F

from . import reference as packages  # noqa: F401  (diffusers must be imported before the stand-ins)
from .case import Case, generator, normal, randomize

TOLERANCE = {"absolute": 1e-6, "relative": 1e-5}
REFERENCE = "tianweiy/CausVid"
SHAPE = [2, 6, 4, 4, 6]
NETWORK = dict(
    model_type="t2v", patch_size=(1, 2, 2), text_len=9, in_dim=4, dim=24, ffn_dim=40, freq_dim=16,
    text_dim=10, out_dim=4, num_heads=2, num_layers=2, window_size=(-1, -1), qk_norm=True,
    cross_attn_norm=True, eps=1e-6,
)
SEEDS = {"generator": 6001, "real": 6002, "fake": 6003}
# What distinguishes the published configurations, and one that none has.
CONFIGS = {
    "bidirectional": dict(steps=[1000, 757, 522], w=3.5, causal=False, simulated=True),
    "from_scratch": dict(steps=[1000, 757, 522], w=3.5, causal=False, simulated=False),
    "causal_v2v": dict(steps=[700, 500, 0], w=3.5, causal=True, simulated=False),
    "causal_warp": dict(
        steps=[1000, 750, 500, 250, 0], w=2.0, causal=True, simulated=False, block=3, warp=True),
    "causal_score": dict(
        steps=[900, 400, 0], w=0.5, causal=True, simulated=False, block=2, shift=1.0, score=True),
}


def dense_attention(q, k, v, k_lens=None, **_):
    """flash-attn's argument order, [B, L, N, D], over all keys."""
    assert k_lens is None or all(length == k.shape[1] for length in k_lens)
    parts = [x.transpose(1, 2) for x in (q, k, v)]
    return F.scaled_dot_product_attention(*parts).transpose(1, 2).contiguous()


def masked_attention(query, key, value, block_mask):
    """flex attention's argument order, [B, N, L, D], with the reference's own mask as a matrix."""
    length = torch.arange(query.shape[2])
    mask = block_mask.mask_mod(0, 0, length[:, None], length[None, :])
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)


class Absent(torch.nn.Module):
    """Text encoder and autoencoder, which the losses do not use."""


def reference(path):
    """The modules of a checkout, made to run on a CPU; their mathematics is not modified."""
    os.environ["TORCHDYNAMO_DISABLE"] = "1"
    torch.compile = lambda function, **_: function
    torch.Tensor.cuda = lambda tensor, *_, **__: tensor
    torch.cuda.current_device = lambda: 0
    for name in ("flash_attn", "flash_attn.flash_attn_interface", "causvid.models.sdxl.sdxl_wrapper"):
        module = sys.modules.setdefault(name, types.ModuleType(name))
        if "." in name and name.startswith("flash"):
            sys.modules["flash_attn"].flash_attn_interface = module
    for name in ("SDXLWrapper", "SDXLTextEncoder", "SDXLVAE"):
        setattr(sys.modules["causvid.models.sdxl.sdxl_wrapper"], name, Absent)
    sys.path.insert(0, path)
    import causvid.dmd as dmd
    import causvid.loss as loss
    import causvid.models.wan.causal_model as causal
    import causvid.models.wan.wan_base.modules.attention as flash
    import causvid.models.wan.wan_base.modules.model as bidirectional
    import causvid.ode_regression as ode

    flash.FLASH_ATTN_2_AVAILABLE = False
    bidirectional.flash_attention = dense_attention
    causal.flex_attention = masked_attention
    for module in (dmd, ode):
        module.get_text_encoder_wrapper = lambda model_name: Absent
        module.get_vae_wrapper = lambda model_name: Absent
    return types.SimpleNamespace(
        dmd=dmd, ode=ode, loss=loss, causal=causal.CausalWanModel, wan=bidirectional.WanModel)


def network(kind, role):
    return randomize(kind(**NETWORK), generator(SEEDS[role]))


def seeded(modules, roles):
    """Lets `from_pretrained` return the random networks of `roles`, one after another."""
    order = iter(roles)

    def make(kind):
        return lambda *_, **__: network(kind, next(order))

    for kind in (modules.wan, modules.causal):
        kind.from_pretrained = make(kind)


def arguments(**changes):
    values = dict(
        generator_grad={"model": True}, real_score_grad={"model": False},
        fake_score_grad={"model": True}, num_train_timestep=1000, denoising_loss_type="flow",
        mixed_precision=False, gradient_checkpointing=False, is_repa=False,
    )
    values.update(changes)
    return types.SimpleNamespace(**values)


def distillation(modules, config):
    """The reference's DMD module for a configuration."""
    task = "causal_video" if config["causal"] else "bidirectional_video"
    score = task if config.get("score") else "bidirectional_video"
    # A causal generator replaces the bidirectional wrapper's network, which it builds first.
    made = ["generator"] * (2 if config["causal"] else 1)
    seeded(modules, made + ["real", "fake"])
    args = arguments(
        model_name="wan", generator_name="causal_wan" if config["causal"] else "wan",
        denoising_step_list=config["steps"], timestep_shift=config.get("shift", 8.0),
        real_guidance_scale=config["w"], generator_task=task, real_task_type=score,
        fake_task_type=score, backward_simulation=config["simulated"],
        num_frame_per_block=config.get("block", 1), warp_denoising_step=config.get("warp", False),
    )
    module = modules.dmd.DMD(args, device="cpu")
    for wrapper in (module.generator, module.real_score, module.fake_score):
        wrapper.seq_len = SHAPE[1] * SHAPE[3] * SHAPE[4] // 4
    return module


def texts(rng):
    """Prompt and negative prompt, padded with zeros to text_len."""
    given = {}
    for name, lengths in (("prompt", [9, 5]), ("negative", [3, 3])):
        embeds = torch.zeros(SHAPE[0], NETWORK["text_len"], NETWORK["text_dim"])
        for row, length in enumerate(lengths):
            embeds[row, :length] = normal(rng, length, NETWORK["text_dim"])
        given[name] = embeds
    given["negative"][1] = given["negative"][0]
    return given


def gradients(module):
    return {
        name.removeprefix("model."): parameter.grad
        for name, parameter in module.named_parameters()
    }


def inputs(seed):
    rng = generator(seed)
    given = texts(rng)
    given["latents"] = normal(rng, *SHAPE)
    return given


def losses(module, given, seed):
    """Both losses of a step with the draws of two seeds, and all gradients."""
    shared = dict(
        image_or_video_shape=list(SHAPE),
        conditional_dict={"prompt_embeds": given["prompt"]},
        unconditional_dict={"prompt_embeds": given["negative"]},
        clean_latent=given["latents"],
    )
    found = {}
    whole = module._compute_kl_grad

    def watched(*args, **kwargs):
        found["g"], log = whole(*args, **kwargs)
        return found["g"], log

    module._compute_kl_grad = watched
    torch.manual_seed(seed)
    loss, log = module.generator_loss(**shared)
    loss.backward()
    found |= {
        "generator_loss": loss.detach(), "p": log["dmdtrain_clean_latent"],
        "noisy": log["dmdtrain_noisy_latent"], "r": log["dmdtrain_pred_real_image"],
        "f": log["dmdtrain_pred_fake_image"], "score_timestep": log["timestep"],
        "gradient_norm": log["dmdtrain_gradient_norm"],
    }
    found["n"] = (found["p"] - found["r"]).abs().mean(dim=[1, 2, 3, 4])
    torch.manual_seed(seed + 1)
    critic, log = module.critic_loss(**shared)
    critic.backward()
    found |= {
        "critic_loss": critic.detach(), "critic_p": log["critictrain_latent"],
        "critic_noisy": log["critictrain_noisy_latent"], "k": log["critictrain_pred_image"],
        "critic_timestep": log["critic_timestep"],
    }
    return {name: value.detach().clone() for name, value in found.items()}


def case(name, seed, config, **more):
    return Case(
        name=name, reference=REFERENCE, seed=seed, config={**config, "shape": SHAPE},
        tolerance=TOLERANCE, **more)


def matching(modules, index, key):
    config = CONFIGS[key]
    seed = 6100 + 10 * index
    module = distillation(modules, config)
    given = inputs(seed)
    found = losses(module, given, seed + 1)
    golden = case(
        f"distill_{key}", seed, config,
        notes=[
            "Networks are those of distill_networks. Draws are torch's with seed + 1 for the "
            "generator's loss and seed + 2 for the critic's. Latents are [B, F, C, H, W].",
        ])
    golden.add("input", given)
    golden.add("output", found)
    golden.add("gradients/generator", gradients(module.generator))
    golden.add("gradients/critic", gradients(module.fake_score))
    print(f"  {golden.name}: {found['generator_loss']:.6f}, critic {found['critic_loss']:.6f}")
    return golden


def alternation(modules):
    """Eight steps in which the generator learns in every third."""
    seed, config = 6200, {**CONFIGS["causal_warp"], "ratio": 3, "lr": 1e-3, "updates": 8}
    module = distillation(modules, config)
    rate = dict(lr=config["lr"], betas=(0.9, 0.999))
    optimizers = {
        "generator": torch.optim.AdamW(module.generator.parameters(), **rate),
        "critic": torch.optim.AdamW(module.fake_score.parameters(), **rate),
    }
    given = inputs(seed)
    shared = dict(
        image_or_video_shape=list(SHAPE),
        conditional_dict={"prompt_embeds": given["prompt"]},
        unconditional_dict={"prompt_embeds": given["negative"]},
        clean_latent=given["latents"],
    )
    rows = {"generator_loss": [], "critic_loss": [], "generator_norm": [], "critic_norm": []}
    torch.manual_seed(seed + 1)
    for step in range(config["updates"]):
        turns = [("generator", module.generator, module.generator_loss)] * (step % 3 == 0)
        for role, network, loss_of in turns + [("critic", module.fake_score, module.critic_loss)]:
            loss, _ = loss_of(**shared)
            optimizers[role].zero_grad()
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
            optimizers[role].step()
            rows[f"{role}_loss"].append(loss.item())
            rows[f"{role}_norm"].append(norm.item())
    golden = case(
        "distill_alternation", seed, config,
        notes=["One sequence of torch's draws with seed + 1; weights are those after the last step."])
    golden.add("input", given)
    golden.add("output", {name: torch.tensor(values, dtype=torch.float64)
                          for name, values in rows.items()})
    for role, network in (("generator", module.generator), ("critic", module.fake_score)):
        golden.add(f"after/{role}", {
            name.removeprefix("model."): value for name, value in network.state_dict().items()})
    return golden


def regression(modules):
    """The loss of ODE pairs, with context frames at t = 0 that do not count."""
    seed, config = 6300, dict(steps=[1000, 757, 522, 0], block=3)
    seeded(modules, ["generator", "generator"])
    module = modules.ode.ODERegression(arguments(
        model_name="causal_wan", denoising_step_list=config["steps"], generator_task="causal_video",
        num_frame_per_block=config["block"], warp_denoising_step=False), device="cpu")
    module.generator.seq_len = SHAPE[1] * SHAPE[3] * SHAPE[4] // 4
    given = inputs(seed)
    rng = generator(seed + 5)
    pairs = normal(rng, SHAPE[0], len(config["steps"]), *SHAPE[1:])
    torch.manual_seed(seed + 1)
    loss, log = module.generator_loss(
        ode_latent=pairs, conditional_dict={"prompt_embeds": given["prompt"]})
    loss.backward()
    golden = case("distill_ode", seed, config)
    golden.add("input", {"prompt": given["prompt"], "pairs": pairs})
    golden.add("output", {"loss": loss.detach(), **log})
    golden.add("gradients/generator", gradients(module.generator))
    print(f"  {golden.name}: {loss.item():.6f}, mean timesteps {log['timestep'].tolist()}")
    assert 0 < log["timestep"].min() and log["timestep"].max() < 1000
    return golden


def denoising(modules):
    """The critic's four losses, and `noise` as it is called: [BF, ...] against [B, F, ...]."""
    seed = 6400
    rng = generator(seed)
    rows = SHAPE[0]
    flat = [rows, *SHAPE[2:]]
    names = ("x", "x_pred", "noise", "noise_pred", "flow_pred")
    given = {name: normal(rng, *flat) for name in names}
    given["timestep"] = torch.tensor([37, 801])
    root = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float32)
    alphas = torch.cumprod(1 - root**2, 0)
    golden = case("distill_denoising", seed, {})
    found = {
        kind: modules.loss.get_denoising_loss(kind)()(**given, alphas_cumprod=alphas)
        for kind in ("x0", "v", "noise", "flow")
    }
    published = {**given, "noise_pred": given["noise_pred"].unflatten(0, [rows, 1])}
    found["noise_published"] = modules.loss.get_denoising_loss("noise")()(
        **published, alphas_cumprod=alphas)
    golden.add("input", {**given, "alphas": alphas})
    golden.add("output", found)
    return golden


def networks(modules):
    golden = case("distill_networks", 6001, dict(NETWORK))
    for role in SEEDS:
        golden.add(f"weights/{role}", network(modules.wan, role).state_dict())
    return golden


def cases():
    path = os.environ.get("SWAN_CAUSVID")
    if not path:
        print("  left unchanged: SWAN_CAUSVID is not set")
        return
    modules = reference(path)
    with torch.enable_grad(), contextlib.redirect_stderr(io.StringIO()):
        yield networks(modules)
        for index, key in enumerate(CONFIGS):
            yield matching(modules, index, key)
        yield alternation(modules)
        yield regression(modules)
        yield denoising(modules)
