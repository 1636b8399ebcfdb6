"""Image similarity: structural similarity by scikit-image."""

import torch
import torch.nn.functional as F
from skimage.metrics import structural_similarity

from .case import Case, generator

SIZES = [(4, 24, 30), (1, 11, 11)]


def cases():
    seed = 6101
    rng = generator(seed)
    case = Case(
        name="ssim",
        reference="skimage.metrics.structural_similarity",
        seed=seed,
        config={"sizes": [list(size) for size in SIZES]},
        tolerance={"absolute": 2e-5, "relative": 0},
        notes=[
            "first_i and second_i are gray frames [T, H, W] in [0, 1]; ssim_i is [T]. "
            "gaussian_weights, sigma 1.5, use_sample_covariance off, data_range 1, in float64.",
            "The four pairs of case 0: with noise, darker, flat places beside noise, inverted.",
        ],
    )
    for index, (count, height, width) in enumerate(SIZES):
        coarse = torch.rand(count, 1, (height + 3) // 4, (width + 3) // 4, generator=rng)
        first = F.interpolate(coarse, size=(height, width), mode="bilinear")[:, 0]
        noise = torch.rand(count, height, width, generator=rng) - 0.5
        second = (first + 0.2 * noise).clamp(0, 1)
        if count == 4:
            second[1] = first[1] * 0.6
            first[2] = 0.5
            second[2] = 0.5 + 0.02 * noise[2]
            second[3] = 1 - first[3]
        case.add("input", {f"first_{index}": first, f"second_{index}": second})
        values = [
            structural_similarity(
                a.double().numpy(),
                b.double().numpy(),
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
                data_range=1,
            )
            for a, b in zip(first, second)
        ]
        case.add("output", {f"ssim_{index}": torch.tensor(values, dtype=torch.float64)})
    yield case
