"""Starts programs as the ranks of a job, and ends them with the test."""
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
SWAN = os.environ.get("SWAN_PROGRAM", str(ROOT / ".build/debug/swan"))
PROBE = str(pathlib.Path(SWAN).with_name("ranks-probe"))
#: The longest that one exchange of `ranks-probe` may take.
DEADLINE = 4
#: What a busy machine may add to a time.
SLACK = 4
#: Variables of launchers, which a test must not inherit.
LAUNCHERS = ("SLURM_", "OMPI_", "PMI_", "TORCHELASTIC_", "RANK", "LOCAL_", "WORLD_SIZE", "MASTER_", "GROUP_")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def clean(*more):
    """The environment without a launcher's variables, with one thread and others."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(LAUNCHERS)}
    own.update({"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "SWIFT_BACKTRACE": "enable=no"})
    for variables in more:
        own.update(variables or {})
    return own


class Process:
    """A process whose output is collected, and that is killed at the end of its test."""

    def __init__(self, test, command, environment):
        self.command = command
        self.files = tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self.files[0], stderr=self.files[1], env=environment)
        self.pid = self.process.pid
        test.addCleanup(self.kill)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for file in self.files:
            file.close()

    def send(self, number):
        os.kill(self.pid, number)

    def text(self, index):
        with open(f"/proc/self/fd/{self.files[index].fileno()}", encoding="utf-8", errors="replace") as file:
            return file.read()

    @property
    def output(self):
        return self.text(0)

    @property
    def messages(self):
        return self.text(1)

    def wait_for(self, text, index=0, limit=30):
        """Waits until the process has written a text."""
        end = time.monotonic() + limit
        while text not in self.text(index):
            if time.monotonic() > end or self.process.poll() is not None:
                raise AssertionError(f"{self.command} did not write '{text}' but:\n{self.output}\n{self.messages}")
            time.sleep(0.02)

    def end(self, limit=60):
        """The exit status, as a shell shows it."""
        try:
            code = self.process.wait(limit)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.command} did not end in {limit} s:\n{self.messages}") from None
        return code if code >= 0 else 128 - code


class Job:
    """Ranks that were started without a launcher.

    `of` gives a rank further variables, `inside` a command that starts it; `ranks` are those that start at all.
    """

    def __init__(self, test, size, arguments, *, program=PROBE, port=None, ranks=None, environment=None, of=None,
                 inside=None, host="127.0.0.1", local=None):
        self.port = port or free_port()
        self.processes = {}
        for rank in range(size) if ranks is None else ranks:
            variables = {
                "RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_ADDR": host, "MASTER_PORT": str(self.port)}
            if local:
                variables["LOCAL_RANK"], variables["LOCAL_WORLD_SIZE"] = "0", str(local)
            command = [*(inside(rank) if inside else []), program, *arguments]
            self.processes[rank] = Process(test, command, clean(variables, environment, of(rank) if of else None))

    def __getitem__(self, rank):
        return self.processes[rank]

    def running(self):
        """Waits until all ranks have met."""
        for process in self.processes.values():
            process.wait_for("running")

    def end(self, limit=60):
        """The exit status of each rank."""
        until = time.monotonic() + limit
        return {rank: process.end(max(0.1, until - time.monotonic())) for rank, process in self.processes.items()}


def children(pid):
    """The numbers of the child processes of a process."""
    found = []
    for thread in pathlib.Path(f"/proc/{pid}/task").glob("*"):
        try:
            found += [int(number) for number in (thread / "children").read_text().split()]
        except OSError:
            continue
    return found


def ranks_of(launcher):
    """The processes of the ranks that a launcher has started, by number."""
    found = {}
    for pid in children(launcher):
        try:
            variables = pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        found.update({int(variable[5:]): pid for variable in variables if variable.startswith(b"RANK=")})
    return found


def is_running(pid):
    """Whether a process exists and is not a zombie."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_for_end(pids, limit=10):
    """Waits until processes are gone; returns those that are not."""
    end = time.monotonic() + limit
    while (left := [pid for pid in pids if is_running(pid)]) and time.monotonic() < end:
        time.sleep(0.02)
    return left


__all__ = [
    "Job", "Process", "SWAN", "PROBE", "DEADLINE", "SLACK", "children", "clean", "free_port", "is_running",
    "ranks_of", "signal", "wait_for_end"]
