"""A browser with a fake camera and a server for the tests of the page."""

import json
import os
import pathlib
import re
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
import unittest
import urllib.request
from urllib.parse import urljoin, urlsplit

try:
    from playwright.sync_api import sync_playwright
except ImportError:
    sync_playwright = None

ROOT = pathlib.Path(__file__).resolve().parents[2]
SWAN = os.environ.get("SWAN", str(ROOT / ".build/debug/swan"))
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or ""
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
]
START_SECONDS = 60
#: A session whose connection was lost stays for half a minute.
FREE_SECONDS = 40

#: Keeps the messages of all WebSockets, those of text as objects and those of bytes as their header.
RECORDED = """
window.sent = [];
window.received = [];
const header = (buffer) => {
    const view = new DataView(buffer.buffer ?? buffer);
    const [codec, flags] = [view.getUint8(2), view.getUint8(3)];
    return { codec, flags, sequence: view.getUint32(4, true), event: view.getUint32(16, true), bytes: view.byteLength };
};
const kept = (data) => typeof data === "string" ? JSON.parse(data) : header(data);
const Original = window.WebSocket;
window.WebSocket = class extends Original {
    constructor(...parameters) {
        super(...parameters);
        window.protocols = parameters[1];
        this.addEventListener("message", ({ data }) => window.received.push(kept(data)));
    }
    send(data) {
        window.sent.push(kept(data));
        super.send(data);
    }
};
"""


class Server:
    """The server under test: SWAN_URL, or one that SWAN (the debug build) starts with options."""

    def __init__(self, *options, port=0):
        self.process = None
        #: The port that is asked for; 0 for any.
        self.wanted = port
        self.log = []
        #: The token of a server that wants one.
        self.token = ""
        url = None if options else os.environ.get("SWAN_URL")
        self.url, _, self.fragment = (url or self.start(options)).partition("#")

    def start(self, options):
        self.process = subprocess.Popen(
            [SWAN, "serve", "--port", str(self.wanted), "--device", "cpu", "--overcommit", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        timer = threading.Timer(START_SECONDS, self.process.kill)
        timer.start()
        try:
            for line in self.process.stdout:
                self.log.append(line)
                if link := re.search(r"https?://\S+", line):
                    threading.Thread(target=self.process.stdout.read, daemon=True).start()
                    return link.group()
        finally:
            timer.cancel()
        self.stop()
        raise RuntimeError(f"the server printed no address within {START_SECONDS} s: {self.log}")

    def sessions(self):
        """The number of sessions on the server."""
        request = urllib.request.Request(urljoin(self.url, "/readyz"), headers={"Authorization": f"Bearer {self.token}"})
        with urllib.request.urlopen(request, timeout=20) as response:
            return json.load(response)["sessions"]

    @property
    def port(self):
        return urlsplit(self.url).port

    def stop(self):
        if not self.process:
            return
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Proxy:
    """Forwards connections to the server until they are cut, as by a lost network."""

    def __init__(self, url):
        address = urlsplit(url)
        self.target = (address.hostname, address.port or 80)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://localhost:{self.listener.getsockname()[1]}/"
        self.sockets = []
        self.is_down = False
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if self.is_down:
                client.close()
                continue
            server = socket.create_connection(self.target)
            self.sockets += [client, server]
            for pair in ((client, server), (server, client)):
                threading.Thread(target=self.forward, args=pair, daemon=True).start()

    @staticmethod
    def forward(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        for end in self.sockets:
            # Without lingering, a close resets the connection instead of ending it.
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()
        self.sockets = []

    def close(self):
        self.listener.close()
        self.cut()


def missing():
    """What is missing for these tests; none if nothing is."""
    if not sync_playwright:
        return "playwright is missing: pip install playwright"
    if not CHROMIUM:
        return "chromium is missing: apt-get install chromium"
    return None


class BrowserTestCase(unittest.TestCase):
    """A browser, the server, and what is needed to watch the messages between them."""

    #: Options of the server.
    options = ()

    @classmethod
    def setUpClass(cls):
        if reason := missing():
            if os.environ.get("SWAN_REQUIRE_PEERS") == "1":
                raise AssertionError(reason)
            print(f"{cls.__name__} skipped: {reason}", file=sys.stderr)
            raise unittest.SkipTest(reason)
        cls.server = Server(*cls.options)
        cls.addClassCleanup(cls.server.stop)
        playwright = sync_playwright().start()
        cls.addClassCleanup(playwright.stop)
        cls.browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        cls.addClassCleanup(cls.browser.close)

    def setUp(self):
        # A session of the last test ends with the chunk under way; beside it, others might be too many.
        deadline = time.monotonic() + FREE_SECONDS
        while self.server.process and self.server.sessions() > 0:
            self.assertLess(time.monotonic(), deadline, "the last test's sessions go on")
            time.sleep(0.05)

    def open(self, fragment="", width=1280, height=800, scheme="light", script=RECORDED, url=None,
             waits=True):
        """Opens the page in a fresh profile. Messages on its console and requests elsewhere fail the test."""
        context = self.browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            permissions=["camera", "clipboard-read", "clipboard-write"],
        )
        self.addCleanup(context.close)
        context.add_init_script(script)
        page = context.new_page()
        self.complaints, self.hosts = [], set()
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))
        parts = [part for part in (self.server.fragment, fragment) if part]
        page.goto((url or self.server.url) + "#" + "&".join(parts))
        if waits:
            self.wait_until(page, "document.querySelector('#model').textContent !== ''")
        return page

    def start(self, page):
        page.click("#start")
        page.wait_for_selector("[data-state=live]", timeout=10_000)
        self.wait_for_results(page)

    def wait_for_results(self, page, count=1):
        """Waits for results beyond those that have come."""
        count += self.results(page)
        self.wait_until(page, f"window.received.filter(({{ bytes }}) => bytes).length >= {count}")

    def wait_for_stats(self, page, count=1):
        """Waits for reports of the server, which come once a second."""
        reports = "window.received.filter(({ type }) => type === 'stats').length"
        count += page.evaluate(reports)
        self.wait_until(page, f"{reports} >= {count}")

    @staticmethod
    def wait_until(page, condition, seconds=20):
        """Waits in Python: the policy forbids the evaluation of strings in the page that Playwright uses."""
        deadline = time.monotonic() + seconds
        while not page.evaluate(condition):
            if time.monotonic() > deadline:
                shown = page.inner_text("#state") + page.inner_text("#problem").strip()
                raise AssertionError(f"not true within {seconds} s: {condition}; the page says: {shown}")
            page.wait_for_timeout(20)

    @staticmethod
    def results(page):
        return page.evaluate("window.received.filter(({ bytes }) => bytes).length")

    @staticmethod
    def messages(page, direction, kind):
        messages = page.evaluate(f"window.{direction}.filter(({{ type }}) => type)")
        return [message for message in messages if message["type"] == kind]

    @staticmethod
    def output(page):
        """The result as a data URL, to compare and to find black in."""
        return page.evaluate("document.querySelector('#output').toDataURL()")
