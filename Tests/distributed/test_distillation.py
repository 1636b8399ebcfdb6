"""`swan train` with a distillation: the same bits over several ranks, a model that streams, an end for every failure."""
import json
import pathlib
import random
import struct
import subprocess
import tempfile
import unittest

import ranks

MODEL = ranks.ROOT / "Sources/SwanCheckpoints/Resources/tiny"
LIMIT = 100
SELF_FORCING = {
    "distillation_loss": "self_forcing", "backward_simulation": True, "data_path": "prompts.txt",
    "denoising_step_list": [1000, 500], "gradient_checkpointing": True,
}


def write_latents(path, rows=4, shape=(4, 48, 4, 4)):
    """Latents [N, F, C, H, W] and their prompts, as safetensors."""
    numbers = random.Random(1)
    count = rows * shape[0] * shape[1] * shape[2] * shape[3]
    data = struct.pack(f"<{count}f", *(numbers.gauss(0, 1) for _ in range(count)))
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
        alone = self.train(1, "one", self.settings("one.yaml", gradient_accumulation_steps=size, **changes))
        self.assertEqual(alone.returncode, 0, alone.stderr)
        together = self.train(size, "all", self.settings("all.yaml", **changes))
        self.assertEqual(together.returncode, 0, together.stderr)
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
