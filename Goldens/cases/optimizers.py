"""PyTorch's optimizers."""

import unittest.mock

import torch

from .case import Case, generator

SHAPES = {"wide": (24, 40), "tall": (48, 16), "square": (32, 32)}
STEPS = 4
RATE = 1e-3
DECAY = 0.1


def cases():
    seed = 6201
    rng = generator(seed)
    case = Case(
        name="muon",
        reference="torch.optim.Muon(adjust_lr_fn match_rms_adamw)",
        seed=seed,
        config={"steps": STEPS, "learning_rate": RATE, "weight_decay": DECAY},
        tolerance={"absolute": 2e-6, "relative": 2e-6},
        notes=[
            "gradient_NAME is [steps, rows, columns]; NAME is the weight before the first step and "
            "after the last.",
            "The reference orthogonalizes in bfloat16; here its iteration runs in float32.",
        ],
    )
    for name, shape in SHAPES.items():
        weight = torch.randn(shape, generator=rng)
        # Mostly of low rank, where orthogonalized steps differ most from others.
        gradients = torch.randn(STEPS, shape[0], 2, generator=rng) @ torch.randn(
            STEPS, 2, shape[1], generator=rng
        ) + 0.05 * torch.randn(STEPS, *shape, generator=rng)
        case.add("input", {name: weight, f"gradient_{name}": gradients})
        parameter = torch.nn.Parameter(weight.clone())
        optimizer = torch.optim.Muon(
            [parameter], lr=RATE, weight_decay=DECAY, adjust_lr_fn="match_rms_adamw"
        )
        with unittest.mock.patch.object(torch.Tensor, "bfloat16", lambda self: self.clone()):
            for gradient in gradients:
                parameter.grad = gradient.clone()
                optimizer.step()
        case.add("output", {name: parameter.detach().clone()})
    yield case
