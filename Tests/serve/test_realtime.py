"""Sessions of `swan serve`, over raw WebSockets: frames, changes, faults, reconnecting, several at once."""
import json
import os
import pathlib
import queue
import signal
import socket
import struct
import subprocess
import threading
import unittest

from clients import ROOT, Client, Server, until

SWAN = os.environ.get("SWAN", str(ROOT / ".build/debug/swan"))
TEXT, BINARY, CLOSE = 1, 2, 8
HEADER = struct.Struct("<BBBBIQIHHII")


class Swan(Server):
    """A running `swan serve`."""

    def __init__(self, *options, overcommits=True):
        self.log = []
        self.lines = queue.Queue()
        # A busy machine would refuse sessions of tests that are not about speed.
        options = [*options, *(["--overcommit"] if overcommits else [])]
        # The folder of jobs is the user's unless another one is named.
        if "--jobs" not in options:
            options += ["--jobs", "none"]
        self.process = subprocess.Popen(
            [SWAN, "serve", "--port", "0", "--device", "cpu", "--dtype", "float32", *options],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.threads = [threading.Thread(target=self._read, args=(self.process.stderr, self.lines.put), daemon=True)]
        self.threads[0].start()
        line = self.lines.get(timeout=60)
        while "://" not in line:
            line = self.lines.get(timeout=60)
        self.secure = "https://" in line
        self.port = int(line.split("://")[1].split()[0].rsplit(":", 1)[1])


class Session:
    """A client of one session."""

    def __init__(self, case, server, path="/v1/realtime", start=None, **settings):
        self.client = Client(server, timeout=30)
        case.addCleanup(self.client.__exit__)
        self.client.open(path, Sec_WebSocket_Protocol="swan.v1")
        self.frames, self.messages, self.sequence = [], [], 0
        if start is not False:
            self.send(type="start", event=1, prompt="sepia", width=64, height=64, fps=16, **settings)
        self.ready = self.wait("ready")

    def send(self, **message):
        self.client.frame(TEXT, json.dumps(message))

    def put(self, picture, codec=1):
        head = HEADER.pack(1, 1, codec, 0, self.sequence, 1000 + self.sequence, 0, 64, 64, 0, 0)
        self.client.frame(BINARY, head + picture)
        self.sequence += 1

    def step(self):
        """Takes one message; returns it, or none at the end of the connection."""
        opcode, payload = self.client.receive()
        if opcode == CLOSE:
            return None
        if opcode not in (TEXT, BINARY):
            return self.step()
        if opcode == BINARY:
            frame = HEADER.unpack(payload[:32]) + (payload[32:],)
            self.frames.append(frame)
            return frame
        message = json.loads(payload)
        self.messages.append(message)
        return message

    def wait(self, kind):
        while True:
            message = self.step()
            if message is None:
                raise AssertionError(f"no {kind}: {self.messages[-3:]}")
            if isinstance(message, dict) and message["type"] == kind:
                return message

    def wait_frames(self, count):
        while len(self.frames) < count:
            if self.step() is None:
                raise AssertionError(f"{len(self.frames)} of {count} frames: {self.messages[-3:]}")


class RealtimeTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Swan("--max-sessions", "3")
        cls.picture = picture()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def setUp(self):
        # A session of the last test ends a moment after it was asked to.
        self.assertTrue(until(lambda: json.loads(self.get("/readyz")[2])["sessions"] == 0, 40))

    def get(self, path):
        with Client(self.server) as client:
            return client.request(path=path).response()

    def status(self, path):
        return self.get(path)[0]

    def session(self, path="/v1/realtime", **options):
        return Session(self, self.server, path, **options)

    def restyle(self, session, count):
        """Sends frames, like a camera, until `count` more have come back; on a slow machine some are dropped."""
        goal = len(session.frames) + count
        done = threading.Event()

        def send():
            while not done.wait(0.03):
                session.put(self.picture)

        sender = threading.Thread(target=send)
        sender.start()
        try:
            session.wait_frames(goal)
        finally:
            done.set()
            sender.join()

    def test_frames_come_back_in_order_with_what_they_carried(self):
        session = self.session()
        self.assertEqual((session.ready["width"], session.ready["height"]), (64, 64))
        self.assertIn("sepia", session.ready["styles"])
        self.restyle(session, 21)
        sequences = [frame[4] for frame in session.frames]
        self.assertEqual(sequences, sorted(set(sequences)))
        for number, frame in enumerate(session.frames):
            version, kind, codec, _, sequence, captured, event, width, height, chunk, _, jpeg = frame
            self.assertEqual((version, kind, codec), (1, 1, 1))
            self.assertEqual(captured, 1000 + sequence)
            self.assertEqual((event, width, height), (1, 64, 64))
            self.assertEqual(chunk, number // 4)
            self.assertEqual(jpeg[:2], b"\xff\xd8")
        stats = session.wait("stats")
        self.assertEqual(stats["sessions"], 1)
        self.assertGreater(stats["latency_ms"]["p50"], 0)
        session.send(type="stop")

    def test_changes_come_back_with_the_frames_they_shape(self):
        session = self.session()
        self.restyle(session, 9)
        session.send(type="update", event=7, prompt="neon edges", steps=1, noise_scale=0.2)
        session.send(type="ping", time=12.5)
        self.assertEqual(session.wait("pong")["time"], 12.5)
        self.restyle(session, 25)
        applied = [message for message in session.messages if message["type"] == "applied"]
        self.assertEqual([message["event"] for message in applied], [7])
        events = [frame[6] for frame in session.frames]
        self.assertEqual(events, sorted(events))
        self.assertEqual({1, 7}, set(events))
        first = min(frame[9] for frame in session.frames if frame[6] == 7)
        self.assertEqual(first, applied[0]["chunk"])
        session.send(type="stop")

    def test_wrong_messages_change_nothing(self):
        session = self.session()
        for text in ["", "[]", "{}", '{"type": "fly"}', '{"type": "update", "steps": 77}', '{"type": "start"}',
                     '{"type": "update", "noise_scale": 1e999}', '{"type": "update", "prompts": "x"}',
                     "[" * 50_000, '{"type": "update", "event": -1, "prompt": "\\ud800"}']:
            session.client.frame(TEXT, text)
            error = session.wait("error")
            self.assertTrue(error["code"] and error["message"], text)
            self.assertNotIn(str(ROOT), json.dumps(error))
        session.client.frame(BINARY, b"\x00" * 40)
        self.assertEqual(session.wait("error")["code"], "invalid_frame")
        for damaged in [b"", self.picture[:100], b"\xff\xd8" + b"\x00" * 400]:
            session.put(damaged)
        self.restyle(session, 5)
        session.send(type="stop")

    def test_starts_name_what_does_not_suit_the_model(self):
        for name, value in [("steps", 4), ("width", 17), ("height", 63), ("seed", -1)]:
            client = Client(self.server, timeout=20)
            self.addCleanup(client.__exit__)
            client.open("/v1/realtime")
            client.frame(TEXT, json.dumps({"type": "start", name: value}))
            error = json.loads(client.receive()[1])
            self.assertEqual((error["type"], error["code"], error.get("param")), ("error", "invalid_value", name))

    def test_updates_name_what_is_wrong(self):
        session = self.session()
        for event, changes, name in [(5, {"width": 4096, "height": 4096}, "width"), (6, {"prompt": " "}, "prompt")]:
            session.send(type="update", event=event, **changes)
            error = session.wait("error")
            self.assertEqual((error.get("event"), error.get("param")), (event, name), error)
        session.send(type="stop")
        client = Client(self.server, timeout=20)
        self.addCleanup(client.__exit__)
        client.open("/v1/realtime")
        client.frame(TEXT, json.dumps({"type": "start", "prompt": ""}))
        self.assertEqual(json.loads(client.receive()[1]).get("param"), "prompt")

    def test_a_session_starts_with_a_start(self):
        for first in [(TEXT, '{"type": "update"}'), (TEXT, '{"type": "start", "steps": 99}'),
                      (TEXT, '{"type": "start", "width": 63}'), (TEXT, '{"type": "start", "width": 4096, "height": 4096}'),
                      (BINARY, HEADER.pack(1, 1, 1, 0, 0, 0, 0, 64, 64, 0, 0) + self.picture)]:
            with self.subTest(first[1][:60]):
                client = Client(self.server, timeout=20)
                self.addCleanup(client.__exit__)
                client.open("/v1/realtime")
                client.frame(*first)
                opcode, payload = client.receive()
                self.assertEqual((opcode, json.loads(payload)["type"]), (TEXT, "error"))
                self.assertEqual(client.close_code(), 1008)

    def test_places_are_limited_and_freed(self):
        sessions = [self.session() for _ in range(3)]
        client = Client(self.server)
        self.addCleanup(client.__exit__)
        response = client.handshake("/v1/realtime").response()
        self.assertEqual(response[0], 503)
        self.assertIn("retry-after", response[1])
        self.assertEqual(json.loads(response[2])["error"]["code"], "capacity_exhausted")
        for session in sessions:
            session.send(type="stop")
        self.assertTrue(until(lambda: self.status("/v1/realtime") == 426, 10))
        self.session().send(type="stop")

    def test_a_lost_connection_is_continued(self):
        session = self.session()
        self.restyle(session, 9)
        name = session.ready["session"]
        # Without a goodbye.
        session.client.__exit__()
        again = self.session(f"/v1/realtime?session={name}", start=False)
        self.assertTrue(again.ready["resumed"])
        self.assertEqual(again.ready["session"], name)
        again.sequence = session.sequence
        chunk = session.frames[-1][9]
        self.restyle(again, 8)
        self.assertGreater(again.frames[-1][9], chunk)
        again.send(type="stop")
        client = Client(self.server)
        self.addCleanup(client.__exit__)
        response = client.handshake("/v1/realtime?session=nobody").response()
        self.assertEqual(response[0], 404)
        # A page asks why, in the same words.
        status, _, body = self.get("/v1/realtime?session=nobody")
        self.assertEqual((status, body), (404, response[2]))

    def test_motion_jpeg(self):
        session = self.session()
        watcher = Client(self.server, timeout=20)
        self.addCleanup(watcher.__exit__)
        watcher.request(path=f"/v1/realtime/sessions/{session.ready['session']}/mjpeg")
        self.restyle(session, 21)
        while watcher.buffer.count(b"\xff\xd8\xff") < 3:
            watcher.fill()
        self.assertIn(b"multipart/x-mixed-replace", watcher.buffer)
        # Pages of other origins may show it.
        self.assertIn(b"cross-origin-resource-policy: cross-origin\r\n", watcher.buffer.lower())
        session.send(type="stop")

    def test_those_who_leave_an_idle_session_keep_no_connection(self):
        session = self.session()
        path = f"/v1/realtime/sessions/{session.ready['session']}/mjpeg"
        before = self.server.sockets
        for index in range(50):
            watcher = Client(self.server)
            self.addCleanup(watcher.__exit__)
            watcher.request(path=path)
            while b"--swanframe" not in watcher.buffer:
                self.assertTrue(watcher.fill())
            # Some close only their side.
            if index % 2:
                watcher.socket.shutdown(socket.SHUT_WR)
            else:
                watcher.socket.close()
        self.assertTrue(until(lambda: self.server.sockets <= before, 10), self.server.sockets - before)
        session.send(type="stop")

    def test_those_who_watch_a_session_with_png_see_jpeg(self):
        session = self.session(output="png")
        watcher = Client(self.server, timeout=20)
        self.addCleanup(watcher.__exit__)
        watcher.request(path=f"/v1/realtime/sessions/{session.ready['session']}/mjpeg")
        self.restyle(session, 9)
        while watcher.buffer.count(b"\xff\xd8\xff") < 3:
            watcher.fill()
        self.assertNotIn(b"image/png", watcher.buffer)
        self.assertEqual({frame[2] for frame in session.frames}, {2})
        session.send(type="stop")

    def test_several_sessions_at_once(self):
        sessions = [self.session() for _ in range(3)]
        threads = [threading.Thread(target=self.restyle, args=(session, 13)) for session in sessions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        for session in sessions:
            self.assertGreaterEqual(len(session.frames), 13)
            session.send(type="stop")


class Stopping(unittest.TestCase):
    def test_a_signal_ends_sessions_and_the_server(self):
        server = Swan()
        session = Session(self, server)
        for _ in range(9):
            session.put(picture())
        self.assertEqual(server.stop(signal.SIGTERM, timeout=10), 0)

    def test_other_machines_need_a_token(self):
        run = subprocess.run([SWAN, "serve", "--host", "0.0.0.0"], capture_output=True, text=True, timeout=30)
        self.assertEqual(run.returncode, 64)
        self.assertIn("--token-file", run.stderr)


def picture():
    """A JPEG of 64x64 pixels."""
    return bytes.fromhex((pathlib.Path(__file__).parent / "gray.jpg.hex").read_text())


if __name__ == "__main__":
    unittest.main()
