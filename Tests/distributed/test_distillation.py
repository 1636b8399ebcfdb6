"""`swan train` with a distillation: the same bits over several ranks, a model that streams, an end for every failure."""
import json
import math
import pathlib
import pickletools
import random
import shutil
import struct
import subprocess
import tempfile
import unittest
import zipfile

import ranks

MODEL = ranks.ROOT / "Sources/SwanCheckpoints/Resources/tiny"
LIMIT = 100
SELF_FORCING = {
    "distillation_loss": "self_forcing", "backward_simulation": True, "data_path": "prompts.txt",
    "denoising_step_list": [1000, 500], "gradient_checkpointing": True,
}


def write_latents(path, rows=4, shape=(4, 48, 4, 4), infinite=(), states=None):
    """Latents [N, F, C, H, W], or their states [N, T, F, C, H, W], and their prompts, as safetensors; those of
    some rows may be infinite."""
    numbers = random.Random(1)
    shape = ([states] if states else []) + list(shape)
    size = math.prod(shape)
    data = b"".join(
        struct.pack(f"<{size}f", *(
            float("inf") if row in infinite else numbers.gauss(0, 1) for _ in range(size))) for row in range(rows))
    header = json.dumps({
        "__metadata__": {"prompts": json.dumps(["sepia", "pencil sketch", "night", "no change"][:rows])},
        "latents": {"dtype": "F32", "shape": [rows, *shape], "data_offsets": [0, len(data)]},
    }).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)


def numbers(path):
    """All numbers of a file of float16 weights, by key."""
    data = path.read_bytes()
    length = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:length])
    found = {}
    for key, entry in header.items():
        if key != "__metadata__":
            first, end = entry["data_offsets"]
            found[key] = struct.unpack(f"<{(end - first) // 2}e", data[length + first:length + end])
    return found


def distance(one, other):
    """The Euclidean distance of two sets of weights."""
    assert one.keys() == other.keys()
    return sum((a - b) ** 2 for key in one for a, b in zip(one[key], other[key])) ** 0.5


class DistillationOverRanks(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.messages = {}
        write_latents(self.folder / "latents.safetensors")
        (self.folder / "prompts.txt").write_text("sepia\nnight\na pencil sketch\n")

    def settings(self, name, **changes):
        keys = {
            "distillation_loss": "dmd", "model_path": str(MODEL), "generator_name": "causal_wan",
            "generator_task": "causal_video", "real_task_type": "bidirectional_video",
            "fake_task_type": "bidirectional_video", "denoising_step_list": [900, 400, 0],
            "data_path": "latents.safetensors", "image_or_video_shape": [1, 4, 48, 4, 4], "lr": 1.0e-4,
            "num_frame_per_block": 2, "num_kv_cache": 4, "num_sink_tokens": 2, "real_guidance_scale": 1.5,
            "backward_simulation": False, "dfake_gen_update_ratio": 2, "seed": 3, "negative_prompt": "blurry",
            **changes,
        }
        path = self.folder / name
        path.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in keys.items()))
        return str(path)

    def train(self, size, output, settings, *options, steps=3):
        command = [ranks.SWAN, "train", settings, "--output", str(self.folder / output), "--data",
                   str(self.folder), "--device", "cpu", "--max-steps", str(steps), "--progress", "none", *options]
        if size > 1:
            command[1:1] = ["launch", "--nproc", str(size), "--"]
        return subprocess.run(
            command, env=ranks.clean(), capture_output=True, text=True, timeout=LIMIT, check=False)

    def path(self, output):
        return self.folder / output / "transformer/diffusion_pytorch_model.safetensors"

    def weights(self, output):
        return self.path(output).read_bytes()

    def expect_same(self, size, **changes):
        """The micro-batches of one process are those of as many ranks, bit for bit."""
        for name in ("one", "all"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        alone = self.train(1, "one", self.settings("one.yaml", gradient_accumulation_steps=size, **changes))
        self.assertEqual(alone.returncode, 0, alone.stderr)
        together = self.train(size, "all", self.settings("all.yaml", **changes))
        self.assertEqual(together.returncode, 0, together.stderr)
        self.messages = {"one": alone.stderr, "all": together.stderr}
        self.assertEqual(self.weights("one"), self.weights("all"))
        self.assertNotEqual(
            self.weights("one"), (MODEL / "transformer/diffusion_pytorch_model.safetensors").read_bytes())

    def test_ranks_give_the_bits_of_one(self):
        self.expect_same(2, gradient_checkpointing=True)

    def test_so_do_weights_in_parts(self):
        self.expect_same(3, sharding_strategy="full")

    def test_so_do_videos_made_by_the_generator(self):
        self.expect_same(2, **SELF_FORCING)

    def test_videos_with_weights_in_parts(self):
        # A weight is read for each block of a video: its gradients are added in another order.
        for name, size, changes in (
            ("one", 1, {"gradient_accumulation_steps": 2}), ("two", 2, {"sharding_strategy": "full"}),
        ):
            result = self.train(size, name, self.settings(f"{name}.yaml", **SELF_FORCING, **changes))
            self.assertEqual(result.returncode, 0, result.stderr)
        start, one, two = map(numbers, (
            MODEL / "transformer/diffusion_pytorch_model.safetensors", self.path("one"), self.path("two")))
        self.assertLess(distance(one, two), 0.01 * distance(one, start))
        self.assertGreater(distance(one, start), 0)

    def test_updates_that_are_not_finite_are_skipped_alike(self):
        # One rank's rows are infinite in some steps: none of them may learn from those.
        write_latents(self.folder / "latents.safetensors", infinite=(2,))
        for sharding in ("no_shard", "full"):
            with self.subTest(sharding=sharding):
                self.expect_same(2, sharding_strategy=sharding, max_pair=4, gradient_checkpointing=True)
                for name in ("one", "all"):
                    self.assertIn("the gradients of critic", self.messages[name])
                    self.assertEqual(self.messages[name].count("was skipped"), 1)

    def test_a_run_without_finite_updates_ends(self):
        write_latents(self.folder / "latents.safetensors", infinite=range(4))
        for size in (1, 2):
            result = self.train(size, f"lost{size}", self.settings("lost.yaml"), steps=20)
            self.assertNotEqual(result.returncode, 0)
            self.assertIn("10 updates in a row are not finite", result.stderr)

    def test_model_pt_has_the_structure_of_torch_save(self):
        result = self.train(2, "out", self.settings("a.yaml", sharding_strategy="full", ema_weight=0.5), steps=1)
        self.assertEqual(result.returncode, 0, result.stderr)
        with zipfile.ZipFile(self.folder / "out/checkpoint_model_000001/model.pt") as archive:
            names = archive.namelist()
            top = names[0].split("/")[0]
            self.assertEqual({name.split("/")[0] for name in names}, {top})
            self.assertTrue(all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist()))
            self.assertEqual(archive.read(f"{top}/byteorder"), b"little")
            pickle = archive.read(f"{top}/data.pkl")
            data = {name for name in names if name.startswith(f"{top}/data/")}
        # What the loader of weights alone accepts.
        found, texts = set(), []
        for opcode, argument, _ in pickletools.genops(pickle):
            if opcode.name == "GLOBAL":
                found.add(argument)
            elif "UNICODE" in opcode.name:
                texts.append(argument)
        self.assertEqual(
            found, {"torch._utils _rebuild_tensor_v2", "torch FloatStorage", "collections OrderedDict"})
        keys = [text for text in texts if text.startswith("model.")]
        # A text that was written before is referred to.
        self.assertEqual(len(keys), len(set(keys)))
        self.assertEqual(len(data), 3 * len(keys))
        self.assertIn("model.blocks.0.self_attn.q.weight", keys)
        self.assertLess({"generator", "critic", "generator_ema"}, set(texts))

    def test_the_result_streams(self):
        result = self.train(1, "student", self.settings("student.yaml"), "--no-save", steps=1)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertFalse((self.folder / "student/checkpoints").exists())
        source = self.folder / "in.y4m"
        with open(source, "wb") as file:
            file.write(b"YUV4MPEG2 W64 H64 F16:1 Ip A1:1 C420jpeg\n")
            for frame in range(17):
                file.write(b"FRAME\n" + bytes([60 + frame]) * (64 * 64 * 3 // 2))
        stream = subprocess.run(
            [ranks.SWAN, "stream", str(source), "--model", str(self.folder / "student"), "--prompt", "sepia",
             "--width", "64", "--height", "64", "-o", str(self.folder / "out.y4m"), "--device", "cpu"],
            env=ranks.clean(), capture_output=True, text=True, timeout=LIMIT, check=False)
        self.assertEqual(stream.returncode, 0, stream.stderr)
        self.assertEqual((self.folder / "out.y4m").read_bytes().count(b"FRAME\n"), 17)

    def test_what_is_wrong_is_said(self):
        for size in (1, 2):
            for changes, code, words in (
                ({"data_path": "none.safetensors"}, None, "none.safetensors"),
                ({"image_or_video_shape": [1, 6, 48, 4, 4]}, None, "image_or_video_shape"),
                ({"dfake_gen_update_ration": 2}, None, "did you mean 'dfake_gen_update_ratio'"),
            ):
                with self.subTest(size=size, changes=changes):
                    output = f"wrong{size}{words[:4]}"
                    result = self.train(size, output, self.settings("wrong.yaml", **changes))
                    self.assertNotEqual(result.returncode, 0)
                    self.assertIn(words, result.stderr)

    def test_options_of_recipes_are_refused(self):
        result = self.train(1, "out", self.settings("a.yaml"), "--shard", "full")
        self.assertEqual(result.returncode, 64)
        self.assertIn("sharding_strategy", result.stderr)


if __name__ == "__main__":
    unittest.main()
