"""`swan serve` over several ranks returns the frames of one process, session after session, and ends in every way."""
import json
import os
import pathlib
import signal
import struct
import sys
import tempfile
import time
import unittest
import zlib

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "serve"))

from clients import Client, until
from program import Program
from ranks import Process, SWAN, clean, free_port, ranks_of, wait_for_end
from test_realtime import Session

SIDE = 64


def picture(number):
    """A PNG whose picture moves with its number."""
    def chunk(name, data):
        checksum = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + checksum

    rows = b"".join(
        b"\0" + bytes(value for x in range(SIDE) for value in (
            (4 * x + 9 * number) % 256, (3 * y + 5 * number) % 256, 220 if (x + number) // 8 % 2 else 40))
        for y in range(SIDE))
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


class Server(Program):
    """A server of one process, or of several ranks."""

    def __init__(self, ranks, *options, environment=None):
        # Operators of several threads round in another way.
        environment = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "SWIFT_BACKTRACE": "enable=no",
                       **(environment or {})}
        before = [SWAN, "launch", "--nproc", str(ranks), "--"] if ranks > 1 else []
        super().__init__(*options, environment=environment, before=before, program=[] if ranks > 1 else [SWAN])


class Watched(Session):
    """A session that restyles all frames and returns each."""

    def __init__(self, case, server, *, held, **settings):
        super().__init__(case, server, presentation="lossless", mode="batch", **settings)
        self.held, self.sent = held, 0

    def chunks(self, count):
        """Sends the frames of so many chunks and waits until the last one has been encoded and run."""
        for _ in range(4 * count):
            self.put(picture(self.sent), codec=2)
            self.sent += 1
        self.wait_frames(self.sent - 4 * self.held)

    def update(self, **change):
        self.send(type="update", **change)
        # Nothing tells that the change waits for the next chunk; `applied` shows that it did.
        time.sleep(0.6)

    def finish(self):
        self.send(type="finish")
        self.wait("ended")

    @property
    def pictures(self):
        """The frames, with the numbers of the changes and chunks that shaped them."""
        return [(frame[4], frame[6], frame[9], frame[11]) for frame in self.frames]


def script(case, server, held):
    """A session with changes of all kinds; returns its frames, and with which chunks the changes took hold.

    `held` maps steps to the chunks that the server keeps until others push them out.
    """
    session = Watched(case, server, held=held[2], seed=3)
    session.chunks(8)
    session.update(event=2, prompt="pencil sketch")
    session.chunks(3)
    session.update(event=3, seed=8)
    session.chunks(3)
    session.held = 0
    session.update(event=4, steps=1, prompt="neon edges")
    session.chunks(3)
    session.held = held[2]
    session.update(event=5, steps=2, noise_scale=0.4)
    session.chunks(4)
    session.held = 0
    session.update(event=6, mode="steps")
    session.chunks(3)
    session.held = held[2]
    session.update(event=7, reset=True, mode="batch", prompts=[
        {"text": "sepia", "weight": 1}, {"text": "neon edges", "weight": 2}])
    session.chunks(5)
    session.finish()
    applied = [message["chunk"] for message in session.messages if message["type"] == "applied"]
    return session.pictures, applied


def frames_of_script(case, server, held):
    """The frames of the script; it is repeated if a busy machine was late with a change."""
    for _ in range(3):
        pictures, applied = script(case, server, held)
        # The place is free a moment after the last frame.
        case.assertTrue(until(lambda: json.loads(server.get("/readyz")[2])["sessions"] == 0, 20))
        if applied == [8, 11, 14, 17, 21, 24]:
            return pictures
    raise AssertionError(f"changes took hold with chunks {applied}")


class ServeOverRanks(unittest.TestCase):
    def start(self, ranks, *options):
        server = Server(ranks, *options)
        self.addCleanup(self.end, server)
        return server

    @staticmethod
    def end(server):
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()

    def readiness(self, server):
        return json.loads(server.get("/readyz")[2])

    def test_same_frames(self):
        """Frames of one rank, in two sessions one after the other; SIGTERM ends all."""
        alone = self.start(1)
        expected = frames_of_script(self, alone, {2: 1})
        self.assertEqual(len(expected), 116)
        self.assertEqual(alone.stop(), 0)
        server = self.start(2)
        found = self.readiness(server)
        self.assertEqual([(item["device"], item["ranks"]) for item in found["devices"]], [("cpu", 2)])
        for attempt in range(2):
            frames = frames_of_script(self, server, {2: 2})
            self.assertEqual([frame[:3] for frame in frames], [frame[:3] for frame in expected])
            different = [a[0] for a, b in zip(frames, expected) if a[3] != b[3]]
            self.assertEqual(different, [], f"session {attempt}")
        pids = ranks_of(server.process.pid).values()
        self.assertEqual(server.stop(), 0)
        self.assertEqual(wait_for_end(pids), [])

    def test_one_at_a_time(self):
        """A second session is refused until the first has left, in mid-stream."""
        server = self.start(3, "--decode-ranks", "1")
        first = Watched(self, server, held=2)
        first.chunks(4)
        status, _, body = server.get("/v1/realtime?width=64&height=64&fps=16&steps=1")
        self.assertEqual(status, 503)
        error = json.loads(body)["error"]
        self.assertEqual(error["code"], "capacity_exhausted")
        self.assertIn("one session at a time", error["message"])
        first.send(type="stop")
        self.assertTrue(until(lambda: self.readiness(server)["sessions"] == 0, 20))
        second = Watched(self, server, held=2)
        second.chunks(4)
        second.finish()
        self.assertEqual(len(second.frames), 16)
        self.assertEqual(server.stop(), 0)

    def test_rank_lost(self):
        """A killed rank ends the session with its reason, and the job."""
        port = str(free_port())
        launch = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        options = ["--device", "cpu", "--dtype", "float32", "--overcommit", "--jobs", "none"]
        victim = Process(
            self, [SWAN, "serve", "--port", "0", *options], clean(launch, {"RANK": "1"}))
        server = Server(1, environment={**launch, "RANK": "0"})
        self.addCleanup(self.end, server)
        session = Watched(self, server, held=2)
        session.chunks(4)
        victim.send(signal.SIGKILL)
        error = session.wait("error")
        self.assertIn("rank 1", error["message"])
        self.assertEqual(server.process.wait(30), 75, server.output)

    def test_rank_lost_between_sessions(self):
        """The server ends although nobody uses it."""
        server = self.start(2)
        pids = ranks_of(server.process.pid)
        os.kill(pids[1], signal.SIGKILL)
        # The launcher's exit code is that of the rank that was killed.
        self.assertEqual(server.process.wait(30), 137, server.output)
        self.assertEqual(wait_for_end(pids.values()), [])
        self.assertIn("rank 1", "\n".join(server.output))

    def test_a_signal_to_another_rank_ends_the_server(self):
        server = self.start(2)
        session = Watched(self, server, held=2)
        session.chunks(3)
        os.kill(ranks_of(server.process.pid)[1], signal.SIGTERM)
        self.assertEqual(server.process.wait(30), 0, server.output)

    def test_settings_are_those_of_all_ranks(self):
        for name, values in [("SWAN_DTYPE", ["float32", "bfloat16"]), ("SWAN_MODEL", ["tiny", "nowhere"])]:
            with self.subTest(name=name):
                launch = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
                ranks = [
                    Process(self, [SWAN, "serve", "--port", "0", "--device", "cpu", "--jobs", "none"],
                            clean(launch, {"RANK": str(rank), name: value}))
                    for rank, value in enumerate(values)]
                self.assertEqual([rank.end(60) for rank in ranks], [78, 78], ranks[0].messages)
                self.assertIn(values[1], ranks[0].messages)

    def test_the_launcher_knows_the_settings(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        (pathlib.Path(folder.name) / "token").write_text("0123456789abcdef0123456789abcdef")
        environment = {"SWAN_TOKEN_FILE": f"{folder.name}/token", "SWAN_LOG_FORMAT": "json"}
        process = Process(
            self, [SWAN, "launch", "--nproc", "2", "--", "serve", "--host", "0.0.0.0", "--port", "0", "--model",
                   "nowhere"], clean(environment))
        self.assertEqual(process.end(60), 69, process.messages)
        lines = [json.loads(line) for line in process.messages.splitlines()]
        self.assertIn("there is no model at nowhere", lines[-1]["message"])

    def test_wrong_options(self):
        for options, text in [
            (["--devices", "cpu,cpu"], "--devices is for one process"),
            (["--jobs", "/tmp/jobs"], "--jobs is for one process"),
            (["--layout", "steps"], "--layout blocks"),
        ]:
            with self.subTest(options=options):
                process = Process(self, [SWAN, "launch", "--nproc", "2", "--", "serve", "--port", "0", *options], clean())
                self.assertNotEqual(process.end(60), 0)
                self.assertIn(text, process.messages)


if __name__ == "__main__":
    unittest.main()
