"""The solvers of whole videos: tables of noise levels, and trajectories on a fixed flow.

The values are diffusers'. If SWAN_WAN22 is set to a checkout of Wan-Video/Wan2.2, its own solvers
(wan/utils/fm_solvers.py, wan/utils/fm_solvers_unipc.py) must agree with them.
"""

import importlib.util
import math
import os
import pathlib

import numpy as np
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
)

from .case import Case, generator, normal
from .reference import FlowMatchScheduler, wan_wrapper

STEPS = [1, 2, 4, 8, 20, 50]
WIDE_STEPS = [4, 8, 20]
SHIFTS = [1.0, 3.0, 5.0, 8.0, 12.0]
# Solver and the spacing of its noise levels.
RUNS = [
    ("unipc", "wanUniPC"),
    ("unipc", "diffusersUniPC"),
    ("dpm", "wan"),
    ("dpm", "diffusersDPM"),
    ("sde", "wan"),
    ("euler", "diffusersEuler"),
]
FEW_STEP_LISTS = {
    "list": ([1000, 750, 500, 250], 5.0, False),
    "warped": ([1000, 750, 500, 250], 8.0, True),
    "one": ([700], 8.0, False),
}
SHAPE = (1, 3, 1, 2, 2)


def original(name):
    """A module of Wan2.2's own solvers; None without a checkout."""
    root = os.environ.get("SWAN_WAN22")
    if root is None:
        return None
    path = pathlib.Path(root) / "wan" / "utils" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def unipc(shift):
    return UniPCMultistepScheduler(
        use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=shift)


def dpm(shift, algorithm):
    return DPMSolverMultistepScheduler(
        use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=shift,
        algorithm_type=algorithm)


def scheduler_for(solver, spacing, steps, shift):
    """One of diffusers' solvers, with its own table or Wan's."""
    if solver == "euler":
        scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
        scheduler.set_timesteps(steps)
    elif solver == "unipc":
        scheduler = unipc(shift)
        levels = None
        if spacing == "wanUniPC":
            levels = np.linspace(np.float64(np.float32(0.999)), 0, steps + 1)[:-1]
        scheduler.set_timesteps(steps, sigmas=levels)
    else:
        scheduler = dpm(shift, {"dpm": "dpmsolver++", "sde": "sde-dpmsolver++"}[solver])
        scheduler.set_timesteps(steps)
        if spacing == "wan":
            levels = np.linspace(1, 0, steps + 1)[:-1]
            levels = shift * levels / (1 + (shift - 1) * levels)
            scheduler.sigmas = torch.from_numpy(np.append(levels, 0).astype(np.float32))
            scheduler.timesteps = torch.from_numpy(levels * 1000).to(torch.int64)
    return scheduler


def original_for(solver, spacing, steps, shift):
    """Wan2.2's own solver, configured as in its pipelines; None if it has no such solver."""
    arguments = dict(num_train_timesteps=1000, shift=1, use_dynamic_shifting=False)
    if spacing == "wanUniPC" and (module := original("fm_solvers_unipc")):
        scheduler = module.FlowUniPCMultistepScheduler(**arguments)
        scheduler.set_timesteps(steps, device="cpu", shift=shift)
        return scheduler
    if spacing == "wan" and (module := original("fm_solvers")):
        if solver == "sde":
            arguments["algorithm_type"] = "sde-dpmsolver++"
        scheduler = module.FlowDPMSolverMultistepScheduler(**arguments)
        levels = module.get_sampling_sigmas(steps, shift)
        module.retrieve_timesteps(scheduler, device="cpu", sigmas=levels)
        return scheduler
    return None


def flow(x, timestep, a, b):
    """A flow that depends nonlinearly on the sample and on time."""
    return a * x * math.cos(float(timestep) / 1000) + b


def trajectory(scheduler, solver, x, a, b, noise):
    """The samples after every step, [steps, ...]."""
    scheduler.set_begin_index(0)
    samples = []
    for index, timestep in enumerate(scheduler.timesteps):
        extra = {"variance_noise": noise[index]} if solver == "sde" else {}
        x = scheduler.step(flow(x, timestep, a, b), timestep, x, return_dict=False, **extra)[0]
        samples.append(x)
    return torch.stack(samples)


def equal(what, left, right):
    assert torch.equal(left, right), (what, (left.double() - right.double()).abs().max())


def solvers():
    seed = 1101
    rng = generator(seed)
    case = Case(
        name="solvers",
        reference="diffusers UniPCMultistepScheduler, DPMSolverMultistepScheduler, "
        "FlowMatchEulerDiscreteScheduler; Wan2.2 wan/utils/fm_solvers.py, fm_solvers_unipc.py",
        seed=seed,
        config={"steps": STEPS, "shifts": SHIFTS, "runs": RUNS},
        tolerance={"absolute": 5e-6, "relative": 1e-5},
        notes=[
            "Keys are <solver>/<spacing>/<steps>/<shift>/{sigmas, timesteps, samples}; samples are "
            "those after every step, [steps, ...], from input/x along a*x*cos(timestep/1000) + b. "
            "sde adds input/noise[step].",
            "wan is linspace(1, 0, steps + 1) without its end; wanUniPC begins at 0.999 in float32; "
            "both are shifted by s*x/(1 + (s - 1)*x) in float64, rounded to float32, and their "
            "timesteps are 1000 times the float64 level, cut to an integer.",
            "diffusersEuler's ends are shifted twice; diffusersUniPC begins a millionth below 1.",
            "Wan2.2 at 42bf4cfaa384bc21833865abc2f9e6c0e67233dc gives bit for bit the same tables "
            "and samples for unipc/wanUniPC, dpm/wan and sde/wan; a run with SWAN_WAN22 set to a "
            "checkout refuses anything else.",
            "The reference computes its coefficients in float32, ours are float64; samples64 are "
            "UniPC's with everything but the rounded table in float64.",
        ],
    )
    x, a, b = normal(rng, *SHAPE), normal(rng, *SHAPE, scale=0.5), normal(rng, *SHAPE)
    noise = normal(rng, max(STEPS), *SHAPE)
    case.add("input", {"x": x, "a": a, "b": b, "noise": noise})
    checked = 0
    for solver, spacing in RUNS:
        for steps in STEPS:
            for shift in SHIFTS:
                name = f"{solver}/{spacing}/{steps}/{shift:g}"
                scheduler = scheduler_for(solver, spacing, steps, shift)
                samples = trajectory(scheduler, solver, x, a, b, noise)
                own = original_for(solver, spacing, steps, shift)
                if own is not None:
                    equal(name, own.sigmas, scheduler.sigmas)
                    equal(name, own.timesteps, scheduler.timesteps)
                    equal(name, trajectory(own, solver, x, a, b, noise), samples)
                    checked += 1
                case.add("output", {f"{name}/samples": samples})
                if solver != "sde":
                    case.add("output", {
                        f"{name}/sigmas": scheduler.sigmas,
                        f"{name}/timesteps": scheduler.timesteps.float(),
                    })
    # Rounding in float32 would hide small errors in the corrector's coefficients.
    wide = [tensor.double() for tensor in (x, a, b, noise)]
    for steps in WIDE_STEPS:
        name = f"unipc/wanUniPC/{steps}/5"
        scheduler = scheduler_for("unipc", "wanUniPC", steps, 5.0)
        scheduler.sigmas = scheduler.sigmas.double()
        samples = trajectory(scheduler, "unipc", *wide)
        assert samples.dtype == torch.float64
        case.agree(f"{name} float32", samples, case.tensors[f"output/{name}/samples"], 5e-6)
        case.add("output", {f"{name}/samples64": samples})
    print(f"  solvers: {checked} runs equal to Wan2.2's own")
    return case


def few_step():
    seed = 1102
    rng = generator(seed)
    case = Case(
        name="few_step",
        reference="streamdiffusionv2 models/wan/flow_match.py, models/wan/wan_wrapper.py",
        seed=seed,
        config={
            name: {"steps": steps, "shift": shift, "warped": warped}
            for name, (steps, shift, warped) in FEW_STEP_LISTS.items()
        },
        tolerance={"absolute": 5e-6, "relative": 1e-5},
        notes=[
            "From input/x along the flow of the case `solvers`: x0 by the wrapper's conversion, "
            "which the scheduler's add_noise takes to the next timestep with input/noise[step]; "
            "the last step ends at x0. The table is that of the streaming wrapper with the shift.",
        ],
    )
    x, a, b = normal(rng, *SHAPE), normal(rng, *SHAPE, scale=0.5), normal(rng, *SHAPE)
    noise = normal(rng, 4, *SHAPE)
    case.add("input", {"x": x, "a": a, "b": b, "noise": noise})
    for name, (steps, shift, warped) in FEW_STEP_LISTS.items():
        scheduler = FlowMatchScheduler(shift=shift, sigma_min=0.0, extra_one_step=True)
        scheduler.set_timesteps(1000, training=True)
        wrapper = wan_wrapper.WanDiffusionWrapper.__new__(wan_wrapper.WanDiffusionWrapper)
        object.__setattr__(wrapper, "scheduler", scheduler)
        timesteps = torch.tensor(steps)
        if warped:
            table = torch.cat((scheduler.timesteps, torch.tensor([0.0])))
            timesteps = table[1000 - timesteps]
        sample, samples = x, []
        for index, timestep in enumerate(timesteps):
            sample = wrapper._convert_flow_pred_to_x0(
                flow(sample, timestep, a, b), sample, timestep.reshape(1))
            if index + 1 < len(timesteps):
                sample = scheduler.add_noise(
                    sample, noise[index], timesteps[index + 1].reshape(1))
            samples.append(sample)
        case.add("output", {
            f"{name}/samples": torch.stack(samples),
            f"{name}/timesteps": timesteps.float(),
        })
    return case


def cases():
    yield solvers()
    yield few_step()
