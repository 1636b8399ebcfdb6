"""Who gets a place on a full server: a session that waits for its lost client gives way to a new client."""
import json
import os
import re
import socket
import struct
import subprocess
import time
import unittest

from clients import ROOT

try:
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect
except ImportError:
    connect = None

PROGRAM = os.environ.get("SWAN", str(ROOT / ".build/debug/swan"))
START = {"type": "start", "prompt": "sepia", "width": 64, "height": 64, "fps": 8}


@unittest.skipUnless(connect, "needs the package websockets")
class PlacesTest(unittest.TestCase):
    def setUp(self):
        self.process = subprocess.Popen(
            [PROGRAM, "serve", "--port", "0", "--max-sessions", "1"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.addCleanup(self.stop)
        for line in self.process.stderr:
            if match := re.search(r"http://[^\s/]+:(\d+)", line):
                self.port = int(match.group(1))
                return
        self.fail("the server does not start")

    def stop(self):
        self.process.terminate()
        self.process.wait(10)
        self.process.stderr.close()

    def open(self, query=""):
        return connect(f"ws://127.0.0.1:{self.port}/v1/realtime{query}", open_timeout=10)

    def start(self):
        client = self.open()
        client.send(json.dumps(START))
        ready = json.loads(client.recv(timeout=30))
        self.assertEqual(ready["type"], "ready")
        return client, ready["session"]

    def reset(self, client):
        """Loses the connection without a goodbye."""
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.socket.shutdown(socket.SHUT_RD)
        client.socket.close()

    def test_a_session_with_a_client_keeps_its_place(self):
        client, _ = self.start()
        with self.assertRaises(InvalidStatus) as refusal:
            self.open()
        self.assertEqual(refusal.exception.response.status_code, 503)
        client.send(json.dumps({"type": "ping", "time": 7}))
        while (message := json.loads(client.recv(timeout=10)))["type"] != "pong":
            pass
        self.assertEqual(message["time"], 7)
        client.close()

    def test_a_lost_client_comes_back(self):
        client, session = self.start()
        client.close()
        with self.open(f"?session={session}") as again:
            ready = json.loads(again.recv(timeout=10))
        self.assertTrue(ready["resumed"])

    def test_a_waiting_session_gives_way(self):
        for lose in (lambda client: client.close(), self.reset):
            client, first = self.start()
            lose(client)
            # The server may learn of the loss after the next client's handshake.
            deadline = time.monotonic() + 5
            while time.monotonic() < deadline:
                try:
                    client, second = self.start()
                    break
                except InvalidStatus:
                    time.sleep(0.01)
            else:
                self.fail("the place stays taken")
            self.assertNotEqual(first, second)
            with self.assertRaises(InvalidStatus) as refusal:
                self.open(f"?session={first}")
            self.assertEqual(refusal.exception.response.status_code, 404)
            client.send('{"type": "stop"}')
            client.close()


if __name__ == "__main__":
    unittest.main()
