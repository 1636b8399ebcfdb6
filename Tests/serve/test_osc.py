"""OSC messages that control sessions, sent by python-osc; the tests are skipped without it."""
import itertools
import random
import re
import socket
import subprocess
import threading
import time
import unittest

from clients import until
from test_realtime import SWAN, Session, Swan, picture

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

    def applied(self, session, address=None, value=None):
        """The number of the next change that a session applies.

        Sends frames until then, and a message now and again: UDP may lose one on a busy machine.
        """
        done = threading.Event()

        def send():
            for count in itertools.count():
                if address and count % 100 == 0:
                    self.osc.send_message(address, value)
                session.put(picture())
                if done.wait(0.03):
                    return

        sender = threading.Thread(target=send)
        sender.start()
        deadline = time.monotonic() + 60
        try:
            while time.monotonic() < deadline:
                message = session.step()
                if isinstance(message, dict) and message["type"] == "applied":
                    return message["event"]
        finally:
            done.set()
            sender.join()
        self.fail(f"{address} had no effect: {session.messages[-3:]}")

    def test_messages_change_all_sessions_or_one(self):
        sessions = [self.session(), self.session()]
        self.applied(sessions[0], "/swan/prompt", "sepia")
        self.assertGreaterEqual(self.applied(sessions[1]), 1 << 31)
        name = sessions[1].ready["session"]
        one = self.applied(sessions[1], f"/swan/session/{name}/steps", 1)
        both = self.applied(sessions[0], "/swan/noise", 0.5)
        self.assertGreater(both, one)
        events = [message["event"] for message in sessions[0].messages if message["type"] == "applied"]
        self.assertNotIn(one, events)
        self.assertGreaterEqual(self.applied(sessions[1]), both)

    def test_each_address_changes_something(self):
        session = self.session()
        last = 1 << 31
        for address, values in [
            ("/swan/prompts", ["sepia", "neon edges"]), ("/swan/weights", [0.25, 0.75]), ("/swan/weight/2", 0.1),
            ("/swan/steps", 99), ("/swan/noise", 7.5), ("/swan/fixed_noise", True), ("/swan/seed", 1 << 40),
            ("/swan/reset", []), ("/swan/prompt", ["sepia", 2.0, "night", 1]), ("/swan/n?ise", 0.25),
            ("/swan/session/*/prompt", "sepia"),
        ]:
            with self.subTest(address):
                event = self.applied(session, address, values)
                self.assertGreater(event, last)
                last = event
        errors = [message for message in session.messages if message["type"] == "error"]
        self.assertEqual(errors, [])

    def test_pause(self):
        session = self.session()
        self.osc.send_message("/swan/transition", 3)
        self.applied(session, "/swan/prompt", "sepia")

        def is_paused():
            """Whether a frame that is sent is not taken."""
            session.wait("stats")
            before = session.wait("stats")["frames_in"]
            session.put(picture())
            session.wait("stats")
            return session.wait("stats")["frames_in"] == before

        self.osc.send_message("/swan/pause", True)
        self.assertTrue(until(is_paused, 30))
        self.osc.send_message("/swan/pause", 0)
        self.assertTrue(until(lambda: not is_paused(), 30))

    def test_bundles(self):
        session = self.session()
        bundle = OscBundleBuilder(IMMEDIATELY)
        for address, value in [("/swan/prompt", "sepia"), ("/swan/noise", 0.3)]:
            message = OscMessageBuilder(address)
            message.add_arg(value)
            bundle.add_content(message.build())
        self.osc.send(bundle.build())
        self.assertGreaterEqual(self.applied(session), 1 << 31)

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
            time.sleep(0.001)
        for address in ["/", "/swan", "/swan/fly", "/swan/session/nobody/prompt", "/" + "*" * 200]:
            self.osc.send_message(address, "sepia")
        for address, value in [("/swan/prompt", 5), ("/swan/noise", "loud"), ("/swan/noise", float("nan")),
                               ("/swan/steps", [1, 2]), ("/swan/weight/3", "x")]:
            self.osc.send_message(address, value)
        self.assertGreaterEqual(self.applied(session, "/swan/prompt", "sepia"), 1 << 31)
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
        run = subprocess.run([SWAN, "serve", "--port", "0", "--osc", str(port)],
                             capture_output=True, text=True, timeout=60)
        self.assertEqual(run.returncode, 69, run.stderr)
        self.assertIn(f"port {port}", run.stderr)


if __name__ == "__main__":
    unittest.main()
