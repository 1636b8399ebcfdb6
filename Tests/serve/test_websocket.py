"""WebSockets: handshakes, frames, back-pressure and the end of connections."""
import signal
import struct
import time
import unittest

from clients import KEY, Client, Server, ServerTest, accept_key, frame, until

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Handshakes(ServerTest):
    def test_accepted(self):
        client = self.client()
        headers = client.open(Sec_WebSocket_Protocol="other, swan.v1")
        self.assertEqual(headers["sec-websocket-accept"], accept_key())
        self.assertEqual(headers["sec-websocket-protocol"], "swan.v1")
        client.frame(TEXT, "héllo")
        self.assertEqual(client.receive(), (TEXT, "héllo".encode()))

    def test_frames_behind_the_handshake_are_not_lost(self):
        client = self.client()
        fields = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        head = f"GET /echo HTTP/1.1\r\nHost: localhost\r\n{fields}Sec-WebSocket-Key: {KEY}\r\n\r\n"
        client.send(head.encode() + frame(TEXT, b"one") + frame(TEXT, b"two"))
        self.assertEqual(client.response()[0], 101)
        self.assertEqual([client.receive()[1] for _ in range(2)], [b"one", b"two"])

    def test_refused(self):
        for status, headers in [
            (400, {"Sec_WebSocket_Key": "c2hvcnQ="}), (400, {"Sec_WebSocket_Key": "?"}),
            (400, {"Sec_WebSocket_Key": None}), (400, {"Connection": "close"}),
            (400, {"Content_Length": "3"}), (426, {"Sec_WebSocket_Version": "8"}),
            (426, {"Sec_WebSocket_Version": None}),
        ]:
            with self.subTest(headers):
                client = self.client().handshake(**headers)
                response = client.response()
                self.check_error(response, status)
                if status == 426:
                    self.assertEqual(response[1]["sec-websocket-version"], "13")
                self.assertTrue(client.at_end())
        self.check_error(self.client().handshake("/nothing").response(), 404)
        response = self.client().handshake("/full").response()
        self.check_error(response, 503, "full")
        self.assertEqual(response[1]["retry-after"], "2")

    def test_only_on_new_connections(self):
        client = self.client().request(path="/healthz")
        client.response()
        client.handshake()
        response = client.response()
        self.check_error(response, 426, "upgrade_required")
        self.assertEqual(response[1]["connection"], "close")
        self.assertTrue(client.at_end())


class Frames(ServerTest):
    def check_closed(self, code, data):
        client = self.client()
        client.open()
        client.send(data)
        self.assertEqual(client.close_code(), code)
        self.assertTrue(client.at_end())

    def test_protocol_errors(self):
        for name, code, data in [
            ("unmasked", 1002, frame(TEXT, b"a", masked=False)),
            ("RSV1", 1002, frame(TEXT, b"a", bits=4)),
            ("RSV3", 1002, frame(TEXT, b"a", bits=1)),
            ("reserved opcode", 1002, frame(3, b"a")),
            ("reserved control opcode", 1002, frame(11, b"a")),
            ("continuation of nothing", 1002, frame(0, b"a")),
            ("text within a binary message", 1002, frame(BINARY, b"a", fin=False) + frame(TEXT, b"a")),
            ("fragmented ping", 1002, frame(PING, b"a", fin=False)),
            ("long ping", 1002, frame(PING, bytes(126))),
            ("close of one byte", 1002, frame(CLOSE, b"a")),
            ("close with a reserved code", 1002, frame(CLOSE, struct.pack("!H", 1005))),
            ("bad UTF-8", 1007, frame(TEXT, b"\xff")),
            ("bad UTF-8 in a reason", 1007, frame(CLOSE, struct.pack("!H", 1000) + b"\xff")),
            ("long text", 1009, frame(TEXT, bytes(128 * 1024 + 1))),
            ("2^34 bytes", 1009, frame(BINARY, bytes(100), length=1 << 34)),
            ("2^63 bytes", 1009, frame(BINARY, bytes(100), length=(1 << 63) - 1)),
            ("2^64 - 1 bytes", None, frame(BINARY, bytes(100), length=(1 << 64) - 1)),
        ]:
            with self.subTest(name):
                if code is not None:
                    self.check_closed(code, data)
                    continue
                client = self.client()
                client.open()
                client.send(data)
                self.assertIn(client.close_code(), [1002, 1009])

    def test_messages_of_all_sizes(self):
        client = self.client()
        client.open()
        for size in [0, 1, 125, 126, 65535, 65536, 4 << 20]:
            payload = bytes(index % 251 for index in range(1000)) * (size // 1000 + 1)
            client.frame(BINARY, payload[:size])
            self.assertEqual(client.receive(), (BINARY, payload[:size]))

    def test_fragments_around_pings(self):
        client = self.client()
        client.open()
        client.frame(TEXT, b"h\xc3", fin=False).frame(PING, b"?").frame(0, b"\xa9", fin=False).frame(0, b"!")
        self.assertEqual(client.receive(), (PONG, b"?"))
        self.assertEqual(client.receive(), (TEXT, "hé!".encode()))

    def test_close_frames_are_answered(self):
        client = self.client()
        client.open()
        client.frame(CLOSE, struct.pack("!H", 4001) + b"bye")
        self.assertEqual(client.close_code(), 4001)
        self.assertTrue(client.at_end())
        client = self.client()
        client.open()
        client.frame(CLOSE)
        self.assertEqual(client.close_code(), 1000)

    def test_sessions_choose_the_code(self):
        for path, code in [("/reject", 4404), ("/crash", 1011)]:
            client = self.client()
            client.open(path)
            opcode, payload = client.receive()
            self.assertEqual((opcode, struct.unpack("!H", payload[:2])[0]), (CLOSE, code))
            self.assertNotIn(b"/home", payload)
            client.frame(CLOSE, payload[:2])
            self.assertTrue(client.at_end())

    def test_clients_that_ignore_the_close_frame_are_disconnected(self):
        client = self.client()
        client.open("/reject")
        start = time.monotonic()
        self.assertEqual(client.close_code(), 4404)
        try:
            while time.monotonic() < start + 5:
                client.frame(TEXT, b"still here")
                time.sleep(0.05)
        except OSError:
            pass
        self.assertLess(time.monotonic() - start, 4)


class Memory(ServerTest):
    """What hostile clients send does not stay in memory."""

    def setUp(self):
        with Client(self.server) as client:
            client.open()
            client.frame(BINARY, bytes(4 << 20)).receive()
        self.before = self.server.memory

    def check_memory(self, growth=40):
        self.assertLess(self.server.memory - self.before, growth)

    def send_until_closed(self, client, data, megabytes):
        client.socket.settimeout(2)
        try:
            for _ in range(megabytes * (1 << 20) // len(data)):
                client.send(data)
        except OSError:
            pass

    def test_giant_frames(self):
        for _ in range(3):
            client = self.client()
            client.open()
            client.frame(BINARY, b"", length=1 << 34)
            self.send_until_closed(client, bytes(1 << 20), 100)
            self.assertEqual(client.close_code(), 1009)
        self.check_memory()

    def test_endless_fragments(self):
        client = self.client()
        client.open()
        client.frame(BINARY, b"", fin=False)
        self.send_until_closed(client, frame(0, bytes(65536), fin=False), 250)
        self.assertEqual(client.close_code(), 1009)
        client = self.client()
        client.open()
        client.frame(BINARY, b"", fin=False)
        self.send_until_closed(client, frame(0, b"", fin=False) * 1000, 20)
        self.assertEqual(client.close_code(), 1009)
        self.check_memory()

    def test_a_flood_of_messages_to_a_client_that_never_reads(self):
        client = self.client()
        client.open()
        self.send_until_closed(client, frame(BINARY, bytes(1 << 20)), 100)
        self.check_memory()

    def test_a_flood_of_pings_from_a_client_that_never_reads(self):
        client = self.client()
        client.open()
        self.send_until_closed(client, frame(PING, bytes(125)) * 8000, 16)
        self.check_memory()

    def test_a_session_gives_up_on_a_client_that_never_reads(self):
        client = self.client()
        client.open("/flood")
        stalled = int(self.server.expect("stalled "))
        self.assertGreater(stalled, 0)
        self.assertLessEqual(stalled, 1 << 20)
        self.check_memory()
        before = self.server.sockets
        self.assertTrue(until(lambda: self.server.sockets < before))


class Keepalive(ServerTest):
    options = ("ping=200",)

    def test_clients_that_answer_pings_stay(self):
        client = self.client()
        client.open()
        end = time.monotonic() + 1.5
        pings = 0
        while time.monotonic() < end:
            opcode, payload = client.receive()
            self.assertEqual(opcode, PING)
            client.frame(PONG, payload)
            pings += 1
        self.assertGreater(pings, 3)
        client.frame(TEXT, "a")
        while client.receive() != (TEXT, b"a"):
            pass

    def test_silent_clients_are_disconnected(self):
        client = self.client()
        client.open()
        start = time.monotonic()
        try:
            while True:
                client.receive()
        except (EOFError, ConnectionResetError):
            pass
        self.assertLess(time.monotonic() - start, 2)


class Shutdown(unittest.TestCase):
    """The test server has a grace period of 2 s."""

    def client(self, server):
        client = Client(server)
        self.addCleanup(client.socket.close)
        return client

    def test_clients_are_told(self):
        server = Server()
        idle = self.client(server)
        idle.open()
        last = self.client(server)
        last.open("/farewell")
        plain = self.client(server).request(path="/healthz")
        plain.response()
        slow = self.client(server).request(path="/slow")
        time.sleep(0.1)
        start = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        self.assertEqual(idle.close_code(), 1001)
        self.assertEqual(last.receive(), (TEXT, b"farewell"))
        self.assertEqual(last.close_code(), 1001)
        for client in [idle, last]:
            client.frame(CLOSE, struct.pack("!H", 1001))
        self.assertTrue(plain.at_end())
        self.assertEqual(slow.response()[2], b"slow")
        self.assertEqual(server.stop(), 0)
        self.assertLess(time.monotonic() - start, 1.9)

    def test_clients_that_do_not_leave_are_disconnected(self):
        server = Server()
        clients = [self.client(server), self.client(server), self.client(server)]
        clients[0].open()
        clients[1].open("/flood")
        clients[2].send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n")
        time.sleep(0.2)
        start = time.monotonic()
        self.assertEqual(server.stop(), 0)
        self.assertLess(time.monotonic() - start, 3.5)

    def test_a_second_signal_stops_at_once(self):
        server = Server()
        client = self.client(server)
        client.open("/flood")
        time.sleep(0.2)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        start = time.monotonic()
        server.stop(signal.SIGINT)
        # Waiting for this client would take five seconds.
        self.assertLess(time.monotonic() - start, 4)


if __name__ == "__main__":
    unittest.main()
