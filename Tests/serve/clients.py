"""Starts the test server and talks to it over raw sockets, so that clients can be as malformed as they like."""
import base64
import hashlib
import json
import os
import pathlib
import queue
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("HTTP_PROBE", str(ROOT / ".build/debug/http-probe"))
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
TOKEN = "0123456789abcdef"


class Server:
    """A running server."""

    def __init__(self, *options):
        self.lines = queue.Queue()
        self.log = []
        self.process = subprocess.Popen(
            [PROGRAM, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.threads = [
            threading.Thread(target=self._read, args=(self.process.stdout, self.lines.put), daemon=True),
            threading.Thread(target=self._read, args=(self.process.stderr, self.log.append), daemon=True),
        ]
        for thread in self.threads:
            thread.start()
        url = self.expect("ready ")
        self.secure = url.startswith("https")
        self.port = int(url.rsplit(":", 1)[1])

    @staticmethod
    def _read(stream, put):
        for line in stream:
            put(line.rstrip("\n"))
        stream.close()

    def expect(self, prefix, timeout=10):
        """The rest of the next line of output, which must start with `prefix`."""
        line = self.lines.get(timeout=timeout)
        if not line.startswith(prefix):
            raise AssertionError(f"expected {prefix!r}, got {line!r}")
        return line[len(prefix):]

    @property
    def memory(self):
        """The resident memory in MiB."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    @property
    def sockets(self):
        """The number of open sockets."""
        folder = f"/proc/{self.process.pid}/fd"
        links = [os.readlink(f"{folder}/{name}") for name in os.listdir(folder) if os.path.lexists(f"{folder}/{name}")]
        return sum(link.startswith("socket:") for link in links)

    def stop(self, number=signal.SIGTERM, timeout=30):
        """Sends a signal and returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        for thread in self.threads:
            thread.join(5)
        return code


class Client:
    """A connection."""

    def __init__(self, server, timeout=5):
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=timeout)
        if server.secure:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            context.set_alpn_protocols(["h2", "http/1.1"])
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode())
        return self

    def fill(self):
        """Reads more bytes; returns whether there were any."""
        data = self.socket.recv(1 << 16)
        self.buffer += data
        return bool(data)

    def take(self, count):
        while len(self.buffer) < count:
            if not self.fill():
                raise EOFError(self.buffer)
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def at_end(self):
        """Whether the server closes the connection without sending more."""
        try:
            return not self.buffer and not self.fill()
        except ConnectionResetError:
            return True

    # HTTP

    def request(self, method="GET", path="/", headers=(), body=b"", host="localhost"):
        fields = {"Host": host, **dict(headers)}
        if body:
            fields.setdefault("Content-Length", str(len(body)))
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value is not None)
        return self.send(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)

    def response(self, method="GET"):
        """The status, headers and body of the next response."""
        while b"\r\n\r\n" not in self.buffer:
            if not self.fill():
                raise EOFError(self.buffer)
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        lines = head.decode().split("\r\n")
        headers = {}
        for line in lines[1:]:
            name, value = line.split(": ", 1)
            headers[name.lower()] = value
        status = int(lines[0].split()[1])
        size = 0 if method == "HEAD" or status in (101, 304) else int(headers.get("content-length", 0))
        return status, headers, self.take(size)

    # WebSockets

    def handshake(self, path="/echo", **headers):
        fields = {
            "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": KEY,
        }
        fields.update({name.replace("_", "-"): value for name, value in headers.items()})
        return self.request(path=path, headers=fields)

    def open(self, path="/echo", **headers):
        status, fields, body = self.handshake(path, **headers).response()
        if status != 101:
            raise AssertionError(f"{status} {body}")
        return fields

    def frame(self, opcode, payload=b"", fin=True, bits=0, masked=True, length=None):
        """Sends a frame; `length` claims a length other than that of the payload."""
        if isinstance(payload, str):
            payload = payload.encode()
        return self.send(frame(opcode, payload, fin, bits, masked, length))

    def receive(self):
        """The opcode and payload of the next frame."""
        first, second = self.take(2)
        length = second & 0x7F
        if length == 126:
            length, = struct.unpack("!H", self.take(2))
        elif length == 127:
            length, = struct.unpack("!Q", self.take(8))
        return first & 0x0F, self.take(length)

    def close_code(self):
        """The code of the close frame that the server sends, after any other frames."""
        while True:
            opcode, payload = self.receive()
            if opcode == 8:
                return struct.unpack("!H", payload[:2])[0]


def frame(opcode, payload=b"", fin=True, bits=0, masked=True, length=None):
    """The bytes of a frame."""
    size = len(payload) if length is None else length
    head = bytes([(0x80 if fin else 0) | bits << 4 | opcode])
    mask = 0x80 if masked else 0
    if size < 126:
        head += bytes([mask | size])
    elif size < 1 << 16:
        head += struct.pack("!BH", mask | 126, size)
    else:
        head += struct.pack("!BQ", mask | 127, size)
    # A key of zeros leaves the payload as it is.
    return head + (bytes(4) if masked else b"") + payload


def until(condition, timeout=5):
    """Waits for a condition; returns whether it came true."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


class ServerTest(unittest.TestCase):
    """Tests that share a server."""

    options = ()

    @classmethod
    def setUpClass(cls):
        cls.server = Server(*cls.options)

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def client(self, **options):
        client = Client(self.server, **options)
        self.addCleanup(client.socket.close)
        return client

    def get(self, path="/", method="GET", **options):
        return self.client().request(method, path, **options).response(method)

    def check_error(self, response, status, code=None):
        """Checks that a response is an error with a complete JSON body that reveals nothing."""
        self.assertEqual(response[0], status, response)
        self.assertEqual(response[1]["content-type"], "application/json")
        error = json.loads(response[2])["error"]
        self.assertEqual(sorted(error), ["code", "message", "param", "type"])
        for secret in ["/home", "0x", "Swift", TOKEN]:
            self.assertNotIn(secret, error["message"])
        if code:
            self.assertEqual(error["code"], code)
        self.check_headers(response[1])
        return error

    def check_headers(self, headers):
        self.assertEqual(headers["x-content-type-options"], "nosniff")
        self.assertEqual(headers["cross-origin-resource-policy"], "same-origin")
        self.assertIn("frame-ancestors 'none'", headers["content-security-policy"])


def accept_key():
    """The answer to the handshake key."""
    digest = hashlib.sha1((KEY + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
    return base64.b64encode(digest).decode()
