"""Schedulers as their own scheduler_config.json files set them, and PyTorch's tables of noise."""

import pathlib
import random
import tempfile
from unittest.mock import patch

import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
)
from diffusers.schedulers import scheduling_flow_match_euler_discrete as euler_module

from .case import Case, generator, normal
from .reference import FlowMatchScheduler
from .solvers import SHAPE, flow

COUNT = 24
STEPS = [1, 2, 3, 5, 9, 14, 16, 21]
FLOW = dict(use_flow_sigmas=True, prediction_type="flow_prediction")


def unipc(rng):
    """A random UniPC scheduler."""
    options = dict(
        flow_shift=rng.choice([1.0, 3.0, 5.0, 7.25]), solver_order=rng.randint(1, 4),
        solver_type=rng.choice(["bh1", "bh2", "midpoint"]),
        final_sigmas_type=rng.choice(["zero", "zero", "sigma_min"]),
        disable_corrector=rng.sample(range(6), rng.choice([0, 0, 2])),
        timestep_spacing=rng.choice(["linspace", "leading", "trailing"]),
        steps_offset=rng.choice([0, 1]), **FLOW)
    if options["final_sigmas_type"] == "sigma_min":
        options["lower_order_final"] = rng.random() < 0.5
    if rng.random() < 0.35:
        options.update(
            use_karras_sigmas=True, beta_start=rng.choice([0.0001, 0.00085]),
            beta_end=rng.choice([0.012, 0.02]),
            beta_schedule=rng.choice(["linear", "scaled_linear", "squaredcos_cap_v2"]),
            rescale_betas_zero_snr=rng.random() < 0.4)
    elif rng.random() < 0.3:
        options["shift_terminal"] = rng.choice([0.02, 0.1])
    return UniPCMultistepScheduler(**options)


def dpm(rng):
    """A random DPM-Solver++ scheduler."""
    return DPMSolverMultistepScheduler(
        flow_shift=rng.choice([1.0, 3.0, 5.0, 7.25]), solver_order=rng.randint(1, 3),
        solver_type=rng.choice(["midpoint", "heun", "bh2"]),
        algorithm_type=rng.choice(["dpmsolver++", "dpmsolver++", "sde-dpmsolver++"]),
        lower_order_final=rng.random() < 0.6, euler_at_final=rng.random() < 0.3,
        final_sigmas_type=rng.choice(["zero", "zero", "sigma_min"]),
        beta_start=rng.choice([0.0001, 0.00002]),
        timestep_spacing=rng.choice(["linspace", "leading", "trailing"]), **FLOW)


def euler(rng):
    """A random Euler scheduler."""
    options = dict(
        shift=rng.choice([1.0, 3.0, 5.0, 7.25]), stochastic_sampling=rng.random() < 0.3)
    spread = rng.choice(["", "", "karras", "exponential", "beta"])
    if spread:
        options[f"use_{spread}_sigmas"] = True
    if rng.random() < 0.3:
        options["shift_terminal"] = rng.choice([0.02, 0.1])
    return FlowMatchEulerDiscreteScheduler(**options)


def saved(scheduler):
    """The file that diffusers writes for a scheduler."""
    with tempfile.TemporaryDirectory() as folder:
        scheduler.save_config(folder)
        return (pathlib.Path(folder) / "scheduler_config.json").read_text()


def trajectory(scheduler, x, a, b, noise):
    """The samples after every step, as far as they are finite."""
    # Logarithms of float32 levels would be the largest error.
    scheduler.sigmas = scheduler.sigmas.double()
    scheduler.set_begin_index(0)
    extra = {}
    samples = []
    for index, timestep in enumerate(scheduler.timesteps):
        fresh = noise[index].to(x.dtype)
        if scheduler.config.get("algorithm_type", "").startswith("sde"):
            extra = {"variance_noise": fresh}
        with patch.object(euler_module, "randn_tensor", lambda *_, fresh=fresh, **__: fresh):
            output = flow(x, timestep, a, b)
            x = scheduler.step(output, timestep, x, return_dict=False, **extra)[0]
        if not torch.isfinite(x).all():
            assert index + 1 == len(scheduler.timesteps), scheduler.config
            assert isinstance(scheduler, UniPCMultistepScheduler), scheduler.config
            break
        samples.append(x)
    return torch.stack(samples) if samples else None


def files():
    seed = 1103
    rng, tensors = random.Random(seed), generator(seed)
    case = Case(
        name="schedulers",
        reference="diffusers UniPCMultistepScheduler, DPMSolverMultistepScheduler, "
        "FlowMatchEulerDiscreteScheduler with random settings",
        seed=seed, config={"runs": []}, tolerance={"absolute": 1e-5, "relative": 1e-5},
        notes=[
            "config lists runs: name, the number of steps and the scheduler_config.json that "
            "diffusers writes, with -Infinity where Python's json does. Samples are those after "
            "every step along the flow of the case `solvers`, with input/noise[step] for those "
            "that draw noise. Tables are rounded to float32 as in diffusers; coefficients are then "
            "computed in float64.",
            "UniPC makes the last sample NaN with bh1 if the table ends at 0 (infinity times 0), and "
            "with an order above 2 if the last step changes no level (0 by 0); such samples are left "
            "out.",
        ],
    )
    wide = torch.float64
    x, a, b = (normal(tensors, *SHAPE), normal(tensors, *SHAPE, scale=0.5), normal(tensors, *SHAPE))
    noise = normal(tensors, max(STEPS), *SHAPE)
    case.add("input", {"x": x, "a": a, "b": b, "noise": noise})
    for kind, make in (("unipc", unipc), ("dpm", dpm), ("euler", euler)):
        for index in range(COUNT):
            name, scheduler, steps = f"{kind}/{index}", make(rng), rng.choice(STEPS)
            # A single level cannot be stretched, nor spread.
            if steps == 1 and scheduler.config.get("shift_terminal"):
                steps = 4
            text = saved(scheduler)
            scheduler.set_timesteps(steps)
            case.add("output", {
                f"{name}/sigmas": scheduler.sigmas.clone(),
                f"{name}/timesteps": scheduler.timesteps.float(),
            })
            dtype = wide if kind == "unipc" else torch.float32
            samples = trajectory(scheduler, *(tensor.to(dtype) for tensor in (x, a, b)), noise)
            if samples is not None:
                case.add("output", {f"{name}/samples": samples})
            case.config["runs"].append({"name": name, "steps": steps, "file": text})
    assert any("-Infinity" in run["file"] for run in case.config["runs"])
    return case


def tables():
    seed = 1104
    rng = random.Random(seed)
    case = Case(
        name="flow_tables",
        reference="streamdiffusionv2 models/wan/flow_match.py",
        seed=seed, config={"runs": []}, tolerance={"absolute": 0, "relative": 0},
        notes=["Equal bits: PyTorch's linspace rounds its product and sum once."],
    )
    for index in range(40):
        options = dict(
            shift=rng.choice([1.0, 3.0, 5.0, 8.0, rng.uniform(0.5, 12)]),
            sigma_max=rng.choice([1.0, rng.uniform(0.6, 1)]),
            sigma_min=rng.choice([0.0, 0.003 / 1.002, rng.uniform(0, 0.1)]),
            extra_one_step=rng.random() < 0.5, inverse_timesteps=rng.random() < 0.2,
            reverse_sigmas=rng.random() < 0.2)
        steps = rng.choice([1, 2, 4, 37, 100, rng.randint(3, 999), 1000])
        strength = rng.choice([1.0, rng.uniform(0.2, 1)])
        scheduler = FlowMatchScheduler(**options)
        scheduler.set_timesteps(steps, denoising_strength=strength)
        case.add("output", {
            f"{index}/sigmas": scheduler.sigmas, f"{index}/timesteps": scheduler.timesteps})
        case.config["runs"].append(
            {**options, "index": index, "steps": steps, "denoising_strength": strength})
    return case


def cases():
    yield files()
    yield tables()
