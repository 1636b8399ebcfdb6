"""Starts `swan serve` with an environment of its own, and keeps what it logs."""
import os
import queue
import subprocess
import threading

from clients import Client, Server
from test_realtime import SWAN


class Program(Server):
    """A running `swan serve`; `output` holds the lines of its log.

    `before` is a command that starts it, and `program` how that names it.
    """

    def __init__(self, *options, environment=None, before=(), port="0", program=(SWAN,)):
        self.log, self.lines, self.output = [], queue.Queue(), []
        clean = {name: value for name, value in os.environ.items() if not name.startswith("SWAN_")}
        # These tests share a busy machine, where few sessions fit, and leave the user's jobs alone.
        options = ("--overcommit", "--jobs", "none", *options)
        self.process = subprocess.Popen(
            [*before, *program, "serve", *(["--port", port] if port else []), "--device", "cpu", "--dtype", "float32",
             *options],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env={**clean, **(environment or {})})
        self.threads = [threading.Thread(target=self._read, args=(self.process.stderr, self.keep), daemon=True)]
        self.threads[0].start()
        line = self.line("open http")
        address = line.split("open ")[1].split()[0]
        self.secure = address.startswith("https://")
        self.port = int(address.rsplit(":", 1)[1])

    def keep(self, line):
        self.output.append(line)
        self.lines.put(line)

    def line(self, text, timeout=60):
        """The next line that contains a text."""
        while True:
            line = self.lines.get(timeout=timeout)
            if text in line:
                return line

    def get(self, path, method="GET", timeout=10, **options):
        """The status, headers and body of a response."""
        with Client(self, timeout=timeout) as client:
            return client.request(method, path, **options).response(method)


def run(*options, environment=None, timeout=60):
    """Runs `swan serve` to its end; returns the exit code, the output and the messages."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SWAN_")}
    process = subprocess.run(
        [SWAN, "serve", *options], capture_output=True, text=True, timeout=timeout,
        env={**clean, **(environment or {})})
    return process.returncode, process.stdout, process.stderr
