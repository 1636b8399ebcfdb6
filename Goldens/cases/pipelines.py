"""Whole diffusers pipelines, from given noise, text and images to latents and pixels.

The weights are exactly representable in bfloat16, which halves the size of the file; all arithmetic is
float32. Where Wan's own code differs from diffusers, a run with Wan's arithmetic on the same network is
included under the name original.
"""

from unittest.mock import patch

import torch
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
    WanImageToVideoPipeline,
    WanPipeline,
    WanVACEPipeline,
    WanVACETransformer3DModel,
)
from diffusers.models import embeddings
from PIL import Image

from .case import Case, generator, normal, randomize
from .reference import AutoencoderKLWan, WanTransformer3DModel
from .solvers import original_for, scheduler_for
from .vae import statistics

TEXT_LEN = 512  # diffusers separates image tokens from text by this number
IMAGE_TOKENS = 257
TOLERANCE = {"absolute": 1e-4, "relative": 1e-4}
NOTES = [
    "weights_diffusers/{transformer, transformer_2, vae}/… are under diffusers' keys, in BF16 that "
    "the reference ran in float32. config holds their config.json and, in runs, what each run was "
    "asked for. A file without a VAE takes that of pipeline_vae21.",
    "input/<run>/noise is the pipeline's `latents` as they are (no factor of the scheduler's). "
    "input/<run>/text and negative are the rows of the two texts that are not zero; both are "
    "padded with zeros to 512. guidance 1 means no second branch; otherwise negative + "
    "guidance * (text - negative).",
    "output/<run>/latents are the last ones, normalised as the network sees them; latents_1 those "
    "after one step. Before the decoder they become latents * latents_std + latents_mean; what the "
    "encoder gives (the mean, no sample) becomes (mean - latents_mean) / latents_std.",
    "output/<run>/pixels are [F, 3, H, W] in [0, 1]: decoded, clamped to [-1, 1], x/2 + 0.5.",
    "diffusers computes the sinusoid of a timestep in float32, Wan in float64; agreement has how "
    "far apart the last latents then are, relative to their norm. Another text, image, mask or "
    "set of image embeddings moves them by 3e-3 to 2e-1.",
    "input/<run>/image is uint8 [H, W, 3] of the final size; it goes in as x/255*2 - 1.",
]


def bfloat16_values(module):
    """Rounds every parameter to bfloat16 precision."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(parameter.to(torch.bfloat16).float())
    return module


def transformer_config(**changes):
    """diffusers' configuration of a small network; head size 24 splits into 8 + 8 + 8."""
    config = dict(
        patch_size=[1, 2, 2], num_attention_heads=2, attention_head_dim=24, in_channels=16,
        out_channels=16, text_dim=20, freq_dim=32, ffn_dim=80, num_layers=2, cross_attn_norm=True,
        qk_norm="rms_norm_across_heads", eps=1e-6, image_dim=None, added_kv_proj_dim=None,
        rope_max_seq_len=1024, pos_embed_seq_len=None,
    )
    config.update(changes)
    return config


def transformer(config, rng, kind=WanTransformer3DModel):
    model = randomize(kind(**config), rng)
    if config["pos_embed_seq_len"] is not None:
        embedding = model.condition_embedder.image_embedder.pos_embed
        embedding.copy_(normal(rng, *embedding.shape, scale=0.5))
    return bfloat16_values(model)


def vae21_config():
    mean, std = statistics(generator(5000), 16)
    return dict(
        base_dim=4, z_dim=16, dim_mult=[1, 2, 2, 2], num_res_blocks=2, attn_scales=[],
        temperal_downsample=[False, True, True], latents_mean=mean, latents_std=std)


def vae22_config():
    mean, std = statistics(generator(5009), 48)
    return dict(
        base_dim=4, decoder_base_dim=4, z_dim=48, dim_mult=[1, 2, 2, 2], num_res_blocks=2,
        attn_scales=[], temperal_downsample=[False, True, True], latents_mean=mean,
        latents_std=std, is_residual=True, in_channels=12, out_channels=12, patch_size=2,
        scale_factor_temporal=4, scale_factor_spatial=16)


def vae(config, seed):
    model = randomize(AutoencoderKLWan(**config), generator(seed))
    # Few pixels are outside [-1, 1].
    model.decoder.conv_out.weight.mul_(0.4)
    return bfloat16_values(model)


def vae21():
    return vae(vae21_config(), 5001)


def weights(case, name, model):
    case.add(f"weights_diffusers/{name}", {
        key: value.to(torch.bfloat16) for key, value in model.state_dict().items()})


def scheduler(solver, shift):
    """A solver as the published folders configure it."""
    if solver == "euler":
        return FlowMatchEulerDiscreteScheduler(shift=shift)
    return UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift,
        num_train_timesteps=1000)


def sinusoid64(timesteps, dim, flip_sin_to_cos=False, downscale_freq_shift=1, **_):
    """diffusers' timestep embedding, computed in float64."""
    assert flip_sin_to_cos and downscale_freq_shift == 0 and dim % 2 == 0
    half = torch.arange(dim // 2, dtype=torch.float64)
    waves = timesteps.double()[:, None] * torch.pow(10000, -half / (dim // 2))
    return torch.cat([waves.cos(), waves.sin()], dim=1).float()


def float64_time():
    return patch.object(embeddings, "get_timestep_embedding", sinusoid64)


def padded(text):
    whole = torch.zeros(1, TEXT_LEN, text.shape[-1])
    whole[:, :text.shape[0]] = text
    return whole


def relative(left, right):
    return ((left.double() - right.double()).norm() / right.double().norm()).item()


def shape(frames, height, width, channels=16, spatial=8):
    """Latents [1, C, F, H, W] of a video."""
    return 1, channels, 1 + (frames - 1) // 4, height // spatial, width // spatial


def run(case, rng, name, pipeline, *, solver="unipc", shift=5.0, steps=8, guidance=5.0,
        frames, height, width, pixels=True, channels=16, spatial=8, text_dim=20, noise_frames=0,
        inputs=None, settings=None, **arguments):
    """Runs a pipeline; stores and returns its inputs and outputs."""
    size = list(shape(frames, height, width, channels, spatial))
    size[2] += noise_frames
    noise = normal(rng, *size)
    text, negative = normal(rng, 11, text_dim), normal(rng, 5, text_dim)
    config = dict(
        solver=solver, shift=shift, steps=steps, guidance=guidance, frames=frames, height=height,
        width=width, **(settings or {}))
    case.config.setdefault("runs", {})[name] = config
    case.add(f"input/{name}", {"noise": noise, "text": text, "negative": negative})
    case.add(f"input/{name}", inputs or {})
    pipeline.set_progress_bar_config(disable=True)
    samples = []

    def keep(_pipeline, _step, _timestep, values):
        samples.append(values["latents"])
        return values

    def call(output):
        pipeline.scheduler = scheduler(solver, shift)
        samples.clear()
        return pipeline(
            prompt_embeds=padded(text), negative_prompt_embeds=padded(negative), latents=noise,
            height=height, width=width, num_frames=frames, num_inference_steps=steps,
            guidance_scale=guidance, output_type=output, callback_on_step_end=keep, **arguments,
        ).frames

    latents = call("latent")
    case.add(f"output/{name}", {"latents": latents, "latents_1": samples[0]})
    if pixels:
        video = call("pt")[0]
        case.add(f"output/{name}", {"pixels": video})
        edge = ((video == 0) | (video == 1)).float().mean().item()
        assert edge < 0.2, (case.name, name, edge)
    with float64_time():
        exact = call("latent")
    apart(case, f"{name}: float64 and float32 sinusoid", exact, latents, 2e-3)
    print(f"  {case.name}/{name}: latents std {latents.std():.2f}")
    return noise, padded(text), padded(negative), latents


def apart(case, what, left, right, limit):
    """Records a relative difference, and fails if it exceeds `limit`."""
    error = relative(left, right)
    case.agreement[what] = float(f"{error:.2g}")
    print(f"  {case.name}: {what}: relative {error:.2e}")
    assert error <= limit, (case.name, what, error)


def plain(models, solver, steps, shift, spacing, noise, text, negative, guidance, boundary=None,
          first=None):
    """Wan's own sampling loop; `first` are the given latents of the first frame of TI2V.

    If SWAN_WAN22 is set, Wan's own solver also runs where there is one, and must agree.
    """
    tables = [scheduler_for(solver, spacing, steps, shift), original_for(
        solver, spacing, steps, shift)]
    results = []
    for table in tables:
        if table is None:
            continue
        table.set_begin_index(0)
        mask = torch.ones_like(noise)
        latents = noise
        if first is not None:
            mask[:, :, 0] = 0
            latents = (1 - mask) * first + mask * latents
        for timestep in table.timesteps:
            low = boundary is not None and timestep.item() < boundary
            model, scale = (models[1], guidance[1]) if low else (models[0], guidance[0])
            told = timestep.expand(1)
            if first is not None:
                told = (mask[0, 0, :, ::2, ::2] * timestep).flatten()[None]
            cond, uncond = (
                model(latents, told, context, return_dict=False)[0] for context in (text, negative))
            flow = uncond + scale * (cond - uncond)
            latents = table.step(flow, timestep, latents, return_dict=False)[0]
            if first is not None:
                latents = (1 - mask) * first + mask * latents
        results.append(latents)
    assert all(torch.equal(results[0], other) for other in results), (solver, spacing)
    return results[0]


def picture(rng, height, width):
    """An image with edges, gradients and noise."""
    rows = torch.linspace(0, 1, height)[:, None, None]
    columns = torch.linspace(0, 1, width)[None, :, None]
    waves = torch.rand(3, generator=rng) * 6 + 2
    values = 0.5 + 0.4 * torch.sin(waves * (rows * 2 + columns * 3))
    values = values + 0.1 * torch.randn(height, width, 3, generator=rng)
    return (values.clamp(0, 1) * 255).to(torch.uint8)


def pil(pixels):
    return Image.fromarray(pixels.numpy())


def case_of(name, seed, reference, config, notes=()):
    return Case(
        name=name, reference=f"diffusers {reference}", seed=seed, config=config,
        tolerance=TOLERANCE, notes=NOTES + list(notes))


def vae_file():
    model, config = vae21(), vae21_config()
    case = Case(
        name="pipeline_vae21", reference="diffusers AutoencoderKLWan", seed=5001,
        config={"vae": config}, tolerance=TOLERANCE,
        notes=["The VAE of the pipelines of Wan 2.1 and of A14B."])
    weights(case, "vae", model)
    return case


def parts(transformer_, vae_, **others):
    return dict(
        tokenizer=None, text_encoder=None, vae=vae_, scheduler=scheduler("unipc", 5.0),
        transformer=transformer_, **others)


def text_to_video():
    seed = 5101
    rng = generator(seed)
    config = transformer_config()
    model = transformer(config, rng)
    case = case_of("pipeline_t2v", seed, "WanPipeline", {"transformer": config}, [
        "original_unipc and original_dpm are Wan's own loop and tables (spacing wanUniPC, wan) on "
        "the same network with the inputs of the run unipc5 and the sinusoid in float64; they "
        "differ from diffusers in the table and the sinusoid alone.",
    ])
    weights(case, "transformer", model)
    pipeline = WanPipeline(**parts(model, vae21()))
    given = run(case, rng, "unipc5", pipeline, frames=9, height=48, width=80)
    run(case, rng, "unipc3", pipeline, shift=3.0, steps=11, frames=5, height=80, width=16)
    run(case, rng, "euler", pipeline, solver="euler", shift=3.0, frames=9, height=16, width=48)
    run(
        case, rng, "no_guidance", pipeline, guidance=1.0, frames=13, height=32, width=16,
        pixels=False)
    run(case, rng, "one_frame", pipeline, solver="euler", frames=1, height=48, width=48)
    with float64_time():
        for solver, spacing in (("unipc", "wanUniPC"), ("dpm", "wan")):
            latents = plain(
                [model], solver, 8, 5.0, spacing, *given[:3], guidance=[5.0])
            case.add(f"output/original_{solver}", {"latents": latents})
            print(f"  {case.name}: original {solver} is {relative(latents, given[3]):.2e} away")
    return case


def text_experts():
    seed = 5102
    rng = generator(seed)
    config = transformer_config(num_layers=1)
    high, low = transformer(config, rng), transformer(config, rng)
    case = case_of(
        "pipeline_t2v_experts", seed, "WanPipeline with transformer_2",
        {"transformer": config, "transformer_2": config, "boundary_ratio": 0.875}, [
            "transformer (high noise, guidance) is used while the timestep is at least "
            "boundary_ratio * 1000, then transformer_2 (guidance_2). Wan's own guide_scale lists "
            "the low one first.",
            "original_dpm is as in pipeline_t2v, with the inputs of the run unipc.",
        ])
    weights(case, "transformer", high)
    weights(case, "transformer_2", low)
    pipeline = WanPipeline(**parts(high, vae21(), transformer_2=low, boundary_ratio=0.875))
    given = run(
        case, rng, "unipc", pipeline, shift=12.0, steps=9, guidance=4.0, guidance_scale_2=3.0,
        frames=5, height=48, width=48, settings={"guidance_2": 3.0})
    run(
        case, rng, "euler", pipeline, solver="euler", shift=5.0, steps=8, guidance=3.5,
        guidance_scale_2=2.0, frames=9, height=16, width=48, settings={"guidance_2": 2.0})
    with float64_time():
        latents = plain(
            [high, low], "dpm", 9, 12.0, "wan", *given[:3], guidance=[4.0, 3.0], boundary=875.0)
    case.add("output/original_dpm", {"latents": latents})
    return case


IMAGE_NOTES = [
    "The network's input is noise (16), mask (4), condition (16) along channels. The condition is "
    "the normalised encoding of the image followed by zeros (which is grey) for all other frames, "
    "at video length; the mask is 1 at the first latent frame in all 4 channels and 0 after.",
]


def image_to_video(name, seed, last):
    """Wan 2.1 with image embeddings, and with a last image."""
    rng = generator(seed)
    config = transformer_config(
        in_channels=36, image_dim=32, added_kv_proj_dim=48, num_layers=1 if last else 2,
        pos_embed_seq_len=2 * IMAGE_TOKENS if last else None)
    model = transformer(config, rng)
    notes = IMAGE_NOTES + [
        "input/<run>/image_embeddings take the place of CLIP's penultimate hidden states: "
        "[images, 257, image_dim]; both branches of the guidance get them.",
    ]
    if last:
        notes.append(
            "With a last image the condition ends with it, and of the mask's 4 channels in the "
            "last latent frame only the last is 1. The embeddings of both images, the first "
            "first, are one list of 514 tokens, to which the position embedding is added.")
    case = case_of(name, seed, "WanImageToVideoPipeline", {"transformer": config}, notes)
    weights(case, "transformer", model)
    pipeline = WanImageToVideoPipeline(**parts(model, vae21()))
    runs = [("unipc", "unipc", 3.0, 9, 48, 48), ("euler", "euler", 5.0, 5, 16, 48)]
    for run_name, solver, shift, frames, height, width in runs:
        images = {"image": picture(rng, height, width)}
        if last:
            images["last_image"] = picture(rng, height, width)
        embeddings_ = normal(rng, len(images), IMAGE_TOKENS, config["image_dim"])
        # The pipeline refuses an image together with embeddings, so CLIP is replaced.
        arguments = {key: pil(value) for key, value in images.items()}
        with patch.object(
                pipeline, "encode_image", lambda *_, **__: embeddings_), torch.no_grad():
            run(
                case, rng, run_name, pipeline, solver=solver, shift=shift, frames=frames,
                height=height, width=width, inputs={**images, "image_embeddings": embeddings_},
                **arguments)
    return case


def image_experts():
    seed = 5105
    rng = generator(seed)
    config = transformer_config(in_channels=36, num_layers=1)
    high, low = transformer(config, rng), transformer(config, rng)
    case = case_of(
        "pipeline_i2v_experts", seed, "WanImageToVideoPipeline with transformer_2",
        {"transformer": config, "transformer_2": config, "boundary_ratio": 0.9},
        IMAGE_NOTES + ["Experts as in pipeline_t2v_experts; no image embeddings."])
    weights(case, "transformer", high)
    weights(case, "transformer_2", low)
    pipeline = WanImageToVideoPipeline(
        **parts(high, vae21(), transformer_2=low, boundary_ratio=0.9))
    for name, solver, frames, height, width in (
            ("unipc", "unipc", 5, 48, 48), ("euler", "euler", 9, 16, 48)):
        image = picture(rng, height, width)
        run(
            case, rng, name, pipeline, solver=solver, shift=5.0, guidance=3.5,
            guidance_scale_2=2.5, frames=frames, height=height, width=width,
            inputs={"image": image}, settings={"guidance_2": 2.5}, image=pil(image))
    return case


def both_in_one():
    """TI2V-5B: residual VAE with 48 channels, one timestep per token."""
    seed = 5106
    rng = generator(seed)
    config = transformer_config(in_channels=48, out_channels=48)
    model, autoencoder = transformer(config, rng), vae(vae22_config(), 5010)
    case = case_of(
        "pipeline_ti2v", seed, "WanPipeline and WanImageToVideoPipeline, expand_timesteps",
        {"transformer": config, "vae": vae22_config(), "expand_timesteps": True}, [
            "Every token has a timestep. With an image the tokens of the first latent frame have "
            "0, and that frame is the image's normalised encoding (of the one frame): in what the "
            "network sees at each step, and in the final latents.",
            "diffusers blends before the network and at the end; Wan's own code also after each "
            "step. The solvers work element by element, so both give the same latents, which is "
            "checked at generation; latents_1 are diffusers', not yet blended.",
            "original_unipc and original_dpm are Wan's own loop on the run image_unipc's inputs.",
        ])
    weights(case, "transformer", model)
    weights(case, "vae", autoencoder)
    sizes = dict(channels=48, spatial=16)
    pipeline = WanPipeline(**parts(model, autoencoder, expand_timesteps=True))
    run(case, rng, "text_unipc", pipeline, frames=5, height=32, width=96, pixels=False, **sizes)
    run(case, rng, "text_euler", pipeline, solver="euler", frames=9, height=96, width=32,
        pixels=False, **sizes)
    pipeline = WanImageToVideoPipeline(**parts(model, autoencoder, expand_timesteps=True))
    image = picture(rng, 32, 96)
    given = run(
        case, rng, "image_unipc", pipeline, frames=9, height=32, width=96,
        inputs={"image": image}, image=pil(image), **sizes)
    other = picture(rng, 96, 32)
    run(case, rng, "image_euler", pipeline, solver="euler", shift=3.0, frames=5, height=96,
        width=32, pixels=False, inputs={"image": other}, image=pil(other), **sizes)

    video = image.float().permute(2, 0, 1)[None, :, None] / 255 * 2 - 1
    mean, std = (
        torch.tensor(values).view(1, -1, 1, 1, 1)
        for values in (case.config["vae"]["latents_mean"], case.config["vae"]["latents_std"]))
    first = (autoencoder.encode(video).latent_dist.mode() - mean) / std
    case.add("output/image_unipc", {"condition": first})
    blended = plain(
        [model], "unipc", 8, 5.0, "diffusersUniPC", *given[:3], guidance=[5.0], first=first)
    apart(case, "blended after each step, and before the network", blended, given[3], 1e-5)
    with float64_time():
        for solver, spacing in (("unipc", "wanUniPC"), ("dpm", "wan")):
            latents = plain(
                [model], solver, 8, 5.0, spacing, *given[:3], guidance=[5.0], first=first)
            case.add(f"output/original_{solver}", {"latents": latents})
    return case


def vace():
    seed = 5107
    rng = generator(seed)
    config = transformer_config(num_layers=3, vace_layers=[0, 2], vace_in_channels=96)
    model = transformer(config, rng, WanVACETransformer3DModel)
    case = case_of("pipeline_vace", seed, "WanVACEPipeline", {"transformer": config}, [
        "input/<run>/{video, mask} are uint8 [F, H, W, 3], x/255*2 - 1 for the video; the mask is "
        "x/255 > 0.5, 1 where the video is made anew.",
        "The control is inactive (16), reactive (16), mask (64) along channels: the normalised "
        "encodings of video * (1 - mask) and video * mask, and the mask's 8 x 8 pixels of a latent "
        "pixel as channels (row * 8 + column) in the frames that nearest-exact picks: "
        "floor((i + 0.5) * F / latent frames).",
        "A reference image (of the final size) is encoded as one frame and put before: its "
        "latents, zeros for reactive, zeros for the mask. The noise has that frame too; it is in "
        "latents but is dropped before decoding.",
        "The hints are scaled by conditioning_scale.",
    ])
    weights(case, "transformer", model)
    pipeline = WanVACEPipeline(**parts(model, vae21()))
    for name, solver, frames, height, width, reference, scale in (
            ("control", "unipc", 9, 32, 48, False, 1.0),
            ("reference", "euler", 5, 48, 16, True, 0.7)):
        video = torch.stack([picture(rng, height, width) for _ in range(frames)])
        mask = torch.zeros(frames, height, width, 3, dtype=torch.uint8)
        mask[1:, height // 4:height // 2 + 3, 5:width - 3] = 255
        mask[-1, 3:9, 2:11] = 200
        inputs, images = {"video": video, "mask": mask}, None
        if reference:
            inputs["reference"] = picture(rng, height, width)
            images = [pil(inputs["reference"])]
        run(
            case, rng, name, pipeline, solver=solver, shift=3.0, frames=frames, height=height,
            width=width, inputs=inputs, noise_frames=int(reference),
            settings={"conditioning_scale": scale}, video=[pil(frame) for frame in video],
            mask=[pil(frame) for frame in mask], reference_images=images,
            conditioning_scale=scale)
    return case


def cases():
    yield vae_file()
    yield text_to_video()
    yield text_experts()
    yield image_to_video("pipeline_i2v", 5103, last=False)
    yield image_to_video("pipeline_flf2v", 5104, last=True)
    yield image_experts()
    yield both_in_one()
    yield vace()
