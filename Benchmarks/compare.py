"""Compares Swan with a peer on one machine: `python Benchmarks/compare.py dit vae --dtype float32`.

Every round runs one side, then the other, each in its own process with the same number of threads, so
that other load on the machine affects both. The figures are medians over rounds of the best time in
each round. `start` runs both on the same checkpoint, which is random and in a temporary folder unless
--checkpoint names one.
"""

import argparse
import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
SWAN = os.path.join(HERE, "..", ".build", "release", "swan")
# The results of a peer's case, and Swan's names for the corresponding measurements.
NAMES = {
    "dit": {"dit": "dit"},
    "vae": {"vae": "vae decode"},
    "generate": {
        "step": "generate step",
        "vae21 decode": "vae21 decode",
        "vae22 decode": "vae22 decode",
    },
    "start": {"start": "first_step_seconds"},
}


def found(report, name):
    """The milliseconds under a name: the best of a measurement, or a key in seconds at any depth."""
    if isinstance(report, list):
        values = [found(item, name) for item in report]
        return next((value for value in values if value is not None), None)
    if not isinstance(report, dict):
        return None
    if report.get("name") == name and "min_ms" in report:
        return report["min_ms"]
    if isinstance(report.get(name), (int, float)):
        return report[name] * 1000
    return found(list(report.values()), name)


def output(command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def swan(case, options):
    """The milliseconds of each result of a case."""
    if case == "start":
        with tempfile.TemporaryDirectory() as folder:
            summary = os.path.join(folder, "summary.json")
            output([
                SWAN, "generate", "--prompt", "a swan", "--model", options.checkpoint, "--size", "128x128",
                "--frames", "5", "--steps", "1", "--guidance", "1", "--dtype", options.dtype,
                "--output", os.path.join(folder, "out.mp4"), "--json", summary,
            ])
            report = json.loads(pathlib.Path(summary).read_text())
    else:
        report = json.loads(output([
            SWAN, "bench", case, "--json", "--dtype", options.dtype, "--rounds",
            str(options.repeats),
        ]))
    times = {theirs: found(report, ours) for theirs, ours in NAMES[case].items()}
    missing = [NAMES[case][name] for name, time in times.items() if time is None]
    if missing:
        sys.exit(f"swan's report of '{case}' has no {', '.join(missing)}")
    return times


def peer(case, options):
    command = [sys.executable, os.path.join(HERE, "peers.py"), case, "--dtype", options.dtype]
    command += ["--repeats", str(options.repeats), "--threads", str(options.threads)]
    if case == "start":
        command += ["--checkpoint", options.checkpoint]
    times = json.loads(output(command).splitlines()[-1])["ms"]
    return {name: min(values) for name, values in times.items()}


def read_through(folder):
    """Reads a checkpoint into the page cache, for both sides."""
    for path in pathlib.Path(folder).rglob("*"):
        if path.is_file():
            with open(path, "rb", buffering=0) as file:
                while file.read(1 << 24):
                    pass


@contextlib.contextmanager
def checkpoint(options):
    """The folder that `start` opens."""
    if options.checkpoint is not None or "start" not in options.cases:
        yield
        return
    with tempfile.TemporaryDirectory() as folder:
        options.checkpoint = folder
        output([
            sys.executable, os.path.join(HERE, "checkpoint.py"), folder, "--size", "1.3B",
            "--layout", "diffusers", "--dtype", options.dtype,
        ])
        yield


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("cases", nargs="+", choices=sorted(NAMES))
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--checkpoint", help="a diffusers folder for `start`")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    with checkpoint(options):
        for case in options.cases:
            if case == "start":
                read_through(options.checkpoint)
            compare(case, options)


def compare(case, options):
    ours, theirs = [], []
    for _ in range(options.rounds):
        ours.append(swan(case, options))
        theirs.append(peer(case, options))
    for name in NAMES[case]:
        a = statistics.median(times[name] for times in ours)
        b = statistics.median(times[name] for times in theirs)
        print(
            f"{name} {options.dtype}: Swan {a:.0f} ms, peer {b:.0f} ms, ratio {b / a:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
