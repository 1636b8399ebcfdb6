#!/usr/bin/env python3
"""Watches `swan serve` for minutes: sessions come, go and vanish, and nothing may grow.

    Tests/serve/soak.py --minutes 5 --cycles 1000

Exits with 1 if memory, descriptors, threads or sessions are left behind.
"""
import argparse
import json
import os
import pathlib
import socket
import struct
import sys
import threading
import time
import unittest

from clients import Client
from program import Program
from test_realtime import BINARY, HEADER, TEXT, picture


class Soak:
    """A server under load, and what it uses."""

    def __init__(self, say=print):
        self.server = Program("--max-sessions", "256")
        self.picture = picture()
        self.say = say
        self.errors = []

    def usage(self):
        """The memory in MiB, and the numbers of descriptors and threads."""
        folder = pathlib.Path(f"/proc/{self.server.process.pid}")
        return self.server.memory, len(os.listdir(folder / "fd")), len(os.listdir(folder / "task"))

    def sessions(self):
        return json.loads(self.server.get("/readyz")[2])["sessions"]

    def frame(self, sequence):
        return HEADER.pack(1, 1, 1, 0, sequence, 0, 0, 64, 64, 0, 0) + self.picture

    def open(self):
        """A connection; waits for a place while sessions wait for clients that vanished."""
        end = time.monotonic() + 60
        while True:
            client = Client(self.server, timeout=60)
            status, _, body = client.handshake("/v1/realtime").response()
            if status == 101:
                return client
            client.socket.close()
            if status != 503 or time.monotonic() > end:
                raise AssertionError(f"{status} {body}")
            time.sleep(0.5)

    def cycle(self, number):
        """Opens a session, sends some frames, and ends in one of three ways."""
        with self.open() as client:
            client.frame(TEXT, json.dumps({"type": "start", "prompt": "sepia", "width": 64, "height": 64}))
            client.receive()
            for sequence in range(number % 7):
                client.frame(BINARY, self.frame(sequence))
            if number % 3 == 0:
                # The connection is reset, and the session waits for its client for half a minute.
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif number % 3 == 1:
                client.frame(TEXT, '{"type": "stop"}')
                client.close_code()
            else:
                client.frame(TEXT, '{"type": "stop"}')
                client.frame(8, struct.pack("!H", 1000))

    def cycles(self, count, workers=2):
        """Runs cycles in several threads."""
        numbers = iter(range(count))
        lock = threading.Lock()

        def work():
            while True:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                try:
                    self.cycle(number)
                except Exception as error:
                    self.errors.append(f"cycle {number}: {error!r}")
                    return

        threads = [threading.Thread(target=work) for _ in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def settled(self):
        """The usage once all sessions and connections are gone."""
        end = time.monotonic() + 45
        while time.monotonic() < end and self.sessions():
            time.sleep(0.2)
        time.sleep(1)
        return self.usage()

    def stream(self, seconds):
        """Keeps two sessions running; returns the number of frames that came back."""
        frames = [0, 0]

        def run(index):
            with self.open() as client:
                client.frame(TEXT, json.dumps({"type": "start", "prompt": "sepia", "width": 64, "height": 64, "fps": 8}))
                client.receive()
                done = threading.Event()

                def send():
                    sequence = 0
                    while not done.wait(0.12):
                        client.frame(BINARY, self.frame(sequence))
                        sequence += 1

                sender = threading.Thread(target=send)
                sender.start()
                end = time.monotonic() + seconds
                try:
                    while time.monotonic() < end:
                        opcode, payload = client.receive()
                        if opcode == 9:
                            client.frame(10, payload)
                        frames[index] += opcode == BINARY
                        if opcode == 8:
                            raise AssertionError(f"session {index} ended: {payload!r}")
                except Exception as error:
                    self.errors.append(repr(error))
                finally:
                    done.set()
                    sender.join()
                client.frame(TEXT, '{"type": "stop"}')

        threads = [threading.Thread(target=run, args=(index,)) for index in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return frames

    def check(self, minutes, cycles):
        """Runs everything; returns what is wrong."""
        # Pools of threads and of memory reach their size.
        self.cycles(max(30, cycles // 10))
        self.stream(5)
        first = self.settled()
        self.say("before:  %.0f MiB, %d descriptors, %d threads" % first)
        self.cycles(cycles)
        frames = self.stream(60 * minutes)
        last = self.settled()
        self.say("after:   %.0f MiB, %d descriptors, %d threads; %d cycles, %s frames" % (*last, cycles, frames))
        wrong = list(self.errors)
        if last[0] > 1.15 * first[0] + 30:
            wrong.append("memory grew from %.0f to %.0f MiB" % (first[0], last[0]))
        if last[1] > first[1] + 2:
            wrong.append("descriptors grew from %d to %d" % (first[1], last[1]))
        if last[2] > first[2] + 4:
            wrong.append("threads grew from %d to %d" % (first[2], last[2]))
        if self.sessions():
            wrong.append("%d sessions are left" % self.sessions())
        if min(frames) == 0:
            wrong.append("a session got no frames")
        return wrong


class ShortSoak(unittest.TestCase):
    """The short form, for `make test`."""

    def test_nothing_grows(self):
        soak = Soak(say=lambda line: None)
        self.addCleanup(soak.server.stop)
        self.assertEqual(soak.check(minutes=0.3, cycles=60), [])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--cycles", type=int, default=1000)
    options = parser.parse_args()
    soak = Soak()
    try:
        wrong = soak.check(options.minutes, options.cycles)
    finally:
        soak.server.stop()
    for line in wrong:
        print("WRONG:", line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
