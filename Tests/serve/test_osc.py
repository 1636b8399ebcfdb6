"""OSC messages that control sessions, sent by python-osc; the tests are skipped without it."""
import os
import random
import re
import socket
import threading
import unittest

from test_realtime import Session, Swan, picture

try:
    from pythonosc.osc_bundle_builder import IMMEDIATELY, OscBundleBuilder
    from pythonosc.osc_message_builder import OscMessageBuilder
    from pythonosc.udp_client import SimpleUDPClient
except ImportError:
    SimpleUDPClient = None


class OSCServer(Swan):
    """A server that receives OSC at a port of the system's choice."""

    def __init__(self, *options):
        self.text = []
        super().__init__("--osc", "0", *options)
        notes = "\n".join(self.text)
        self.osc_port = int(re.search(r"OSC on \S+ port (\d+)", notes).group(1))

    def _read(self, stream, put):
        def both(line):
            self.text.append(line)
            put(line)
        super()._read(stream, both)


@unittest.skipIf(SimpleUDPClient is None, "python-osc is not installed")
class OSCTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = OSCServer()
        cls.osc = SimpleUDPClient("127.0.0.1", cls.server.osc_port)

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def session(self):
        session = Session(self, self.server)
        self.addCleanup(session.send, type="stop")
        return session

    def events(self, session, count=1):
        """Sends frames until `count` more changes were applied; returns their numbers."""
        done = threading.Event()

        def send():
            while not done.wait(0.03):
                session.put(picture())

        sender = threading.Thread(target=send)
        sender.start()
        try:
            return [session.wait("applied")["event"] for _ in range(count)]
        finally:
            done.set()
            sender.join()

    def test_messages_change_all_sessions_or_one(self):
        sessions = [self.session(), self.session()]
        self.osc.send_message("/swan/prompt", "sepia")
        for session in sessions:
            self.assertGreaterEqual(self.events(session)[0], 1 << 31)
        name = sessions[1].ready["session"]
        self.osc.send_message(f"/swan/session/{name}/steps", 1)
        last = self.events(sessions[1])[0]
        self.osc.send_message("/swan/noise", 0.5)
        for session in sessions:
            # The first session has seen nothing in between.
            self.assertEqual(self.events(session)[0], last + 1)

    def test_each_address_changes_something(self):
        session = self.session()
        for address, values in [
            ("/swan/prompts", ["sepia", "neon edges"]), ("/swan/weights", [0.25, 0.75]), ("/swan/weight/2", 0.1),
            ("/swan/steps", 99), ("/swan/noise", 7.5), ("/swan/fixed_noise", True), ("/swan/seed", 1 << 40),
            ("/swan/reset", []), ("/swan/prompt", ["sepia", 2.0, "night", 1]), ("/swan/n?ise", 0.25),
            ("/swan/session/*/prompt", "sepia"),
        ]:
            with self.subTest(address):
                self.osc.send_message(address, values)
                self.assertGreaterEqual(self.events(session)[0], 1 << 31)
        errors = [message for message in session.messages if message["type"] == "error"]
        self.assertEqual(errors, [])

    def test_pause(self):
        session = self.session()
        self.osc.send_message("/swan/pause", 1)
        self.osc.send_message("/swan/pause", 0)
        self.osc.send_message("/swan/transition", 3)
        self.osc.send_message("/swan/prompt", "sepia")
        self.events(session)
        self.osc.send_message("/swan/pause", True)
        # Messages arrive in order, so the pause has begun when this comes back.
        session.send(type="ping", time=1)
        session.wait("pong")
        stats = session.wait("stats")
        session.put(picture())
        self.assertEqual(session.wait("stats")["frames_in"], stats["frames_in"])

    def test_bundles(self):
        session = self.session()
        bundle = OscBundleBuilder(IMMEDIATELY)
        for address, value in [("/swan/prompt", "sepia"), ("/swan/noise", 0.3)]:
            message = OscMessageBuilder(address)
            message.add_arg(value)
            bundle.add_content(message.build())
        self.osc.send(bundle.build())
        self.assertGreaterEqual(self.events(session)[0], 1 << 31)

    def test_garbage_does_no_harm(self):
        session = self.session()
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(sender.close)
        numbers = random.Random(1)
        good = b"/swan/prompt\0\0\0\0,s\0\0sepia\0\0\0"
        for length in range(len(good)):
            sender.sendto(good[:length], ("127.0.0.1", self.server.osc_port))
        for _ in range(500):
            packet = numbers.choice([b"", b"#bundle\0", b"/swan/"]) + numbers.randbytes(numbers.randrange(200))
            sender.sendto(packet, ("127.0.0.1", self.server.osc_port))
        for address in ["/", "/swan", "/swan/fly", "/swan/session/nobody/prompt", "/" + "*" * 200]:
            self.osc.send_message(address, "sepia")
        for address, value in [("/swan/prompt", 5), ("/swan/noise", "loud"), ("/swan/noise", float("nan")),
                               ("/swan/steps", [1, 2]), ("/swan/weight/3", "x")]:
            self.osc.send_message(address, value)
        self.osc.send_message("/swan/prompt", "sepia")
        self.assertGreaterEqual(self.events(session)[0], 1 << 31)
        self.assertIsNone(self.server.process.poll())


@unittest.skipIf(SimpleUDPClient is None, "python-osc is not installed")
class OSCListeningTest(unittest.TestCase):
    def test_a_warning_beyond_loopback(self):
        server = OSCServer("--osc", "0.0.0.0:0")
        server.stop()
        self.assertRegex("\n".join(server.text), "warning: OSC has no authentication")

    def test_a_port_that_is_taken(self):
        taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(taken.close)
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        import subprocess
        from test_realtime import SWAN
        run = subprocess.run([SWAN, "serve", "--port", "0", "--osc", str(port)],
                             capture_output=True, text=True, timeout=60, env={**os.environ})
        self.assertEqual(run.returncode, 69, run.stderr)
        self.assertIn(f"port {port}", run.stderr)


if __name__ == "__main__":
    unittest.main()
