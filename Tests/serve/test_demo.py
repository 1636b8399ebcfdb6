"""Clients of StreamDiffusionV2's demo protocol: camera, upload, two users, faults.

Frames are drawn and compared with Pillow; the tests are skipped without it.
"""
import io
import json
import queue
import threading
import time
import unittest
import uuid

from clients import Client, until
from test_realtime import BINARY, CLOSE, TEXT, Swan

try:
    from PIL import Image, ImageChops, ImageDraw, ImageStat
except ImportError:
    Image = None

PING, PONG = 9, 10


def picture(number, size=256):
    """A JPEG of colored areas that move."""
    image = Image.new("RGB", (size, size), (40, 90, 200))
    draw = ImageDraw.Draw(image)
    x = 8 * number % size
    draw.rectangle([x, 60, x + 90, 180], fill=(220, 60, 40))
    draw.ellipse([100, 90 + number % 40, 200, 190 + number % 40], fill=(60, 200, 70))
    return jpeg(image)


def jpeg(image):
    data = io.BytesIO()
    image.save(data, "JPEG", quality=95)
    return data.getvalue()


def decoded(data):
    image = Image.open(io.BytesIO(data))
    image.load()
    return image.convert("RGB")


def difference(a, b):
    """The mean difference of two pictures, 0 to 255."""
    return sum(ImageStat.Stat(ImageChops.difference(a, b)).mean) / 3


def saturation(image):
    """The mean saturation of a picture, 0 to 255."""
    return ImageStat.Stat(image.convert("HSV")).mean[1]


def sepia(image):
    """A picture in the style, as the model was trained to draw it."""
    return image.convert("RGB", (.393, .769, .189, 0, .349, .686, .168, 0, .272, .534, .131, 0))


class Stream:
    """The frames of `/api/stream/{id}`, read by a thread."""

    def __init__(self, case, server, name):
        self.frames = queue.Queue()
        self.client = Client(server, timeout=60)
        case.addCleanup(self.client.__exit__)
        self.client.request(path=f"/api/stream/{name}?t=1")
        threading.Thread(target=self._read, daemon=True).start()

    def _line(self):
        while b"\r\n" not in self.client.buffer:
            if not self.client.fill():
                raise EOFError
        line, self.client.buffer = self.client.buffer.split(b"\r\n", 1)
        return line

    def _chunks(self):
        """The body, which comes in chunks."""
        while True:
            size = int(self._line(), 16)
            if size == 0:
                return
            yield self.client.take(size)
            self.client.take(2)

    def _read(self):
        try:
            status = self._line()
            headers = iter(self._line, b"")
            self.headers = dict(line.decode().lower().split(": ", 1) for line in headers)
            if b" 200 " not in status:
                return self.frames.put(None)
            body = b""
            for chunk in self._chunks():
                body += chunk
                while b"\r\n--frame\r\n" in body:
                    part, body = body.split(b"\r\n--frame\r\n", 1)
                    head, data = part.split(b"\r\n\r\n", 1)
                    self.frames.put((head, data))
        except (EOFError, OSError):
            pass
        self.frames.put(None)

    def next(self, timeout=60):
        frame = self.frames.get(timeout=timeout)
        if frame is None:
            raise AssertionError("the stream has ended")
        return frame[1]


class User:
    """A client that does what the front end does."""

    def __init__(self, case, server, name=None):
        self.name = name or str(uuid.uuid4())
        self.client = Client(server, timeout=60)
        case.addCleanup(self.client.__exit__)
        self.client.open(f"/api/ws/{self.name}")
        self.sent = 0

    def send(self, status):
        self.client.frame(TEXT, json.dumps({"status": status, "timestamp": 1_000 * time.time()}))

    def receive(self):
        """The next message; none at the end of the connection."""
        while True:
            try:
                opcode, payload = self.client.receive()
            except EOFError:
                return None
            if opcode == PING:
                self.client.frame(PONG, payload)
            elif opcode != TEXT:
                return None
            else:
                return json.loads(payload)

    def wait(self, status):
        """Takes messages until one has the status; returns it and those before it."""
        before = []
        while True:
            message = self.receive()
            if message is None:
                raise AssertionError(f"no {status}: {before[-3:]}")
            if message["status"] == status:
                return message, before
            before.append(message)

    def put(self, image, mode="camera", **parameters):
        self.send("next_frame")
        values = {"input_mode": mode, "upload_mode": mode == "upload", **parameters}
        self.client.frame(TEXT, json.dumps(values))
        self.client.frame(BINARY, image)
        self.sent += 1


class Playing:
    """Sends a frame whenever the server asks, until it is left."""

    def __init__(self, user, **parameters):
        self.user, self.parameters = user, parameters
        self.statuses = []
        self.done = threading.Event()

    def __enter__(self):
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        return self

    def _run(self):
        while not self.done.is_set():
            message = self.user.receive()
            if message is None:
                return
            self.statuses.append(message["status"])
            if message["status"] == "send_frame":
                self.user.put(picture(self.user.sent), **self.parameters)

    def __exit__(self, *_):
        self.done.set()
        self.thread.join(60)


@unittest.skipIf(Image is None, "Pillow is not installed")
class DemoTest(unittest.TestCase):
    options = ("--max-sessions", "2")

    @classmethod
    def setUpClass(cls):
        cls.server = Swan(*cls.options)

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def setUp(self):
        self.assertTrue(until(lambda: self.get("/api/queue")["queue_size"] == 0, 40))

    def get(self, path, status=200):
        with Client(self.server) as client:
            response = client.request(path=path).response()
        self.assertEqual(response[0], status, response)
        return json.loads(response[2])

    def user(self):
        """A user who is connected, and whom the server has asked for a frame."""
        user = User(self, self.server)
        statuses = [user.receive() for _ in range(3)]
        self.assertEqual([message["status"] for message in statuses], ["connected", "wait", "send_frame"])
        return user

    def stream(self, user):
        return Stream(self, self.server, user.name)

    def test_settings_have_what_the_front_end_reads(self):
        settings = self.get("/api/settings")
        self.assertEqual(settings["info"]["properties"]["input_mode"]["default"], "image")
        self.assertEqual(settings["max_queue_size"], 2)
        self.assertIn("<h1>", settings["page_content"])
        fields = settings["input_params"]["properties"]
        for name, field in fields.items():
            self.assertEqual(field["id"], name)
            self.assertTrue(field["title"])
        self.assertEqual((fields["prompt"]["field"], fields["prompt"]["hide"]), ("textarea", False))
        self.assertEqual((fields["width"]["default"], fields["height"]["default"]), (256, 256))
        self.assertTrue(fields["width"]["disabled"])
        noise, steps = fields["noise_scale"], fields["steps"]
        self.assertEqual((noise["field"], noise["min"], noise["max"]), ("range", 0, 1))
        self.assertEqual((steps["field"], steps["min"], steps["max"]), ("range", 1, steps["default"]))
        self.assertEqual(fields["seed"]["field"], "seed")

    def test_a_camera_is_restyled_and_follows_the_prompt(self):
        user = self.user()
        # The camera has no picture yet.
        user.send("no_frame")
        self.assertEqual(user.receive()["status"], "send_frame")
        # Without anyone who watches, one frame is enough.
        user.put(picture(0), prompt="no change")
        self.assertEqual(user.receive()["status"], "wait")
        stream = self.stream(user)
        with Playing(user, prompt="no change", steps=2, noise_scale=0.1, seed=7) as playing:
            plain = [decoded(stream.next()) for _ in range(8)][-1]
            self.assertEqual(plain.size, (256, 256))
            self.assertGreater(saturation(plain), 80)
            playing.parameters["prompt"] = "pencil sketch"
            deadline = time.monotonic() + 60
            while saturation(decoded(stream.next())) > 40:
                self.assertLess(time.monotonic(), deadline, "the prompt had no effect")
        self.assertIn("wait", playing.statuses)
        self.assertEqual(stream.headers["content-type"].replace(" ", ""), "multipart/x-mixed-replace;boundary=frame")
        metrics = self.get(f"/api/metrics/{user.name}?window_size=5")
        self.assertEqual(metrics["sample_count"], 5)
        self.assertGreaterEqual(metrics["p99_latency"], metrics["median_latency"])
        self.assertGreater(metrics["min_latency"], 0)
        self.assertGreater(metrics["batch_count"], 1)

    def test_pause_and_resume(self):
        user = self.user()
        stream = self.stream(user)
        with Playing(user, prompt="sepia"):
            stream.next()
        user.send("pause")
        # A request for a frame may have been on its way; nobody answers it, so no other follows.
        user.send("upload_done")
        _, before = user.wait("upload_done_ack")
        self.assertLess(len(before), 4)
        stream.client.__exit__()
        user.send("resume")
        user.wait("send_frame")
        user.put(picture(1), prompt="sepia")
        again = self.stream(user)
        with Playing(user, prompt="sepia"):
            self.assertEqual(decoded(again.next()).size, (256, 256))

    def test_of_an_upload_no_frame_is_lost(self):
        user = self.user()
        stream = self.stream(user)
        count = 23
        for number in range(count):
            user.put(picture(number), "upload", prompt="sepia")
            if number % 5 == 0:
                user.wait("send_frame")
        user.send("upload_done")
        user.wait("upload_done_ack")
        # Parameters without a picture are all that follows.
        user.send("next_frame")
        user.client.frame(TEXT, json.dumps({"input_mode": "upload"}))
        user.wait("wait")
        frames = [decoded(stream.next()) for _ in range(count)]
        expected = [sepia(decoded(picture(number))) for number in range(count)]
        for number, frame in enumerate(frames):
            # The moving area is where it was in the input: each frame came out, in order.
            nearest = min(range(count), key=lambda other: difference(frame, expected[other]))
            self.assertLess(abs(number - nearest), 3, number)
            self.assertLess(difference(frame, expected[number]), difference(frame, decoded(picture(number))))
        self.assertEqual(self.get(f"/api/metrics/{user.name}")["remaining_frames"], 0)

    def test_an_upload_waits_for_someone_who_watches(self):
        user = self.user()
        asked = threading.Event()

        def answer():
            while (message := user.receive()) is not None:
                if message["status"] == "send_frame":
                    asked.set()
                    if user.sent < 75:
                        user.put(picture(user.sent), "upload", prompt="sepia")

        thread = threading.Thread(target=answer)
        thread.start()
        user.put(picture(0), "upload", prompt="sepia")
        while asked.wait(3):
            asked.clear()
            self.assertLess(user.sent, 80)
        self.assertGreater(user.sent, 60)
        stream = self.stream(user)
        # It is asked for more again, and what was sent before comes out; the last chunks wait for more frames.
        for _ in range(60):
            stream.next()
        self.assertTrue(asked.wait(10))
        user.client.frame(CLOSE, b"\x03\xe8")
        thread.join(10)

    def test_users_do_not_share_a_stream(self):
        users = [self.user(), self.user()]
        streams = [self.stream(user) for user in users]
        with Playing(users[0], prompt="pencil sketch"), Playing(users[1], prompt="sepia"):
            gray, brown = ([decoded(stream.next()) for _ in range(9)][-1] for stream in streams)
        self.assertLess(saturation(gray), 40)
        self.assertGreater(saturation(brown), saturation(gray) + 20)
        self.assertEqual(self.get("/api/queue")["queue_size"], 2)
        third = User(self, self.server)
        message = third.receive()
        self.assertEqual((message["status"], message["message"]), ("error", "Server is full"))
        self.assertIsNone(third.receive())

    def test_wrong_messages_end_the_connection(self):
        for messages in [[(BINARY, b"\xff\xd8")], [(TEXT, "[]")], [(TEXT, "{")], [(TEXT, '{"status": 5}')],
                         [(TEXT, '{"status": "next_frame"}'), (TEXT, '{"steps": "many"}')],
                         [(TEXT, '{"status": "next_frame"}'), (TEXT, "{}"), (TEXT, "{}")]]:
            with self.subTest(messages):
                user = self.user()
                for message in messages:
                    user.client.frame(*message)
                self.assertTrue(user.wait("error")[0]["message"])
                self.assertEqual(user.client.close_code(), 1008)
                self.setUp()

    def test_strange_values_do_no_harm(self):
        user = self.user()
        stream = self.stream(user)
        user.client.frame(TEXT, '{"status": "fly"}')
        user.put(b"", prompt="sepia")
        user.put(b"\xff\xd8 not a picture", prompt="sepia", steps=1e9, noise_scale=-4, seed=1.5, width="x")
        with Playing(user, prompt=" ", steps=None, seed=-3, noise_scale=7, restart=False):
            self.assertEqual(decoded(stream.next()).size, (256, 256))

    def test_ids(self):
        user = self.user()
        self.assertEqual(User(self, self.server, user.name).receive()["status"], "error")
        for path in ["/api/stream/", "/api/metrics/"]:
            self.get(path + str(uuid.uuid4()), 404)
            self.get(path + "..%2f..", 400)
        self.assertEqual(self.get(f"/api/metrics/{user.name}", 404), {"error": "No frames yet"})
        client = Client(self.server)
        self.addCleanup(client.__exit__)
        self.assertEqual(client.handshake("/api/ws/nobody").response()[0], 404)

    def test_pages_of_other_origins_are_kept_out(self):
        for origin, status in [("http://evil.example", 403), (f"http://localhost:{self.server.port}", 101)]:
            client = Client(self.server)
            self.addCleanup(client.__exit__)
            host = f"localhost:{self.server.port}"
            response = client.handshake(f"/api/ws/{uuid.uuid4()}", Origin=origin, Host=host).response()
            self.assertEqual(response[0], status)
            client.__exit__()


class DemoTimeoutTest(unittest.TestCase):
    def test_who_sends_no_frame_keeps_no_place(self):
        server = Swan("--max-sessions", "1")
        self.addCleanup(server.stop)
        idle = User(self, server)
        idle.wait("send_frame")
        self.assertEqual(User(self, server).receive()["message"], "Server is full")

        def is_free():
            user = User(self, server)
            status = user.receive()["status"]
            user.client.__exit__()
            return status == "connected"

        self.assertTrue(until(is_free, 30))
        # The idle one may still begin, if there is room.
        self.assertTrue(until(is_free, 10))

    def test_silent_clients_are_told_and_disconnected(self):
        server = Swan("--demo-timeout", "1")
        self.addCleanup(server.stop)
        user = User(self, server)
        self.assertEqual(user.wait("timeout")[0]["status"], "timeout")
        self.assertEqual(user.client.close_code(), 1000)


if __name__ == "__main__":
    unittest.main()
