"""Two network namespaces and a link between them that is slow, loses packets, or is cut.

The link is two TUN devices, between which this program carries packets: no module of the kernel for traffic
control is needed.
"""
import collections
import fcntl
import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time

ADDRESSES = ("10.77.0.1", "10.77.0.2")
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
#: A packet that waits longer is lost, as in the buffer of a switch.
LONGEST_QUEUE = 0.5


def hold(index):
    """Runs in a namespace: makes its device, gives it to the parent, and stays until the parent ends."""
    parent = socket.socket(fileno=0)
    device = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", b"tun0", IFF_TUN | IFF_NO_PI))
    own, peer = ADDRESSES[index], ADDRESSES[1 - index]
    for command in (
            ["addr", "add", own, "peer", peer, "dev", "tun0"], ["link", "set", "tun0", "up"],
            ["link", "set", "lo", "up"]):
        subprocess.run(["ip", *command], check=True, stdin=subprocess.DEVNULL)
    socket.send_fds(parent, [b"x"], [device])
    parent.recv(1)


class Direction(threading.Thread):
    """Carries packets from one device to the other."""

    def __init__(self, link, source, target):
        super().__init__(daemon=True)
        self.link, self.source, self.target = link, source, target
        self.queue, self.change = collections.deque(), threading.Condition()
        self.free = time.monotonic()
        self.chance = random.Random(source)
        threading.Thread(target=self.deliver, daemon=True).start()

    def run(self):
        while True:
            try:
                packet = os.read(self.source, 65536)
            except OSError:
                return
            now = time.monotonic()
            self.free = max(self.free, now)
            if self.link.is_cut or self.chance.random() < self.link.loss or self.free - now > LONGEST_QUEUE:
                continue
            self.free += len(packet) / self.link.rate
            with self.change:
                self.queue.append((self.free + self.link.delay, packet))
                self.change.notify()

    def deliver(self):
        while True:
            with self.change:
                while not self.queue:
                    self.change.wait()
                due, packet = self.queue.popleft()
            time.sleep(max(0, due - time.monotonic()))
            try:
                os.write(self.target, packet)
            except OSError:
                # The namespace is gone, or its device is down.
                return


class Link:
    """The link; `delay` in seconds one way, `loss` a probability, `rate` in bytes a second."""

    def __init__(self, delay=0.0, loss=0.0, rate=float("inf")):
        self.delay, self.loss, self.rate, self.is_cut = delay, loss, rate, False
        self.holders, self.sockets, devices = [], [], []
        for index in range(2):
            own, other = socket.socketpair()
            self.sockets.append(own)
            self.holders.append(subprocess.Popen(
                [*unshare(), sys.executable, "-B", __file__, str(index)], stdin=other, stderr=subprocess.PIPE))
            other.close()
        for own, holder in zip(self.sockets, self.holders):
            own.settimeout(20)
            _, received, _, _ = socket.recv_fds(own, 1, 1)
            if not received:
                message = holder.communicate()[1].decode(errors="replace").strip()
                self.close()
                raise OSError(f"no network namespace: {message}")
            devices += received
        self.devices = devices
        for source, target in (devices, devices[::-1]):
            Direction(self, source, target).start()

    def inside(self, side):
        """The command that starts another one on a side."""
        user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        return ["nsenter", "--target", str(self.pid(side)), *user, "--net", "--"]

    def pid(self, side):
        return self.holders[side].pid

    def close(self):
        for own in self.sockets:
            own.close()
        for holder in self.holders:
            holder.kill()
            holder.communicate()


def unshare():
    return ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--net"]


def reason_against():
    """Why there can be no link on this machine; None if there can."""
    missing = [name for name in ("unshare", "nsenter", "ip") if shutil.which(name) is None]
    if missing:
        return f"not installed: {' '.join(missing)}"
    try:
        Link().close()
    except OSError as error:
        return str(error)
    return None


if __name__ == "__main__":
    hold(int(sys.argv[1]))
