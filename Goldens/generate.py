"""Writes the golden files that Swan's tests read; see README.md.

    python generate.py [GROUP ...]

Writes all groups by default. Groups that are not named keep their files and their entries in
manifest.json.
"""

import importlib
import importlib.metadata
import json
import pathlib
import platform
import sys

sys.dont_write_bytecode = True

import torch  # noqa: E402

GROUPS = [
    "flow_match", "solvers", "schedulers", "transformer", "image_to_video", "vace", "stream",
    "stream_text", "vae", "tiny_vae",
    "text_encoder", "clip_vision", "lora", "engine", "measures", "optimizers", "distillation",
    "self_forcing", "lite_student", "pipelines",
]
PACKAGES = [
    "torch", "diffusers", "transformers", "streamdiffusionv2", "safetensors", "numpy", "pillow",
    "scikit-image",
]
CONVENTIONS = {
    "file": "One safetensors file a case. `weights/` holds the reference checkpoint's own keys; "
    "`weights_diffusers/` and `weights_hf/` hold the same values under those projects' keys; "
    "`input/` and `output/` hold what went in and what came out.",
    "metadata": "`config`, `tolerance` and, for streams, `trace` are JSON; `reference` and `seed` "
    "are text.",
    "precision": "float32 on one CPU thread, unless a tensor says otherwise.",
    "tolerance": "|ours - golden| <= absolute + relative*|golden|, for float32 on a CPU.",
    "reproducible": "The same packages on the same kind of processor give the same sha256; another "
    "instruction set may change the last bits.",
}


def main():
    folder = pathlib.Path(__file__).resolve().parent
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    torch.use_deterministic_algorithms(True)

    manifest_path = folder / "manifest.json"
    entries = {}
    if manifest_path.exists():
        entries = json.loads(manifest_path.read_text())["cases"]
    for group in sys.argv[1:] or GROUPS:
        if group not in GROUPS:
            sys.exit(f"unknown group '{group}'; the groups are {', '.join(GROUPS)}")
        print(group)
        for case in importlib.import_module(f"cases.{group}").cases():
            entry = case.write(folder)
            entries[case.name] = {"group": group, **entry}
            print(f"  {entry['file']}: {entry['bytes']} bytes")

    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    manifest = {
        "schema": 1,
        "python": platform.python_version(),
        "versions": versions,
        "conventions": CONVENTIONS,
        "cases": {name: entries[name] for name in sorted(entries)},
    }
    manifest_path.write_text(json.dumps(manifest, indent=2, ensure_ascii=True) + "\n")
    total = sum(entry["bytes"] for entry in entries.values())
    print(f"{len(entries)} files, {total / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
