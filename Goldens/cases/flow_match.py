"""The flow-matching schedule, and the motion-aware noise controller of streaming."""

import torch

from .case import Case, generator, normal
from .reference import FlowMatchScheduler, compute_noise_scale_and_step, wan_wrapper

# Name, constructor arguments, steps, training. The streaming wrapper builds the first one.
TABLES = {
    "stream": (dict(shift=8.0, sigma_min=0.0, extra_one_step=True), 1000, True),
    "shift5_steps40": (dict(shift=5.0, sigma_min=0.0, extra_one_step=True), 40, False),
    "shift3_default": (dict(), 100, False),
    "shift1_steps7": (dict(shift=1.0), 7, False),
    "inverse": (dict(shift=3.0, inverse_timesteps=True, extra_one_step=True), 20, False),
    "reverse": (dict(shift=3.0, reverse_sigmas=True), 20, False),
}
STEP_LISTS = [[700, 500, 400, 200, 0], [1000, 757, 522, 0], [999, 1, 0]]


def schedule():
    seed = 1001
    rng = generator(seed)
    case = Case(
        name="flow_match",
        reference="streamdiffusionv2 models/wan/flow_match.py, models/wan/wan_wrapper.py",
        seed=seed,
        config={
            "tables": {
                name: {**arguments, "steps": steps, "training": training}
                for name, (arguments, steps, training) in TABLES.items()
            },
            "defaults": {
                "num_train_timesteps": 1000,
                "shift": 3.0,
                "sigma_max": 1.0,
                "sigma_min": 0.003 / 1.002,
            },
            "step_lists": STEP_LISTS,
        },
        tolerance={"absolute": 1e-5, "relative": 1e-6},
        notes=[
            "sigmas and timesteps are float32: linspace(sigma_max, sigma_min, steps), with "
            "extra_one_step over steps + 1 points less the last; then s*x / (1 + (s - 1)*x).",
            "A timestep is looked up by the smallest |table - t| (first index on a tie), also when "
            "t is an integer: the sigma used is that of the nearest table entry, not t / 1000.",
            "add_noise works in float32; flow to x0 and back work in float64 on the float32 tables "
            "and round once at the end.",
            "Warping a step list: table = timesteps + [0]; warped = table[1000 - step]. The result "
            "is float32; without warping the list stays int64.",
        ],
    )
    for name, (arguments, steps, training) in TABLES.items():
        scheduler = FlowMatchScheduler(**arguments)
        scheduler.set_timesteps(steps, training=training)
        case.add("output", {
            f"{name}/sigmas": scheduler.sigmas,
            f"{name}/timesteps": scheduler.timesteps,
        })
        if training:
            case.add("output", {f"{name}/training_weights": scheduler.linear_timesteps_weights})

    arguments, steps, training = TABLES["stream"]
    scheduler = FlowMatchScheduler(**arguments)
    scheduler.set_timesteps(steps, training=training)
    table = torch.cat((scheduler.timesteps, torch.tensor([0.0])))
    for index, steps in enumerate(STEP_LISTS):
        case.add("output", {f"warped_{index}": table[1000 - torch.tensor(steps)]})

    shape = (12, 3, 4, 5)
    clean, noise = normal(rng, *shape), normal(rng, *shape)
    integer = torch.tensor([1000, 999, 900, 761, 700, 500, 400, 200, 100, 8, 1, 0])
    fractional = torch.rand(12, generator=rng) * 1000
    fractional[0], fractional[1] = 1003.5, 0.25
    wrapper = wan_wrapper.WanDiffusionWrapper.__new__(wan_wrapper.WanDiffusionWrapper)
    object.__setattr__(wrapper, "scheduler", scheduler)
    case.add("input", {"clean": clean, "noise": noise})
    for name, timestep in (("integer", integer), ("fractional", fractional)):
        case.add("input", {f"timestep_{name}": timestep})
        noised = scheduler.add_noise(clean, noise, timestep)
        x0 = wrapper._convert_flow_pred_to_x0(noise, clean, timestep)
        flow = wrapper._convert_x0_to_flow_pred(
            scheduler, noise[:9], clean[:9], timestep.clamp(min=50)[:9])
        case.add("output", {
            f"add_noise_{name}": noised,
            f"flow_to_x0_{name}": x0,
            f"x0_to_flow_{name}": flow,
            f"step_{name}": scheduler.step(noise, timestep.clamp(min=50), clean),
        })
    case.notes.append(
        "flow_to_x0 takes noise as the flow and clean as x_t, all rows; x0_to_flow takes noise as "
        "x0 and clean as x_t, the first 9 rows with timesteps raised to at least 50; step takes "
        "noise as the model's output and clean as the sample, timesteps raised to at least 50.")
    return case


def moving_video(rng, frames, height, width):
    """A video with still frames, slow drift, fast motion and a cut, so that every branch is taken."""
    still = torch.rand(3, height, width, generator=rng) * 2 - 1
    video = []
    for index in range(frames):
        phase = index / frames
        if phase < 0.25:
            frame = still
        elif phase < 0.5:
            frame = still * (1 - (phase - 0.25)) + 0.01 * normal(rng, 3, height, width)
        elif phase < 0.75:
            frame = torch.roll(still, shifts=index, dims=2) * 0.03 * (1 + index % 4)
        else:
            frame = torch.rand(3, height, width, generator=rng) * 2 - 1
        video.append(frame.clamp(-1, 1))
    return torch.stack(video, dim=1).unsqueeze(0)


def noise_controller():
    seed = 1002
    rng = generator(seed)
    runs = [
        {"name": "chunk4", "chunk_size": 4, "init_noise_scale": 0.8, "noise_scale": 0.8},
        {"name": "chunk4_low", "chunk_size": 4, "init_noise_scale": 0.7, "noise_scale": 0.7},
        {"name": "chunk12", "chunk_size": 12, "init_noise_scale": 0.8, "noise_scale": 0.8},
        {"name": "resumed", "chunk_size": 4, "init_noise_scale": 0.8, "noise_scale": 0.55},
    ]
    video = moving_video(rng, 49, 8, 12)
    case = Case(
        name="noise_controller",
        reference="streamdiffusionv2 streamv2v/inference.py compute_noise_scale_and_step",
        seed=seed,
        config={"runs": runs},
        tolerance={"absolute": 1e-6, "relative": 0},
        notes=[
            "video is [1, 3, T, H, W] in [-1, 1], float32 (the reference holds it in bfloat16). "
            "Chunk i covers frames 1 + i*chunk ..< 1 + (i+1)*chunk; each is compared with the "
            "frame before it, so the last frame of the previous chunk is needed.",
            "distance = clamp(max over frames of sqrt(mean over batch, channel, height, width of "
            "the squared difference) / 0.2, 0, 1) in float32; then in double: "
            "scale = (init - 0.1*distance)*0.9 + previous*0.1; step = Int(1000*scale) - 100.",
            "previous starts as init (the first chunk is noised with init itself, at the full "
            "step list); `resumed` starts from another previous scale.",
            "current_step must be equal: no 1000*scale here lies so near an integer that float32 "
            "rounding of the distance could change it.",
        ],
    )
    case.add("input", {"video": video})
    for run in runs:
        chunk, init, scale = run["chunk_size"], run["init_noise_scale"], run["noise_scale"]
        scales, steps, end = [], [], 1 + chunk
        while end <= video.shape[2]:
            previous = scale
            scale, step = compute_noise_scale_and_step(video, end, chunk, scale, init)
            # A session sees only the chunk and the frame before it.
            part = video[:, :, end - chunk - 1:end]
            again = compute_noise_scale_and_step(part, chunk + 1, chunk, previous, init)
            assert again == (scale, step)
            distance = (init - (scale - previous * 0.1) / 0.9) * 10
            fraction = 1000 * scale % 1
            rounded = min(fraction, 1 - fraction) < 1e-3
            assert not rounded or min(distance, 1 - distance) < 1e-9, (scale, distance)
            scales.append(scale)
            steps.append(step)
            end += chunk
        case.add("output", {
            f"{run['name']}/noise_scale": torch.tensor(scales, dtype=torch.float64),
            f"{run['name']}/current_step": torch.tensor(steps),
        })
        print(f"  noise_controller {run['name']}:", steps)
    return case


def cases():
    yield schedule()
    yield noise_controller()
