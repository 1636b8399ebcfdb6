"""`swan launch`, and the same command under other launchers."""
import json
import os
import shutil
import signal
import socket
import time
import unittest

from ranks import SWAN, Job, Process, children, clean, free_port, wait_for_end

DOCTOR = ["doctor", "--distributed"]
ENDLESS = [*DOCTOR, "--repeat", "1000000"]


class Launch(unittest.TestCase):
    def launch(self, *arguments, environment=None):
        return Process(self, [SWAN, "launch", *arguments], clean(environment))

    def endless(self, count=3):
        """A launcher whose ranks are at work."""
        launcher = self.launch("--nproc", str(count), "--", *ENDLESS)
        launcher.wait_for("round 1 of", 1)
        return launcher, children(launcher.pid)

    def test_one_output_of_several_ranks(self):
        launcher = self.launch("--nproc", "3", "--", *DOCTOR, "--json")
        self.assertEqual(launcher.end(), 0, launcher.messages)
        report = json.loads(launcher.output)
        self.assertEqual([rank["rank"] for rank in report["ranks"]], [0, 1, 2])
        self.assertEqual(len({rank["process"] for rank in report["ranks"]}), 3)
        links = {(link["from"], link["to"]) for link in report["links"]}
        self.assertEqual(links, {(a, b) for a in range(3) for b in range(3) if a != b})
        for link in report["links"]:
            self.assertGreater(link["gigabytes_per_s"], 0)
            self.assertGreater(link["latency_us"], 0)
        self.assertGreater(report["teraflops_per_rank"], 0)
        self.assertEqual({item["binds"] for item in report["predictions"]} - {"network", "computation"}, set())

    def test_report_for_people(self):
        launcher = self.launch("--nproc", "2", "--", *DOCTOR, environment={"OMP_NUM_THREADS": ""})
        self.assertEqual(launcher.end(), 0, launcher.messages)
        for text in ("rank 1:", "latency, us", "from 1", "barrier", "14B, 81 frames 720p", "speed-up"):
            self.assertIn(text, launcher.output)
        self.assertRegex(launcher.messages, r"2 ranks on this machine, with \d+ threads? each \(OMP_NUM_THREADS")

    def test_one_rank_is_no_job(self):
        launcher = self.launch("--nproc", "1", "--", "models", "list")
        self.assertEqual(launcher.end(), 0, launcher.messages)
        self.assertTrue(launcher.output.startswith("tiny\t"))

    def test_wrong_options_are_reported_once(self):
        for arguments, text in [
            ((), "--nproc"), (("--nproc", "2"), "nothing to launch"), (("--nproc", "0", "--", *DOCTOR), "must be 1"),
            (("--nproc", "2", "--nnodes", "2", "--", *DOCTOR), "--node-rank"),
            (("--nproc", "2", "--nnodes", "2", "--node-rank", "0", "--", *DOCTOR), "--master"),
            (("--nproc", "2", "--nnodes", "2", "--node-rank", "2", "--master", "a:1", "--", *DOCTOR), "0 to 1"),
            (("--nproc", "2", "--master", "a:b", "--", *DOCTOR), "HOST:PORT"),
            (("--nproc", "2", "--", "doctor", "--nonsense"), "--nonsense"),
            (("--nproc", "2", "--", "models", "list"), "runs in one process"),
            (("--nproc", "2", "--", "doctor"), "runs in one process"),
        ]:
            with self.subTest(arguments=arguments):
                launcher = self.launch(*arguments)
                self.assertEqual(launcher.end(), 64, launcher.messages)
                self.assertIn(text, launcher.messages)
                self.assertEqual(launcher.messages.count("swan: error:"), 1)

    def test_an_error_stands_once_on_the_terminal(self):
        stream = ("--", "stream", "nothing.mp4", "--prompt", "x", "-o", "nothing-out.mp4")
        for command, code, text in [
            (stream, 66, "nothing.mp4: no such file"),
            ((*stream, "--model", "nowhere"), 69, "there is no model at nowhere"),
            (("--", "train", "nothing.yaml", "--output", "nothing-out"), 66, "nothing.yaml: recipe not found"),
        ]:
            with self.subTest(command=command):
                launcher = self.launch("--nproc", "3", *command)
                self.assertEqual(launcher.end(), code, launcher.messages)
                self.assertRegex(launcher.messages, rf"(?m)^swan: error: rank \d: .*{text}")
                self.assertEqual(launcher.messages.count(text), 1, launcher.messages)

    def test_messages_are_json_if_progress_is(self):
        launcher = self.launch(
            "--nproc", "3", "--", "stream", "nothing.mp4", "--prompt", "x", "-o", "nothing-out.mp4",
            "--progress", "json")
        self.assertEqual(launcher.end(), 66, launcher.messages)
        self.assertEqual([json.loads(line)["event"] for line in launcher.messages.splitlines()], ["error"])

    def test_interrupted_while_ranks_start(self):
        for delay in (0.1, 0.3, 0.6, 0.9, 1.2, 1.6):
            with self.subTest(delay=delay):
                launcher = self.launch("--nproc", "3", "--", *ENDLESS)
                time.sleep(delay)
                launcher.send(signal.SIGINT)
                self.assertEqual(launcher.end(), 130, launcher.messages)
                self.assertNotIn("error", launcher.messages)

    def test_signals_reach_all_ranks(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with self.subTest(signal=number):
                launcher, ranks = self.endless()
                self.assertEqual(len(ranks), 3)
                launcher.send(number)
                self.assertEqual(launcher.end(), 128 + number, launcher.messages)
                self.assertEqual(wait_for_end(ranks, 0), [])

    def test_a_killed_rank_ends_all(self):
        for victim in (0, 2):
            with self.subTest(victim=victim):
                launcher, ranks = self.endless()
                os.kill(ranks[victim], signal.SIGKILL)
                self.assertEqual(launcher.end(), 137, launcher.messages)
                self.assertIn(f"rank {victim} (process {ranks[victim]}) was ended by signal 9", launcher.messages)
                self.assertRegex(launcher.messages, rf"rank {victim} \(.*, process {ranks[victim]}\) does not answer")
                self.assertEqual(wait_for_end(ranks, 0), [])

    def test_a_killed_launcher_leaves_nobody(self):
        launcher, ranks = self.endless()
        launcher.send(signal.SIGKILL)
        self.assertEqual(wait_for_end(ranks), [])

    def test_two_machines(self):
        nodes = self.nodes(*DOCTOR, "--json")
        self.assertEqual([node.end() for node in nodes], [0, 0], nodes[0].messages + nodes[1].messages)
        self.assertEqual(len(json.loads(nodes[0].output)["ranks"]), 4)
        self.assertEqual(nodes[1].output, "")

    def nodes(self, *command):
        """Two launchers, as on two machines, with two ranks each."""
        options = ["--nproc", "2", "--nnodes", "2", "--master", f"127.0.0.1:{free_port()}"]
        return [self.launch(*options, "--node-rank", str(node), "--", *command) for node in range(2)]

    def test_a_rank_that_is_killed_on_another_machine(self):
        nodes = self.nodes(*ENDLESS)
        nodes[0].wait_for("round 1 of", 1)
        victim = children(nodes[0].pid)[1]
        os.kill(victim, signal.SIGKILL)
        self.assertEqual([node.end() for node in nodes], [137, 75], nodes[0].messages + nodes[1].messages)
        self.assertIn(f"process {victim}) does not answer", nodes[1].messages)

    def test_a_machine_that_is_lost(self):
        nodes = self.nodes(*ENDLESS)
        nodes[0].wait_for("round 1 of", 1)
        nodes[0].send(signal.SIGKILL)
        self.assertEqual(nodes[1].end(), 75, nodes[1].messages)
        self.assertRegex(nodes[1].messages, "the launcher on 127.0.0.1 (has ended|does not answer)")

    def test_port_taken(self):
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            launcher = self.launch(
                "--nproc", "2", "--master", f"127.0.0.1:{other.getsockname()[1]}", "--", *DOCTOR)
            self.assertEqual(launcher.end(), 69, launcher.messages)
            self.assertIn("choose another port", launcher.messages)

    def test_an_address_that_is_not_this_machines(self):
        for host, text in (("192.0.2.1", "is not an address of this machine"), ("a.invalid", "does not resolve")):
            with self.subTest(host=host):
                began = time.monotonic()
                launcher = self.launch("--nproc", "2", "--master", f"{host}:{free_port()}", "--", *DOCTOR)
                self.assertEqual(launcher.end(), 64, launcher.messages)
                self.assertIn(text, launcher.messages)
                self.assertEqual(launcher.messages.count("\n"), 1, launcher.messages)
                self.assertLess(time.monotonic() - began, 15)

    def test_the_store_listens_where_it_must_alone(self):
        launcher, _ = self.endless(2)
        with open("/proc/net/tcp", encoding="ascii") as file:
            rows = [line.split() for line in file.readlines()[1:]]
        own = self.sockets([launcher.pid, *children(launcher.pid)])
        listening = {row[1].split(":")[0] for row in rows if row[3] == "0A" and row[9] in own}
        self.assertEqual(listening, {"0100007F"})
        with open("/proc/net/tcp6", encoding="ascii") as file:
            rows = [line.split() for line in file.readlines()[1:]]
        self.assertEqual([row for row in rows if row[3] == "0A" and row[9] in own], [])

    @staticmethod
    def sockets(pids):
        found = set()
        for pid in pids:
            for name in os.listdir(f"/proc/{pid}/fd"):
                try:
                    target = os.readlink(f"/proc/{pid}/fd/{name}")
                except OSError:
                    continue
                if target.startswith("socket:["):
                    found.add(target[8:-1])
        return found


class OtherLaunchers(unittest.TestCase):
    """The variables of launchers, and the launchers themselves where they are installed."""

    def check(self, processes):
        codes = [process.end() for process in processes]
        self.assertEqual(set(codes), {0}, [process.messages for process in processes])
        outputs = [process.output for process in processes if process.output]
        self.assertEqual(len(outputs), 1)
        self.assertEqual([rank["rank"] for rank in json.loads(outputs[0])["ranks"]], [0, 1])

    def test_torch_variables(self):
        job = Job(self, 2, [*DOCTOR, "--json"], program=SWAN)
        self.check(list(job.processes.values()))

    def test_slurm_variables(self):
        job = free_port() % 1000
        self.check([
            Process(self, [SWAN, *DOCTOR, "--json"], clean({
                "SLURM_PROCID": str(rank), "SLURM_STEP_NUM_TASKS": "2", "SLURM_NTASKS": "2",
                "SLURM_LOCALID": str(rank), "SLURM_NODEID": "0", "SLURM_STEP_NODELIST": "localhost",
                "SLURM_STEP_TASKS_PER_NODE": "2", "SLURM_JOB_ID": str(job)})) for rank in range(2)])

    def test_open_mpi_variables(self):
        port = str(free_port())
        self.check([
            Process(self, [SWAN, *DOCTOR, "--json"], clean({
                "OMPI_COMM_WORLD_RANK": str(rank), "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_RANK": str(rank),
                "OMPI_COMM_WORLD_LOCAL_SIZE": "2", "MASTER_PORT": port})) for rank in range(2)])

    @unittest.skipUnless(shutil.which("mpirun"), "mpirun is not installed")
    def test_mpirun(self):
        self.check([Process(
            self, ["mpirun", "--allow-run-as-root", "--oversubscribe", "-n", "2", SWAN, *DOCTOR, "--json"],
            clean({"MASTER_PORT": str(free_port())}))])

    @unittest.skipUnless(shutil.which("torchrun"), "torchrun is not installed")
    def test_torchrun(self):
        for options in (["--standalone"], ["--master-addr", "127.0.0.1", "--master-port", str(free_port())]):
            with self.subTest(options=options):
                self.check([Process(
                    self, ["torchrun", *options, "--nproc-per-node", "2", "--no-python", SWAN, *DOCTOR, "--json"],
                    clean())])

    @unittest.skipUnless(shutil.which("torchrun"), "torchrun is not installed")
    def test_torchrun_ends_all_ranks(self):
        launcher = Process(
            self, ["torchrun", "--standalone", "--nproc-per-node", "3", "--no-python", SWAN, *ENDLESS], clean())
        launcher.wait_for("round 1 of", 1)
        ranks = [pid for child in children(launcher.pid) for pid in [child, *children(child)]]
        launcher.send(signal.SIGTERM)
        self.assertNotEqual(launcher.end(), 0)
        self.assertEqual(wait_for_end(ranks), [])

    def test_a_command_for_one_process_says_so(self):
        job = Job(self, 2, ["models", "list"], program=SWAN)
        self.assertEqual(job.end(), {0: 64, 1: 64})
        self.assertIn("rank 1: 'swan models'", job[1].messages)
        self.assertIn("start it alone", job[0].messages)


class Agreement(unittest.TestCase):
    def test_other_numbers_of_ranks(self):
        began = time.monotonic()
        port = str(free_port())
        processes = [
            Process(self, [SWAN, *DOCTOR], clean({
                "RANK": str(rank), "WORLD_SIZE": str(2 + rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}))
            for rank in range(2)]
        for process in processes:
            self.assertEqual(process.end(), 78, process.messages)
            self.assertRegex(process.messages, "rank [01] belongs to [23] ranks, but rank [01] to [23]")
        self.assertLess(time.monotonic() - began, 30)

    def test_other_options(self):
        began = time.monotonic()
        port = free_port()
        processes = [
            Process(self, [SWAN, *DOCTOR, "--repeat", str(3 + rank)], clean({
                "RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}))
            for rank in range(2)]
        for process in processes:
            self.assertEqual(process.end(), 78, process.messages)
            self.assertIn("--repeat differs: 3 on rank 0", process.messages)
            self.assertIn("4 on rank 1", process.messages)
        self.assertLess(time.monotonic() - began, 30)


if __name__ == "__main__":
    unittest.main()
