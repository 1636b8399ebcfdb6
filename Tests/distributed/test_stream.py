"""`swan stream` over several ranks gives the bytes of one process, and ends in every way in which one does."""
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SWAN = os.environ.get("SWAN_PROGRAM", str(ROOT / ".build/debug/swan"))
LIMIT = 100


def video(path, frames, width=96, height=64):
    """A picture that moves, as YUV4MPEG2."""
    with open(path, "wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F16:1 Ip A1:1 C420jpeg\n".encode())
        for frame in range(frames):
            luma = bytes((x * 3 + y * 5 + frame * 11) % 220 + 16 for y in range(height) for x in range(width))
            file.write(b"FRAME\n" + luma + bytes([90 + frame % 60]) * (width * height // 2))


def frame_count(path):
    return pathlib.Path(path).read_bytes().count(b"FRAME\n")


class StreamOverRanks(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.input = self.file("in.y4m")
        self.environment = {
            name: value for name, value in os.environ.items()
            if name not in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")}
        # Operators of several threads round in another way.
        self.environment.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive", SWIFT_BACKTRACE="enable=no")

    def file(self, name):
        return str(self.folder / name)

    def start(self, ranks, output, *options):
        command = [SWAN, "stream", self.input, "--prompt", "sepia", "-o", output, "--progress", "none",
                   "--width", "96", "--height", "64", *options]
        if ranks > 1:
            command[1:1] = ["launch", "--nproc", str(ranks), "--"]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environment)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.kill)
        return process

    def run_stream(self, ranks, name, *options):
        output = self.file(name)
        process = self.start(ranks, output, *options)
        _, messages = process.communicate(timeout=LIMIT)
        self.assertEqual(process.returncode, 0, messages)
        return pathlib.Path(output).read_bytes()

    def test_same_bytes(self):
        video(self.input, 31)
        changes = ("--prompt-at", "9=pencil sketch", "--seed", "3")
        alone = self.run_stream(1, "alone.y4m", *changes)
        self.assertEqual(alone.count(b"FRAME\n"), 31)
        summary = self.file("summary.json")
        pairs = self.run_stream(2, "two.y4m", *changes, "--json", summary)
        self.assertEqual(pairs, alone)
        facts = json.loads(pathlib.Path(summary).read_text())
        self.assertEqual((facts["frames_in"], facts["frames_out"], facts["chunks"]), (31, 31, 8))
        self.assertEqual(self.run_stream(2, "moved.y4m", *changes, "--schedule-blocks"), alone)
        self.assertEqual(self.run_stream(4, "own.y4m", *changes, "--encode-rank", "--decode-rank"), alone)
        self.assertEqual(self.run_stream(3, "rows.y4m", *changes, "--decode-ranks", "2"), alone)

    def test_rank_lost(self):
        """What was decoded before a rank was lost is in the file."""
        video(self.input, 4_000)
        output = self.file("out.y4m")
        process = self.start(3, output)
        victim = self.rank(process.pid, 1)
        self.wait_for_frames()
        os.kill(victim, signal.SIGKILL)
        _, messages = process.communicate(timeout=40)
        self.assertNotEqual(process.returncode, 0)
        self.assertIn("rank 1", messages)
        frames = frame_count(output)
        self.assertGreater(frames, 0)
        self.assertLess(frames, 4_000)

    def test_first_rank_lost(self):
        """What rank 0 had written is kept under another name, if players can read it."""
        video(self.input, 4_000)
        process = self.start(2, self.file("out.y4m"))
        victim = self.rank(process.pid, 0)
        self.wait_for_frames()
        os.kill(victim, signal.SIGKILL)
        _, messages = process.communicate(timeout=40)
        self.assertEqual(process.returncode, 137)
        self.assertIn("out.unfinished.y4m has what was decoded", messages)
        frames = frame_count(self.file("out.unfinished.y4m"))
        self.assertGreater(frames, 2)
        self.assertLess(frames, 4_000)
        self.assertEqual(sorted(path.name for path in self.folder.iterdir()), ["in.y4m", "out.unfinished.y4m"])

    def test_stop(self):
        """Ctrl-C ends all ranks and keeps the finished frames."""
        video(self.input, 4_000)
        output = self.file("out.y4m")
        process = self.start(2, output)
        self.rank(process.pid, 1)
        self.wait_for_frames()
        process.send_signal(signal.SIGINT)
        _, messages = process.communicate(timeout=40)
        self.assertEqual(process.returncode, 130, messages)
        self.assertGreater(frame_count(output), 0)

    def test_stop_of_another_rank(self):
        """SIGTERM to a rank ends all as one to the launcher does."""
        video(self.input, 4_000)
        output = self.file("out.y4m")
        process = self.start(3, output)
        victim = self.rank(process.pid, 1)
        self.wait_for_frames()
        os.kill(victim, signal.SIGTERM)
        _, messages = process.communicate(timeout=40)
        self.assertEqual(process.returncode, 143, messages)
        self.assertIn("stopping after the finished frames", messages)
        self.assertNotIn("error", messages)
        self.assertGreater(frame_count(output), 0)

    def test_options(self):
        video(self.input, 5)
        for ranks, options, expected in [
            (1, ["--layout", "steps"], "is for several ranks"),
            (2, ["--layout", "steps", "--schedule-blocks"], "only the layout 'blocks'"),
            (2, ["--encode-rank", "--decode-rank"], "leave none for the transformer"),
        ]:
            with self.subTest(options=options):
                process = self.start(ranks, self.file("out.y4m"), *options)
                _, messages = process.communicate(timeout=LIMIT)
                self.assertNotEqual(process.returncode, 0)
                self.assertIn(expected, messages)
                self.assertFalse(os.path.exists(self.file("out.y4m")))

    def rank(self, launcher, number):
        """The process of a rank."""
        end = time.monotonic() + 30
        while time.monotonic() < end:
            for pid in self.children(launcher):
                try:
                    variables = pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
                except OSError:
                    continue
                if b"RANK=%d" % number in variables:
                    return pid
            time.sleep(0.05)
        raise AssertionError(f"rank {number} did not start")

    @staticmethod
    def children(pid):
        found = []
        for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
            found += [int(number) for number in task.read_text().split()]
        return found

    def wait_for_frames(self):
        """Waits until some frames are written, to a hidden file."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            sizes = [path.stat().st_size for path in self.folder.glob(".*")]
            if any(size > 40_000 for size in sizes):
                return
            time.sleep(0.1)
        raise AssertionError(f"no frames came: {list(self.folder.iterdir())}")


if __name__ == "__main__":
    unittest.main()
