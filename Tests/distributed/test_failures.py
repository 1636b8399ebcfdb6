"""How a job ends when something fails: every rank in time, with the reason."""
import os
import random
import signal
import socket
import time
import unittest

from ranks import DEADLINE, SLACK, Job, free_port


class Failures(unittest.TestCase):
    def expect(self, job, others, names, *, code=75, began=None, within=DEADLINE + 2):
        """The ranks `others` end in time with a code and messages that contain all `names`."""
        codes = job.end()
        if began is not None:
            self.assertLess(time.monotonic() - began, within + SLACK)
        for rank in others:
            self.assertEqual(codes[rank], code, f"rank {rank}: {job[rank].messages}")
            for name in names:
                self.assertIn(name, job[rank].messages)

    def test_a_killed_rank(self):
        for victim in (0, 1):
            with self.subTest(victim=victim):
                job = Job(self, 3, ["running", "100000"])
                job.running()
                began = time.monotonic()
                job[victim].send(signal.SIGKILL)
                self.expect(job, {0, 1, 2} - {victim}, [f"rank {victim} ("], began=began)

    def test_a_stopped_rank(self):
        jobs = {victim: Job(self, 3, ["running", "100000"]) for victim in (0, 1)}
        for victim, job in jobs.items():
            job.running()
            job[victim].send(signal.SIGSTOP)
        began = time.monotonic()
        limit = DEADLINE + 2 + SLACK
        for victim, job in jobs.items():
            # The stopped rank cannot end by itself; the others do not wait for it.
            for rank in {0, 1, 2} - {victim}:
                self.assertEqual(job[rank].end(max(0.1, limit + began - time.monotonic())), 75, job[rank].messages)
                self.assertIn(f"rank {victim} (", job[rank].messages)

    def test_a_message_that_is_too_long(self):
        job = Job(self, 3, ["oversized"])
        job.running()
        began = time.monotonic()
        # The receiver's process ends: its library can do no better.
        self.expect(job, [1, 2], ["rank 0 ("], began=began)
        self.assertEqual(job[0].end(), 128 + signal.SIGABRT)

    def test_the_others_wait_while_one_works(self):
        job = Job(self, 3, ["tail"])
        self.assertEqual(job.end(), {0: 0, 1: 0, 2: 0}, [p.messages for p in job.processes.values()])

    def test_a_rank_that_fails_while_the_others_wait_at_the_end(self):
        cases = [("kill", ["rank 0 ("]), ("error", ["rank 0 (", "no space for the file"])]
        jobs = [(Job(self, 3, ["tail", way]), names) for way, names in cases]
        for job, _ in jobs:
            job.running()
        began = time.monotonic()
        for job, names in jobs:
            self.expect(job, [1, 2], names, began=began, within=DEADLINE + 8)

    def test_a_rank_that_never_starts(self):
        job = Job(self, 3, ["running"], ranks=[0, 1], environment={"PROBE_START": "3"})
        began = time.monotonic()
        self.expect(job, [0, 1], ["rank 2 of 3 did not start within 3 s"], began=began, within=5)

    def test_two_processes_with_one_rank(self):
        job = Job(self, 3, ["running"], ranks=[0, 1])
        twin = Job(self, 3, ["running"], ranks=[1], port=job.port)
        began = time.monotonic()
        self.expect(job, [0, 1], ["two processes have rank 1"], code=70, began=began, within=5)
        self.assertEqual(twin.end(), {1: 70})
        for process in (job[0], job[1], twin[1]):
            for pid in (job[1].pid, twin[1].pid):
                self.assertIn(f"process {pid}", process.messages)

    def test_a_second_process_does_not_disturb(self):
        job = Job(self, 2, ["running", "100"])
        job.running()
        twin = Job(self, 2, ["running"], ranks=[1], port=job.port)
        self.expect(twin, [1], ["two processes have rank 1"], code=70)
        self.assertEqual(job.end(), {0: 0, 1: 0}, job[0].messages + job[1].messages)

    def test_a_late_rank_is_waited_for(self):
        port = free_port()
        early = Job(self, 2, ["running", "2"], ranks=[1], port=port)
        time.sleep(2)
        late = Job(self, 2, ["running", "2"], ranks=[0], port=port)
        self.assertEqual({**early.end(), **late.end()}, {0: 0, 1: 0}, early[1].messages + late[0].messages)

    def test_port_taken(self):
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            began = time.monotonic()
            job = Job(self, 2, ["running"], ranks=[0], port=port)
            self.expect(job, [0], [f"port {port}", "another program uses it"], code=70, began=began, within=2)

    def test_a_wrong_address(self):
        for host, text in (("127.0.0.1", "Connection refused"), ("no-such-host.invalid", "")):
            with self.subTest(host=host):
                began = time.monotonic()
                job = Job(
                    self, 2, ["running"], ranks=[1], host=host, environment={"PROBE_START": "3"})
                self.expect(job, [1], ["cannot reach rank 0 at " + host, text], began=began, within=5)

    def test_another_service_at_the_address(self):
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            began = time.monotonic()
            job = Job(
                self, 2, ["running"], ranks=[1], port=other.getsockname()[1], environment={"PROBE_START": "3"})
            self.expect(job, [1], ["cannot reach rank 0"], began=began, within=6)

    def test_another_model(self):
        job = Job(self, 3, ["running"], environment={"PROBE_AGREED_2": "another", "PROBE_AGREED_0": "first"})
        self.expect(job, [0, 1, 2], ["model differs: first on rank 0"], code=70)

    def test_bytes_of_strangers(self):
        """What others send to the ports of the store and of the ranks disturbs nothing."""
        job = Job(self, 3, ["running", "60"])
        job.running()
        numbers = random.Random(1)
        contents = [
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", bytes(4096), numbers.randbytes(65536), b"", b"\x00\x01",
            b"\xff" * 64]
        ports = {port for process in job.processes.values() for port in listening(process.pid)}
        self.assertGreaterEqual(len(ports), 3)
        for port in ports:
            for content in contents:
                with socket.socket() as stranger:
                    stranger.settimeout(2)
                    stranger.connect(("127.0.0.1", port))
                    try:
                        stranger.sendall(content)
                    except OSError:
                        # It may close the connection before it has read all.
                        continue
        self.assertEqual(job.end(), {0: 0, 1: 0, 2: 0}, [p.messages for p in job.processes.values()])


def listening(pid):
    """The ports on which a process listens."""
    own = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            own.add(os.readlink(f"/proc/{pid}/fd/{name}"))
        except OSError:
            continue
    ports = set()
    for table in ("tcp", "tcp6"):
        with open(f"/proc/{pid}/net/{table}", encoding="ascii") as file:
            for line in file.readlines()[1:]:
                row = line.split()
                if row[3] == "0A" and f"socket:[{row[9]}]" in own:
                    ports.add(int(row[1].split(":")[1], 16))
    return ports


if __name__ == "__main__":
    unittest.main()
