"""Jobs over a link between two machines that is slow, loses packets, or is cut."""
import json
import os
import time
import unittest

import link
from ranks import DEADLINE, SLACK, SWAN, Job, Process, clean

REASON = link.reason_against()
if REASON and os.environ.get("SWAN_REQUIRE_NAMESPACES") == "1":
    raise RuntimeError(REASON)


@unittest.skipIf(REASON, REASON or "")
class Links(unittest.TestCase):
    def link(self, **settings):
        made = link.Link(**settings)
        self.addCleanup(made.close)
        return made

    def job(self, made, size, arguments):
        """Half of the ranks on each side."""
        return Job(
            self, size, arguments, host=link.ADDRESSES[0], local=size // 2,
            inside=lambda rank: made.inside(2 * rank // size),
            of=lambda rank: {"LOCAL_RANK": str(rank % (size // 2))})

    def test_a_slow_link_that_loses_packets(self):
        job = self.job(self.link(delay=0.01, loss=0.01, rate=12.5e6), 4, ["collectives"])
        self.assertEqual(set(job.end().values()), {0}, [p.messages for p in job.processes.values()])

    def test_a_cut_link_ends_all(self):
        made = self.link(delay=0.002)
        job = self.job(made, 4, ["running", "100000"])
        job.running()
        began = time.monotonic()
        made.is_cut = True
        codes = job.end(DEADLINE + 2 + SLACK)
        self.assertLess(time.monotonic() - began, DEADLINE + 2 + SLACK)
        for rank, process in job.processes.items():
            self.assertEqual(codes[rank], 75, process.messages)
            # Each side misses the other; those of the first may hear of it from each other.
            others = (2, 3) if rank < 2 else (0,)
            self.assertTrue(any(f"rank {other} (" in process.messages for other in others), process.messages)
            self.assertIn("does not answer", process.messages)

    def test_a_short_interruption_is_survived(self):
        made = self.link(delay=0.002)
        job = self.job(made, 2, ["running", "40"])
        job.running()
        made.is_cut = True
        time.sleep(1)
        made.is_cut = False
        self.assertEqual(set(job.end().values()), {0}, [p.messages for p in job.processes.values()])

    def test_two_machines_are_measured(self):
        made = self.link(delay=0.01, rate=12.5e6)
        nodes = [
            Process(self, [
                *made.inside(node), SWAN, "launch", "--nproc", "2", "--nnodes", "2", "--node-rank", str(node),
                "--master", f"{link.ADDRESSES[0]}:29500", "--", "doctor", "--distributed", "--json"], clean())
            for node in range(2)]
        self.assertEqual([node.end() for node in nodes], [0, 0], nodes[0].messages + nodes[1].messages)
        report = json.loads(nodes[0].output)
        for item in report["links"]:
            if item["from"] // 2 == item["to"] // 2:
                continue
            self.assertGreater(item["latency_us"], 10_000)
            self.assertLess(item["gigabytes_per_s"], 0.0125 * 1.3)
        live = next(item for item in report["predictions"] if item["model"].startswith("1.3B, live"))
        # 60 exchanges of 10 ms at least, and 108 MB over 12.5 MB/s.
        self.assertGreater(live["exchange_s"]["ulysses"], 9)


if __name__ == "__main__":
    unittest.main()
