"""Faults of clients, files and the machine that `swan serve` must survive. README.md says which test is for which."""
import json
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import time
import unittest

from clients import ROOT, TOKEN, Client, until
from program import Program, run
from test_realtime import BINARY, HEADER, TEXT, Session, picture

COMPILER = shutil.which("cc") or shutil.which("clang")


class FaultTest(unittest.TestCase):
    """Tests with a server of their own."""

    options = ()
    environment = {}

    @classmethod
    def setUpClass(cls):
        cls.server = Program(*cls.options, environment=cls.environment)
        cls.picture = picture()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def session(self, **options):
        return Session(self, self.server, **options)

    def feed(self, session, period=0.03):
        """Sends frames until the test ends."""
        done = threading.Event()

        def send():
            while not done.wait(period):
                try:
                    session.put(self.picture)
                except OSError:
                    return

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        self.addCleanup(lambda: (done.set(), sender.join(5)))
        return done

    def stats(self, session):
        session.messages.clear()
        return session.wait("stats")

    def sessions(self):
        return json.loads(self.server.get("/readyz")[2])["sessions"]


class Access(FaultTest):
    """Rows 10 to 13 and 33 on all routes of the server."""

    environment = {"SWAN_TOKEN": TOKEN}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        description = json.loads(cls.server.get("/openapi.json", headers=cls.authorized())[2])
        cls.routes = [
            (method.upper(), re.sub(r"\{\w+\}", "00000000-0000-0000-0000-000000000000", path))
            for path, operations in description["paths"].items() for method in operations]
        cls.pages = ["/", "/app.js", "/style.css"]

    @staticmethod
    def authorized():
        return {"Authorization": f"Bearer {TOKEN}"}

    def test_every_route_but_one_needs_the_token(self):
        self.assertGreater(len(self.routes), 6)
        for method, path in self.routes + [("GET", "/v1/nothing")]:
            for headers in [{}, {"Authorization": "Bearer " + TOKEN[:-1] + "x"}, {"Authorization": TOKEN},
                            {"Cookie": f"token={TOKEN}"}]:
                with self.subTest(f"{method} {path} {headers}"):
                    status = self.server.get(f"{path}?token={TOKEN}", method, headers=headers)[0]
                    self.assertEqual(status, 200 if path == "/healthz" else 401)
            self.assertNotEqual(self.server.get(path, method, headers=self.authorized())[0], 401)
        self.assertFalse([line for line in self.server.output if TOKEN in line])

    def test_other_hosts_are_refused_everywhere(self):
        for method, path in self.routes + [("GET", page) for page in self.pages]:
            for host in ["evil.example", "127.0.0.1.nip.io", "localhost.evil.example"]:
                with self.subTest(f"{path} {host}"):
                    status, _, body = self.server.get(path, method, headers=self.authorized(), host=host)
                    self.assertEqual((status, json.loads(body)["error"]["code"]), (421, "host_not_allowed"))

    def test_pages_of_other_origins_open_no_sessions(self):
        for origin in ["http://evil.example", "null", "http://localhost:1", "http://localhost.evil.example"]:
            with self.subTest(origin), Client(self.server) as client:
                client.handshake("/v1/realtime", Origin=origin, Authorization=f"Bearer {TOKEN}")
                self.assertEqual(client.response()[0], 403)

    def test_errors_reveal_nothing(self):
        requests = [(method, path, {}) for method, path in self.routes]
        requests += [("POST", path, {"body": b"{}", "kind": "application/json"}) for _, path in self.routes]
        requests += [("GET", path, {}) for path in [
            "/../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/app.js%00", "/v1/realtime?session=" + "a" * 2000,
            "/v1/realtime/sessions/..%2f..%2fetc/stats", "/" + "x" * 3000]]
        for method, path, options in requests:
            headers = self.authorized()
            if "kind" in options:
                headers["Content-Type"] = options["kind"]
            status, fields, body = self.server.get(path, method, headers=headers, body=options.get("body", b""))
            self.reveals_nothing(status, fields, body)
        self.assertEqual(self.server.process.poll(), None)

    def reveals_nothing(self, status, headers, body):
        if status < 400:
            return
        text = body.decode() + " ".join(headers.values())
        for secret in [str(ROOT), "/home", "/root", "/tmp", "/usr", "0x", "Swift", ".swift", "Optional(", TOKEN]:
            self.assertNotIn(secret, text, status)


class Clients(FaultTest):
    """Rows 3, 4, 5, 9, 24 and 25: what a client of a session may do wrong."""

    options = ("--max-sessions", "32")

    def test_a_client_that_sends_too_fast(self):
        session = self.session()
        memory = self.server.memory
        for _ in range(1500):
            session.put(self.picture)
        # The newest frames are the ones that are restyled. A chunk comes out when later ones push it.
        self.feed(session, period=0.2)
        while not session.frames or session.frames[-1][4] < 1496:
            self.assertIsNotNone(session.step())
        stats = self.stats(session)
        self.assertGreaterEqual(stats["frames_in"], 1500)
        self.assertGreater(stats["dropped"]["inbox"], 0)
        sequences = [frame[4] for frame in session.frames]
        self.assertEqual(sequences, sorted(set(sequences)))
        self.assertLess(self.server.memory - memory, 150)
        session.send(type="stop")

    def test_a_client_that_never_reads(self):
        client = Client(self.server, timeout=60)
        self.addCleanup(client.__exit__)
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.open("/v1/realtime")
        start = {"type": "start", "width": 64, "height": 64, "output": "png"}
        client.frame(TEXT, json.dumps(start))
        client.receive()
        head = HEADER.pack(1, 1, 1, 0, 0, 0, 0, 64, 64, 0, 0)
        # Answers that nobody reads: only they fill the connection fast enough.
        ping = json.dumps({"type": "ping", "time": 1.0, "padding": "x" * 1000})
        memory = self.server.memory
        try:
            for _ in range(60_000):
                client.frame(TEXT, ping)
            client.frame(BINARY, head + self.picture)
        except OSError:
            pass
        self.assertLess(self.server.memory - memory, 100)
        other = self.session()
        self.feed(other)
        other.wait_frames(4)
        other.send(type="stop")

    def test_sessions_of_clients_that_vanish(self):
        for _ in range(3):
            session = self.session()
            session.put(self.picture)
            linger = struct.pack("ii", 1, 0)
            session.client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            session.client.socket.close()
        # Places are free again when the clients had time to come back.
        self.assertTrue(until(lambda: self.sessions() == 0, 45))

    def test_random_messages(self):
        random.seed(7)
        session = self.session()
        values = [None, True, -1, 0, 2**63, 10**400, 1e308, "", "x" * 5000, [], {}, [[]] * 50, {"a": {}}, "\ud800", "neon edges"]
        keys = ["prompt", "prompts", "steps", "noise_scale", "seed", "event", "fit", "paused", "reset", "transition",
                "type", "time", "width", "fps", "input", "mode", "presentation"]
        sent = 0
        for _ in range(90):
            message = {"type": random.choice(["update", "start", "ping", "fly", 7, None])}
            message.update({key: random.choice(values) for key in random.sample(keys, random.randint(0, 4))})
            if message["type"] == "stop":
                continue
            session.client.frame(TEXT, json.dumps(message))
            sent += 1
        session.send(type="ping", time=0.25)
        while session.wait("pong")["time"] != 0.25:
            pass
        errors = [message for message in session.messages if message["type"] == "error"]
        self.assertGreater(len(errors), 20)
        for error in errors:
            self.assertTrue(error["code"] and error["message"])
            self.assertNotIn(str(ROOT), json.dumps(error))
        session.send(type="update", paused=False, reset=True, event=77, prompt="sepia", steps=1, noise_scale=0.3, seed=1)
        self.feed(session)
        while not any(frame[6] == 77 for frame in session.frames):
            self.assertIsNotNone(session.step())
        session.send(type="stop")

    def test_strange_prompts(self):
        session = self.session()
        self.feed(session)
        prompts = ["", " \t\n", "sepia " * 12_000, "\u202e\u0000\u0007sepia", "🦢" * 500, "sepia\n" * 99, "A\u0300" * 999, "%s%n{}"]
        for event, prompt in enumerate(prompts, 10):
            session.send(type="update", event=event, prompt=prompt)
            while True:
                message = session.step()
                self.assertIsNotNone(message, prompt[:20])
                if isinstance(message, dict) and message["type"] in ("applied", "error") and message.get("event") == event:
                    break
            if message["type"] == "error":
                self.assertTrue(message["code"] and message["message"])
        session.send(type="stop")
        # More than a message may hold.
        large = self.session()
        large.client.frame(TEXT, json.dumps({"type": "update", "prompt": "x" * 10_000_000})[:300_000], length=10_000_060)
        self.assertEqual(large.client.close_code(), 1009)

    def test_impossible_sizes(self):
        memory = self.server.memory
        for start in [{"width": 65536, "height": 65536}, {"width": 0, "height": 64}, {"width": -64, "height": 64},
                      {"width": 65, "height": 64}, {"width": 2**62, "height": 2**62}, {"width": 64, "height": 1e300},
                      {"steps": 0}, {"steps": 1000}, {"fps": 0}, {"fps": 1e9}, {"noise_scale": 2}, {"quality": 0},
                      {"source_width": 10**9, "source_height": 1}, {"seed": -1e30}, {"width": "64"}]:
            with self.subTest(str(start)):
                client = Client(self.server, timeout=30)
                self.addCleanup(client.__exit__)
                client.open("/v1/realtime")
                client.frame(TEXT, json.dumps({"type": "start", "prompt": "sepia", **start}))
                opcode, payload = client.receive()
                error = json.loads(payload)
                self.assertEqual((opcode, error["type"]), (TEXT, "error"))
                self.assertTrue(error["code"] and error["message"])
        self.assertLess(self.server.memory - memory, 100)
        for header in [(1, 1, 1, 0, 0, 0, 0, 65535, 65535, 0, 0), (2, 1, 1, 0, 0, 0, 0, 1, 1, 0, 0)]:
            session = self.session()
            session.client.frame(BINARY, HEADER.pack(*header) + b"\xff\xd8\xff" * 100)
            session.send(type="ping", time=1)
            session.wait("pong")
            session.send(type="stop")

    def test_pictures_that_promise_too_much(self):
        """A JPEG and a PNG whose headers claim 65,000 x 65,000 pixels allocate nothing."""
        session = self.session()
        self.feed(session)
        memory = self.server.memory
        jpeg = bytearray(self.picture)
        at = jpeg.index(b"\xff\xc0")
        jpeg[at + 5:at + 9] = struct.pack(">HH", 65_000, 65_000)
        png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + struct.pack(">IIBBBBB", 65_000, 65_000, 8, 2, 0, 0, 0) + bytes(4)
        for _ in range(10):
            session.put(bytes(jpeg))
            session.put(png, codec=2)
        session.wait_frames(9)
        self.assertTrue(until(lambda: self.stats(session)["dropped"]["damaged"] + self.stats(session)["dropped"]["inbox"] > 0, 20))
        self.assertLess(self.server.memory - memory, 150)
        session.send(type="stop")


class Machine(unittest.TestCase):
    """Rows 26, 29, 31 and 32: what the machine and its operator may do."""

    def test_a_session_that_does_not_fit_into_memory(self):
        """Only the session that asks for too much ends; the others go on."""
        server = Program("--max-sessions", "3")
        self.addCleanup(server.stop)
        good = Session(self, server)
        for _ in range(5):
            good.put(picture())
        good.wait_frames(4)
        status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
        size = int(status.split("VmSize:")[1].split()[0]) * 1024
        resource.prlimit(server.process.pid, resource.RLIMIT_AS, (size + (160 << 20), resource.RLIM_INFINITY))
        client = Client(server, timeout=60)
        self.addCleanup(client.__exit__)
        client.open("/v1/realtime")
        client.frame(TEXT, json.dumps({"type": "start", "prompt": "sepia", "width": 1280, "height": 704}))
        head = HEADER.pack(1, 1, 1, 0, 0, 0, 0, 64, 64, 0, 0)
        error = None
        sent = 0
        while error is None:
            opcode, payload = client.receive()
            if opcode == 8:
                break
            message = json.loads(payload) if opcode == TEXT else {}
            if message.get("type") == "error":
                error = message
            while message.get("type") == "ready" and sent < 13:
                client.frame(BINARY, head + picture())
                sent += 1
        self.assertIsNotNone(error)
        self.assertIn("memory", error["message"])
        for name in ["/home", "0x", ".swift", str(ROOT)]:
            self.assertNotIn(name, error["message"])
        resource.prlimit(server.process.pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        count = len(good.frames)
        while len(good.frames) < count + 4:
            good.put(picture())
            self.assertIsNotNone(good.step())
        good.send(type="stop")

    def test_signals_under_load(self):
        server = Program()
        sessions = [Session(self, server) for _ in range(3)]
        for session in sessions:
            for _ in range(9):
                session.put(picture())
        server.process.send_signal(signal.SIGTERM)
        for session in sessions:
            self.assertEqual(session.client.close_code(), 1001)
        self.assertEqual(server.process.wait(20), 0)
        server.stop()
        self.assertFalse([line for line in server.output if "error" in line.lower()], server.output)

    def test_a_second_signal_stops_at_once(self):
        server = Program()
        session = Session(self, server)
        session.put(picture())
        # The client does not answer, so stopping takes its time.
        server.process.send_signal(signal.SIGINT)
        server.line("stopping")
        self.assertIn(server.stop(signal.SIGINT, timeout=5), [0, 130])

    @unittest.skipIf(COMPILER is None, "needs a C compiler")
    def test_the_clock_may_jump(self):
        with tempfile.TemporaryDirectory() as folder:
            library, clock = pathlib.Path(folder) / "clock.so", pathlib.Path(folder) / "offset"
            source = pathlib.Path(__file__).with_name("clock.c")
            subprocess.run([COMPILER, "-shared", "-fPIC", "-o", library, source], check=True)
            clock.write_text("0")
            server = Program(
                "--log-format", "json", "--log-level", "debug",
                environment={"LD_PRELOAD": str(library), "CLOCK_OFFSET_FILE": str(clock)})
            self.addCleanup(server.stop)
            session = Session(self, server)
            for _ in range(9):
                session.put(picture())
            idle = Client(server)
            self.addCleanup(idle.__exit__)
            idle.request(path="/healthz").response()
            for offset in ["3600", "-86400", "31536000"]:
                clock.write_text(offset)
                goal = len(session.frames) + 8
                while len(session.frames) < goal:
                    session.put(picture())
                    self.assertIsNotNone(session.step())
                stats = session.wait("stats")
                self.assertLess(stats["latency_ms"]["p99"], 600_000)
                self.assertGreaterEqual(stats["latency_ms"]["p50"], 0)
                self.assertLess(stats["fps_in"], 10_000)
            self.assertEqual(idle.request(path="/healthz").response()[0], 200)
            # The log has the wall clock: it did jump.
            self.assertTrue(until(lambda: len({json.loads(line)["time"][:4] for line in server.output}) > 1))
            session.send(type="stop")


class Listening(unittest.TestCase):
    """Row 32 on `swan serve`."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.certificate = pathlib.Path(folder.name) / "a.pem"
        self.key = pathlib.Path(folder.name) / "a.key"

    def make(self, name):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
             "-subj", f"/CN={name}", "-days", "2", "-out", self.certificate, "-keyout", self.key],
            check=True, capture_output=True)

    def test_a_taken_port(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            code, _, messages = run("--port", str(port))
        self.assertEqual(code, 69)
        self.assertIn("another program uses this port: ", messages)
        self.assertIn(f"(process {os.getpid()})", messages)
        self.assertRegex(messages, r"port \d+ is free")

    def test_ipv6(self):
        if not socket.has_ipv6 or not os.path.exists("/proc/net/if_inet6"):
            self.skipTest("this machine has no IPv6")
        server = Program("--host", "[::1]")
        self.addCleanup(server.stop)
        with socket.create_connection(("::1", server.port), timeout=5) as client:
            client.sendall(f"GET /readyz HTTP/1.1\r\nHost: [::1]:{server.port}\r\nConnection: close\r\n\r\n".encode())
            self.assertIn(b"200 OK", client.recv(1000))
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port), timeout=5)

    def test_bad_certificates(self):
        files = f"{self.certificate},{self.key}"
        self.assertEqual(run("--tls", files)[0], 66)
        self.make("one")
        self.key.write_text("nonsense")
        code, _, messages = run("--tls", files)
        self.assertEqual(code, 65)
        self.assertIn("contains no private key in PEM format", messages)
        self.assertEqual(run("--tls", "one")[0], 64)

    def name(self, server):
        """The name in the certificate that a new connection gets."""
        pem = ssl.get_server_certificate(("127.0.0.1", server.port))
        text = subprocess.run(["openssl", "x509", "-noout", "-subject"], input=pem, capture_output=True, text=True, check=True)
        return text.stdout.strip().split("=")[-1].strip()

    def test_a_certificate_is_replaced_without_dropping_connections(self):
        self.make("one")
        server = Program("--tls", f"{self.certificate},{self.key}")
        self.addCleanup(server.stop)
        session = Session(self, server)
        self.assertEqual(self.name(server), "one")
        self.make("two")
        self.assertEqual(self.name(server), "one")
        server.process.send_signal(signal.SIGHUP)
        server.line("read the certificate again")
        self.assertEqual(self.name(server), "two")
        self.key.write_text("nonsense")
        server.process.send_signal(signal.SIGHUP)
        self.assertIn("stays as it was", server.line("certificate"))
        self.assertEqual(self.name(server), "two")
        # The session over the first certificate goes on.
        for _ in range(5):
            session.put(picture())
        session.wait_frames(4)
        session.send(type="stop")

    def test_without_a_certificate_sighup_stops_the_server(self):
        server = Program()
        self.assertEqual(server.stop(signal.SIGHUP), 0)


class Proxies(unittest.TestCase):
    """What browsers and the proxies of docs/serving.md send, as it arrives at the server."""

    @classmethod
    def setUpClass(cls):
        cls.text = (ROOT / "docs/serving.md").read_text(encoding="utf-8")
        cls.origin = re.search(r"--allow-origin (https://[a-z.]+)", cls.text).group(1)
        cls.server = Program("--allow-origin", cls.origin)

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def headers(self, pattern):
        """The headers that a page's request has behind a proxy; an empty one is removed."""
        headers = {"Host": self.origin.removeprefix("https://"), "Origin": self.origin, "Sec-Fetch-Site": "same-origin"}
        replaced = re.findall(pattern, self.text)
        self.assertTrue(replaced)
        for name, value in replaced:
            headers[name] = "" if value.startswith("$") else value.strip('"')
        return {name: value for name, value in headers.items() if value}

    def check(self, headers):
        host = headers.pop("Host")
        client = Client(self.server)
        self.addCleanup(client.__exit__)
        upgrade = {
            **headers, "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        }
        self.assertEqual(client.request(path="/v1/realtime", host=host, headers=upgrade).response()[0], 101)
        self.assertEqual(self.server.get("/", host=host, headers=headers)[0], 200)
        # This server makes no videos, so that the request comes as far as it can.
        json_type = {"Content-Type": "application/json"}
        post = self.server.get("/v1/videos", "POST", host=host, headers={**headers, **json_type}, body=b"{}")
        self.assertEqual(post[0], 404, post)
        other = {**headers, "Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
        self.assertEqual(self.server.get("/v1/videos", "POST", host=host, headers=other, body=b"{}")[0], 403)

    def test_caddy(self):
        self.check(self.headers(r"header_up (\S+) (\S+)\n"))

    def test_nginx(self):
        self.check(self.headers(r"proxy_set_header (\S+) (\S+);"))


if __name__ == "__main__":
    unittest.main()
