"""Swan and a peer in turn on one machine: `python Benchmarks/compare.py dit vae --dtype float32`.

Every round runs one side, then the other, each in a process of its own with the same number of
threads, so that whatever else the machine does falls on both. The figures are medians over rounds
of each round's best time.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
SWAN = os.path.join(HERE, "..", ".build", "release", "swan")
# What Swan calls the measurement that a peer's case stands against.
NAMES = {"dit": "dit", "vae": "vae decode"}


def swan(case, dtype, repeats):
    command = [SWAN, "bench", case, "--json", "--dtype", dtype, "--rounds", str(repeats)]
    report = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return next(m["min_ms"] for m in report["measurements"] if m["name"] == NAMES[case])


def peer(case, dtype, repeats, threads):
    command = [sys.executable, os.path.join(HERE, "peers.py"), case, "--dtype", dtype]
    command += ["--repeats", str(repeats), "--threads", str(threads)]
    lines = subprocess.run(command, check=True, capture_output=True).stdout.splitlines()
    return min(json.loads(lines[-1])["ms"])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("cases", nargs="+", choices=sorted(NAMES))
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    for case in options.cases:
        ours, theirs = [], []
        for _ in range(options.rounds):
            ours.append(swan(case, options.dtype, options.repeats))
            theirs.append(peer(case, options.dtype, options.repeats, options.threads))
        a, b = statistics.median(ours), statistics.median(theirs)
        print(f"{case} {options.dtype}: Swan {a:.0f} ms, peer {b:.0f} ms, ratio {b / a:.2f}")


if __name__ == "__main__":
    main()
