#!/usr/bin/env python3
"""Starts jobs that fail in all ways, again and again: all ranks must end in time, with the reason.

    Tests/distributed/soak.py --cycles 100 [--seed 1] [--jobs 4]
"""
import argparse
import concurrent.futures
import random
import sys
import time
import unittest

from ranks import DEADLINE, SLACK, Job, signal, wait_for_end

#: What the survivors may take: the deadline of an exchange, 2 s to tell, and what a busy machine adds.
LIMIT = DEADLINE + 2 + SLACK


class Cycle(unittest.TestCase):
    """One job; `numbers` decides its size, who fails and how."""

    def __init__(self, numbers):
        super().__init__()
        self.numbers = numbers

    def runTest(self):
        size = self.numbers.randint(2, 4)
        victim = self.numbers.randrange(size)
        way = self.numbers.choice(["error", "kill", "leave", "stop", "outside"])
        self.what = f"{size} ranks, {way} of rank {victim}"
        job = Job(self, size, ["running", "100000"] if way == "outside" else ["failing", way, str(victim)])
        job.running()
        if way == "outside":
            time.sleep(self.numbers.random())
            job[victim].send(signal.SIGKILL)
        began = time.monotonic()
        for rank in set(range(size)) - {victim}:
            self.assertEqual(job[rank].end(max(0.1, LIMIT - (time.monotonic() - began))), 75, job[rank].messages)
            self.assertIn(f"rank {victim} (", job[rank].messages)
            if way == "error":
                self.assertIn("chunk 3 is not finite", job[rank].messages)
        if way == "stop":
            job[victim].send(signal.SIGKILL)
        self.assertEqual(wait_for_end([process.pid for process in job.processes.values()]), [])


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cycles", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=4, help="jobs at once")
    options = parser.parse_args()
    failures = 0
    # Jobs mostly wait, for deadlines and for each other.
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for number, (what, problems) in enumerate(pool.map(run, [
                f"{options.seed} {number}" for number in range(options.cycles)])):
            failures += len(problems)
            for text in problems:
                print(f"cycle {number}: {what}\n{text}", flush=True)
    print(f"{options.cycles} cycles, {failures} failures")
    return 1 if failures else 0


def run(seed):
    cycle, result = Cycle(random.Random(seed)), unittest.TestResult()
    cycle.run(result)
    return cycle.what, [text for _, text in result.errors + result.failures]


if __name__ == "__main__":
    sys.exit(main())
