"""VACE: the transformer with a control branch, and the inputs of the branch."""

from types import SimpleNamespace

import PIL.Image
import torch
from diffusers import WanVACEPipeline, WanVACETransformer3DModel

from . import original
from .case import Case, generator, normal, randomize
from .image_to_video import TOLERANCE, with_wans_sinusoid
from .reference import WanModel, convert_wan_transformer_to_diffusers
from .transformer import context, diffusers_model, model_config


def branch(config, layers, control_dim, rng):
    """The weights that VACE adds to a transformer, under Wan's own keys."""
    blocks = randomize(WanModel(**{**config, "num_layers": len(layers)}), rng).state_dict()
    dim = config["dim"]
    weights = {
        f"vace_{key}": value for key, value in blocks.items() if key.startswith("blocks.")}
    linear = {
        "vace_patch_embedding": torch.nn.Conv3d(
            control_dim, dim, config["patch_size"], config["patch_size"]),
        "vace_blocks.0.before_proj": torch.nn.Linear(dim, dim),
        **{f"vace_blocks.{n}.after_proj": torch.nn.Linear(dim, dim) for n in range(len(layers))},
    }
    for name, module in linear.items():
        for key, value in randomize(module, rng).state_dict().items():
            weights[f"{name}.{key}"] = value
    return weights


def transformer(name, seed, layers, control_dim, size, lengths, timestep, scale, **changes):
    config = model_config(model_type="t2v", text_len=20, **changes)
    rng = generator(seed)
    weights = {
        **randomize(WanModel(**config), rng).state_dict(),
        **branch(config, layers, control_dim, rng),
    }
    x = normal(rng, len(lengths), config["in_dim"], *size)
    control = normal(rng, len(lengths), control_dim, *size)
    texts, padded = context(rng, config, lengths)
    case = Case(
        name=name,
        reference="diffusers WanVACETransformer3DModel; Wan2.1 wan/modules/vace_model.py",
        seed=seed,
        config={
            **config, "model_type": "vace", "vace_layers": layers, "vace_in_dim": control_dim,
            "context_scale": scale,
        },
        tolerance=TOLERANCE,
        notes=[
            "control is what the branch is shown, context_scale how much it says.",
            "The sinusoid of a timestep is Wan's, in float64, also where diffusers computes the "
            "rest.",
        ],
    )
    peer = with_wans_sinusoid(diffusers_model(
        config, convert_wan_transformer_to_diffusers(dict(weights)), WanVACETransformer3DModel,
        vace_layers=layers, vace_in_channels=control_dim))

    def run(scale):
        scales = torch.full((len(layers),), scale)
        return peer(x, timestep, padded, None, control, scales, return_dict=False)[0]

    output = run(scale)
    assert (run(0.0) - output).abs().max() > 0.1, "the control does not matter"
    if module := original.module("modules.vace_model"):
        own = module.VaceWanModel(
            **{**config, "model_type": "vace"}, vace_layers=layers, vace_in_dim=control_dim)
        own.load_state_dict(weights, strict=True)
        own = own.eval()(
            list(x), t=timestep, vace_context=list(control), context=texts,
            seq_len=size[0] * (size[1] // 2) * (size[2] // 2), vace_context_scale=scale)
        case.agree("WanVACETransformer3DModel and Wan2.1", output, torch.stack(own), 1e-5)
    case.add("weights", weights)
    case.add("input", {
        "video": x, "control": control, "timestep": timestep,
        "context": padded[:, :max(lengths)]})
    case.add("output", {"video": output})
    print(f"  {name}: output std {output.std():.2f}")
    return case


def control(name, seed, frames, height, width, references):
    """The inputs of the branch, with a stand-in for the autoencoder."""
    rng = generator(seed)
    matrix = normal(rng, 3, 4)
    video = torch.rand(1, 3, frames, height, width, generator=rng) * 2 - 1
    mask = torch.rand(1, 1, frames, height, width, generator=rng)
    images = [torch.rand(3, 1, height, width, generator=rng) * 2 - 1 for _ in range(references)]

    def encode(x):
        x = x[:, :, ::4, ::8, ::8].movedim(1, -1)
        return (x @ matrix).tanh().movedim(-1, 1)

    case = Case(
        name=name,
        reference="diffusers WanVACEPipeline; Wan2.1 wan/vace.py",
        seed=seed,
        config={"references": references},
        tolerance={"absolute": 1e-6, "relative": 1e-6},
        notes=[
            "The autoencoder is a stand-in: tanh of input/matrix times the channels of every fourth "
            "frame's, eighth row's and column's pixel.",
            "diffusers puts every reference image before the one that came before it, Wan2.1 after "
            "it; diffusers is given them in reverse.",
        ],
    )
    config = SimpleNamespace(latents_mean=[0.0] * 4, latents_std=[1.0] * 4, z_dim=4)
    pipeline = SimpleNamespace(
        vae=SimpleNamespace(
            encode=lambda x: SimpleNamespace(latents=encode(x)), config=config,
            dtype=torch.float32),
        transformer=SimpleNamespace(config=SimpleNamespace(patch_size=(1, 2, 2))),
        vae_scale_factor_temporal=4,
        vae_scale_factor_spatial=8,
        _execution_device=torch.device("cpu"),
    )
    backwards = [[image[:, 0] for image in reversed(images)]]
    output = torch.cat([
        WanVACEPipeline.prepare_video_latents(pipeline, video, mask, backwards),
        WanVACEPipeline.prepare_masks(pipeline, mask, backwards),
    ], dim=1)
    if module := original.module("vace"):
        own = wans_control(module, video, mask, images, encode)
        case.agree("diffusers and Wan2.1", output, own, 0)
    case.add("input", {
        "video": video, "mask": mask, "matrix": matrix,
        **{f"reference_{index}": image[None] for index, image in enumerate(images)}})
    case.add("output", {"control": output})
    return case


def wans_control(module, video, mask, images, encode):
    """The same inputs, computed by Wan2.1's own pipeline."""
    pipeline = module.WanVace.__new__(module.WanVace)
    pipeline.vae = SimpleNamespace(encode=lambda videos: [encode(x[None])[0] for x in videos])
    pipeline.vae_stride = (4, 8, 8)
    references = [images or None]
    latents = pipeline.vace_encode_frames(list(video), references, masks=list(mask))
    masks = pipeline.vace_encode_masks(list(mask), references)
    return torch.stack(pipeline.vace_latent(latents, masks))


class ExactImage(PIL.Image.Image):
    """An object that diffusers accepts as an image, with more than eight bits of precision."""

    def __init__(self, tensor):
        super().__init__()
        self.tensor = tensor


def reference_frame():
    """A reference image in the middle of a white frame, as diffusers arranges it."""
    seed = 2413
    rng = generator(seed)
    sizes = [((20, 50), (32, 48)), ((37, 11), (16, 32)), ((100, 90), (48, 32)), ((32, 48), (32, 48))]
    case = Case(
        name="vace_reference",
        reference="diffusers WanVACEPipeline.preprocess_conditions",
        seed=seed,
        config={"sizes": [{"from": list(old), "to": list(new)} for old, new in sizes]},
        tolerance={"absolute": 2e-6, "relative": 1e-6},
        notes=["image_i is [1, 3, H, W] with values -1 ... 1, frame_i [1, 3, 1, height, width]."],
    )
    for index, (old, new) in enumerate(sizes):
        image = torch.rand(1, 3, *old, generator=rng) * 2 - 1
        processor = SimpleNamespace(preprocess=lambda image, *_: image.tensor)
        pipeline = SimpleNamespace(
            transformer=SimpleNamespace(config=SimpleNamespace(patch_size=(1, 2, 2))),
            vae_scale_factor_spatial=8, video_processor=processor)
        frames = WanVACEPipeline.preprocess_conditions(
            pipeline, None, None, [[ExactImage(image)]], 1, *new, 1, torch.float32, "cpu")[2]
        case.add("input", {f"image_{index}": image})
        case.add("output", {f"frame_{index}": frames[0][0][None, :, None]})
    return case


def cases():
    yield transformer(
        "vace_a", 2401, [0, 2], 9, (3, 6, 10), [12, 5], torch.tensor([999, 250]), 1.0,
        num_layers=4, dim=36, num_heads=3, ffn_dim=72)
    yield transformer(
        "vace_b", 2402, [0, 1, 3], 12, (2, 10, 6), [17], torch.tensor([731]), 0.7,
        num_layers=4, dim=32, num_heads=2, ffn_dim=64)
    yield control("vace_control_a", 2411, 9, 32, 48, 0)
    yield control("vace_control_b", 2412, 5, 16, 32, 2)
    yield reference_frame()
