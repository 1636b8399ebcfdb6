"""Adapters of every kind, and what PEFT and LyCORIS make of the transformer of `wan_t2v_a` with them."""

import json

import torch
from lycoris.modules.locon import LoConModule
from lycoris.modules.loha import LohaModule
from lycoris.modules.lokr import LokrModule
from peft import (
    LoHaConfig,
    LoKrConfig,
    LoraConfig,
    get_peft_model,
    get_peft_model_state_dict,
)
from safetensors import safe_open

from .case import Case, generator, normal
from .transformer import context, diffusers_model

TOLERANCE = {"absolute": 1e-5, "relative": 1e-5}
TARGETS = ["to_q", "to_k", "to_out.0", "ffn.net.0.proj", "ffn.net.2", "proj_out"]
PEFT = {
    "lora": LoraConfig(
        r=3, lora_alpha=5, target_modules=TARGETS + ["patch_embedding"],
        alpha_pattern={"attn1.to_q": 2}, rank_pattern={"ffn.net.2": 2}, lora_bias=True,
    ),
    "rslora": LoraConfig(r=4, lora_alpha=3, target_modules=TARGETS, use_rslora=True),
    "dora": LoraConfig(
        r=3, lora_alpha=5, target_modules=TARGETS + ["patch_embedding"], use_dora=True,
    ),
    "lokr": LoKrConfig(r=2, alpha=3, target_modules=TARGETS, rank_pattern={"to_k": 3}),
    "lokr_both": LoKrConfig(
        r=1, alpha=3, target_modules=TARGETS, decompose_both=True, decompose_factor=8,
    ),
    "lokr_whole": LoKrConfig(r=30, alpha=20, target_modules=["to_q"], decompose_factor=6),
    "loha": LoHaConfig(r=2, alpha=3, target_modules=TARGETS),
}


def base(folder):
    """The configuration and weights, in diffusers' names and in Wan's."""
    with safe_open(folder / "wan_t2v_a.safetensors", "pt") as file:
        config = json.loads(file.metadata()["config"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}

    def under(prefix):
        return {key.split("/", 1)[1]: value for key, value in tensors.items()
                if key.startswith(prefix + "/")}

    return config, under("weights_diffusers"), under("weights")


def randomized(parameters, rng):
    """Gives trained parameters values of a size that shows; norms stay positive."""
    for name, parameter in parameters:
        noise = normal(rng, *parameter.shape)
        positive = "magnitude" in name or "dora_scale" in name
        parameter.copy_(parameter * (1 + 0.3 * noise.abs()) if positive else noise * 0.4)


def peft(folder):
    """Flows with adapters as PEFT saves them."""
    config, weights, _ = base(folder)
    seed = 7003
    rng = generator(seed)
    x = normal(rng, 1, config["in_dim"], 2, 4, 6)
    _, padded = context(rng, config, [9])
    timestep = torch.tensor([2])
    case = Case(
        name="lora_peft",
        reference="PEFT",
        seed=seed,
        config=config,
        tolerance=TOLERANCE,
        notes=[
            "For the transformer of wan_t2v_a. adapter_<name>/ are the keys that PEFT saves, trace "
            "holds its adapter_config.json for each, output/<name> is the flow.",
        ],
        trace={},
    )
    case.add("input", {"video": x, "timestep": timestep, "context": padded})
    outputs = {}
    for name, settings in PEFT.items():
        model = get_peft_model(diffusers_model(config, weights), settings)
        trained = [(key, value) for key, value in sorted(model.named_parameters())
                   if value.requires_grad]
        randomized(trained, rng)
        state = get_peft_model_state_dict(model)
        case.add(f"adapter_{name}", state)
        values = json.loads(json.dumps(
            settings.to_dict(), default=lambda v: sorted(v) if isinstance(v, set) else str(v)))
        keep = ["peft_type", "r", "alpha", "lora_alpha", "alpha_pattern", "rank_pattern",
                "use_rslora", "use_dora", "fan_in_fan_out", "init_lora_weights"]
        case.trace[name] = {key: values[key] for key in keep if key in values}
        outputs[name] = model(x, timestep, padded, return_dict=False)[0]
    case.add("output", outputs)
    return case


def lycoris_modules(weights):
    """LyCORIS' modules over layers of the transformer: name, module, key of the layer."""
    def layer(key):
        weight = weights[key + ".weight"]
        if weight.dim() == 2:
            made = torch.nn.Linear(weight.shape[1], weight.shape[0])
        else:
            kernel = tuple(weight.shape[2:])
            made = torch.nn.Conv3d(weight.shape[1], weight.shape[0], kernel, stride=kernel)
        made.weight.copy_(weight)
        made.bias.copy_(weights[key + ".bias"])
        return made

    query, feed, patch = "blocks.0.self_attn.q", "blocks.1.ffn.0", "patch_embedding"
    # LyCORIS knows 2-D and 3-D kernels alike; Wan's has two axes longer than one.
    for name, kind, key, options in [
        ("lokr", LokrModule, feed, dict(lora_dim=2, alpha=3, factor=4)),
        ("lokr_both", LokrModule, query, dict(lora_dim=2, alpha=1, factor=8, decompose_both=True)),
        ("lokr_whole", LokrModule, feed, dict(lora_dim=99, alpha=7, factor=4, full_matrix=True)),
        ("lokr_kernel", LokrModule, patch, dict(lora_dim=2, alpha=3, factor=2)),
        ("lokr_tucker", LokrModule, patch, dict(lora_dim=2, alpha=3, factor=2, use_tucker=True)),
        ("lokr_dora", LokrModule, feed, dict(lora_dim=2, alpha=3, factor=4, weight_decompose=True)),
        ("loha", LohaModule, feed, dict(lora_dim=2, alpha=3)),
        ("loha_kernel", LohaModule, patch, dict(lora_dim=2, alpha=3)),
        ("loha_tucker", LohaModule, patch, dict(lora_dim=2, alpha=3, use_tucker=True)),
        ("locon_tucker", LoConModule, patch, dict(lora_dim=3, alpha=2, use_tucker=True)),
        ("dora", LoConModule, feed, dict(lora_dim=3, alpha=2, weight_decompose=True)),
        ("dora_inputs", LoConModule, feed,
         dict(lora_dim=3, alpha=2, weight_decompose=True, wd_on_out=False)),
        ("dora_square", LoConModule, query,
         dict(lora_dim=3, alpha=2, weight_decompose=True, wd_on_out=False)),
        ("dora_kernel", LoConModule, patch, dict(lora_dim=3, alpha=2, weight_decompose=True)),
        ("dora_kernel_inputs", LoConModule, patch,
         dict(lora_dim=3, alpha=2, weight_decompose=True, wd_on_out=False)),
    ]:
        yield name, kind("lycoris", layer(key), **options), key


def applied(module, weight):
    """The weight that a layer with an adapter computes with, from what it makes of unit inputs."""
    inputs = weight[0].numel()
    unit = torch.eye(inputs).reshape(inputs, *weight.shape[1:])
    zero = module(torch.zeros(1, *weight.shape[1:]))
    return (module(unit) - zero).reshape(inputs, -1).T.reshape(weight.shape)


def lycoris(folder):
    """Weights with adapters as LyCORIS saves them."""
    _, _, weights = base(folder)
    seed = 7004
    rng = generator(seed)
    case = Case(
        name="lora_lycoris",
        reference="LyCORIS",
        seed=seed,
        config={},
        tolerance=TOLERANCE,
        notes=[
            "For the transformer of wan_t2v_a. adapter_<name>/ are the keys that LyCORIS saves, "
            "output_<name>/ the weight of the layer with the adapter.",
        ],
    )
    for name, module, key in lycoris_modules(weights):
        module.apply_to()
        randomized(sorted(module.named_parameters()), rng)
        flat = "lycoris_" + key.replace(".", "_")
        case.add(f"adapter_{name}",
                 {f"{flat}.{part}": value for part, value in module.custom_state_dict().items()})
        weight = weights[key + ".weight"]
        changed = applied(module.eval(), weight)
        assert (changed - weight).abs().max() > 0.01, name
        case.add(f"output_{name}", {key + ".weight": changed})
    return case
