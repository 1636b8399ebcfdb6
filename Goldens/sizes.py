"""Writes sizes.json: the sizes that Wan2.2 chooses for a video generated from an image.

    SWAN_WAN22=CHECKOUT python sizes.py

Runs two parts of a checkout of Wan-Video/Wan2.2 in place, without importing the rest:
`best_output_size` of wan/utils/utils.py (TI2V-5B), and the two assignments to `lat_h` and `lat_w`
in wan/image2video.py (the other image-to-video models). The numbers of an entry are width and height of
the image, the area, and width and height of the video.
"""

import ast
import json
import os
import pathlib
import random
import types

import numpy as np

AREAS = [480 * 832, 704 * 1280, 720 * 1280, 1024 * 704, 480 * 480]
SHAPES = [
    (1280, 720), (720, 1280), (1, 1), (1000, 1000), (4032, 3024), (3024, 4032), (1920, 800),
    (500, 333), (832, 480), (640, 640), (17, 5), (5, 17), (3, 100), (100, 3),
]


def function(path, name):
    tree = ast.parse(path.read_text())
    body = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
    scope = {}
    exec(compile(ast.Module(body, []), str(path), "exec"), scope)
    return scope[name]


def latent_rule(path):
    tree = ast.parse(path.read_text())
    body = [
        node for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id in ("lat_h", "lat_w")
    ]
    assert len(body) == 2
    code = compile(ast.Module(body, []), str(path), "exec")

    def rule(width, height, area):
        scope = {
            "np": np, "max_area": area, "aspect_ratio": height / width,
            "self": types.SimpleNamespace(vae_stride=(4, 8, 8), patch_size=(1, 2, 2)),
        }
        exec(code, scope)
        return scope["lat_w"] * 8, scope["lat_h"] * 8

    return rule


def main():
    root = pathlib.Path(os.environ["SWAN_WAN22"]) / "wan"
    best = function(root / "utils" / "utils.py", "best_output_size")
    rule = latent_rule(root / "image2video.py")
    numbers = random.Random(7001)
    shapes = SHAPES + [(numbers.randint(60, 5000), numbers.randint(60, 5000)) for _ in range(120)]
    result = {"best": [], "latent": []}
    for width, height in shapes:
        for area in AREAS:
            result["best"].append([width, height, area, *best(width, height, 32, 32, area)])
            result["latent"].append([width, height, area, *rule(width, height, area)])
    path = pathlib.Path(__file__).parent / "sizes.json"
    lines = {key: [json.dumps(row) for row in rows] for key, rows in result.items()}
    text = ",\n".join(
        f'"{key}": [\n' + ",\n".join(rows) + "\n]" for key, rows in lines.items())
    path.write_text("{" + text + "}\n")
    print(f"sizes.json: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
