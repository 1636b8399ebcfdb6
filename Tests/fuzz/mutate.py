#!/usr/bin/env python3
"""Runs swan on damaged and malicious files, one process per case, and reports misbehavior.

    mutate.py --swan .build/release/swan --seeds FOLDER --cases 500 --seed 1

The seeds are written by `fuzz-seeds FOLDER`. A case depends only on the seed and its number, so `--case N`
repeats it. Findings are kept in --findings, with the command to repeat them.
"""
import argparse
import collections
import concurrent.futures
import os
import pathlib
import queue
import random
import re
import resource
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

import containers
import gguf_files
import hostile

HERE = pathlib.Path(__file__).resolve().parent
CODES = {0, 64, 65, 66, 69}  # docs/exit-codes.md: those that a bad file may cause
SECONDS = 60  # a case takes a second, or ten on a busy machine
MEMORY = 700 << 20  # of resident memory; a valid case takes about 250 MB
TRAINING_ADDRESSES = 3 << 30  # a valid training takes 1.7 GB; large networks must be refused
ADDRESSES = 24 << 30
STOPPED = 128 + signal.SIGTERM
TRAINING_CODES = {STOPPED, 74}  # a checkpoint may exceed the file size limit
GENERATE = ["--frames", "5", "--steps", "1", "--size", "32x32", "--device", "cpu", "--progress", "none"]
STREAM = ["--max-frames", "5", "--device", "cpu", "--progress", "none"]
MUTATIONS = {
    ".safetensors": containers.change_safetensors, ".pth": containers.change_pth, ".json": hostile.change_json,
    ".yaml": hostile.change_yaml, ".model": containers.change_message,
}


class Case:
    """One mutated file and the command that reads it."""

    def __init__(self, seeds, seed, number, folder):
        self.random = random.Random(f"{seed} {number}")
        self.seeds = seeds
        self.folder = folder
        kind = self.random.choices(["model", "lora", "recipe", "config", "gguf"], [76, 8, 8, 4, 4])[0]
        getattr(self, "make_" + kind)()

    def change(self, source, target):
        data = source.read_bytes()
        change = MUTATIONS[source.suffix]
        if self.random.randrange(5) == 0:
            change = hostile.change_bytes
        target.unlink(missing_ok=True)
        target.write_bytes(change(data, self.random))
        self.changed = target

    def copy_model(self, model):
        """A copy of a model, with links to its files; some streams have a tokenizer.json."""
        target = self.folder / "model"
        shutil.copytree(model, target, copy_function=os.link)
        spiece = target / "tokenizer/spiece.model"
        if spiece.exists() and self.random.randrange(2):
            (target / "tokenizer/tokenizer.json").write_bytes(containers.tokenizer_json(spiece.read_bytes()))
            spiece.unlink()
        return target

    def make_model(self):
        models = sorted(path for path in self.seeds.iterdir() if path.is_dir())
        streams = [path for path in models if path.name == "stream"]
        model = self.copy_model(self.random.choice(models + streams * 3))
        files = sorted(path for path in model.rglob("*") if path.suffix in MUTATIONS)
        # Choose each kind of file equally often.
        suffix = self.random.choice(sorted({path.suffix for path in files}))
        file = self.random.choice([path for path in files if path.suffix == suffix])
        if self.random.randrange(40) == 0:
            self.rename(file)
        else:
            self.change(file, file)
        files = [self.changed if path == file else path for path in files]
        doing = "stream" if (model / "stream.yaml").exists() else "generate"
        command = self.random.choices(["inspect", "verify", "convert", doing], [5, 5, 2, 4])[0]
        if command in ("inspect", "verify"):
            self.arguments = ["models", command, str(model)]
        elif command == "convert":
            weights = [path for path in files if path.suffix in (".safetensors", ".pth")]
            source = self.changed if self.changed in weights else self.random.choice(weights)
            target = self.random.choice(["out.safetensors", "out"])
            self.arguments = ["models", "convert", str(source), str(self.folder / "result" / target)]
        elif command == "stream":
            self.stream(model)
        else:
            self.generate(model)

    def rename(self, file):
        """Renames a file, keeping its extension, as in a malicious archive."""
        names = [name for name in hostile.NAMES if "/" not in name and 0 < len(name) < 200 and name.strip(".")]
        self.changed = file.with_name(self.random.choice(names) + file.suffix)
        file.rename(self.changed)

    def stream(self, model, *more):
        self.arguments = ["stream", str(self.seeds / "clip.mp4"), "--model", str(model), "--prompt", "a sketch"]
        self.arguments += [*STREAM, "-o", str(self.folder / "result/out.mp4"), *more]

    def generate(self, model, *more):
        self.arguments = ["generate", "--model", str(model), "--prompt", "a fox", *GENERATE]
        self.arguments += ["-o", str(self.folder / "result/out.mp4"), *more]
        if "I2V" in self.name(model) or "FLF2V" in self.name(model):
            self.arguments += ["--image", str(self.seeds / "picture.png")]
        if "FLF2V" in self.name(model):
            self.arguments += ["--last-image", str(self.seeds / "picture.png")]

    def name(self, model):
        """The kind of the model that was copied."""
        files = {path.name for path in model.rglob("*")}
        if any("clip" in name for name in files):
            return "FLF2V" if "Wan2.1_VAE.pth" in files else "I2V"
        return "I2V" if (model / "image_encoder").exists() else ""

    def make_lora(self):
        model = self.seeds / "Wan2.1-T2V-original"
        shard = sorted(model.glob("*.safetensors"))[0]
        header, _ = containers.read_safetensors(shard.read_bytes())
        entries, body = hostile.Pairs(), b""
        for key, entry in header:
            shape = dict(entry).get("shape", [])
            if "blocks.0" not in key or not key.endswith(".weight") or len(shape) != 2:
                continue
            for name, sizes in [("lora_down", [2, shape[1]]), ("lora_up", [shape[0], 2]), ("alpha", [1])]:
                path = "diffusion_model." + key.removesuffix(".weight")
                path += ".alpha" if name == "alpha" else f".{name}.weight"
                size = 4 * containers.product(sizes)
                offsets = [len(body), len(body) + size]
                fields = [("dtype", "F32"), ("shape", sizes), ("data_offsets", offsets)]
                entries.append((path, hostile.Pairs(fields)))
                body += (b"\0\0\0\x3d" * (size // 4))
        lora = self.folder / "lora.safetensors"
        lora.write_bytes(containers.write_safetensors(entries, body))
        self.change(lora, lora)
        self.generate(model, "--lora", f"{lora}=0.5")

    def make_gguf(self):
        model = self.copy_model(self.seeds / "Wan2.1-T2V-comfyUI")
        name = self.random.choice(["vae/wan_vae", "text_encoders/umt5_xxl"])
        file = model / f"{name}.safetensors"
        self.changed = file.with_suffix(".gguf")
        self.changed.write_bytes(gguf_files.make(file.read_bytes(), self.random))
        file.unlink()
        command = self.random.choice(["inspect", "verify", "convert", "generate"])
        if command == "generate":
            self.generate(model)
        elif command == "convert":
            target = self.folder / "result/out.safetensors"
            self.arguments = ["models", "convert", str(self.changed), str(target)]
        else:
            self.arguments = ["models", command, str(model)]

    def make_recipe(self):
        recipe = self.folder / "recipe.yaml"
        self.change(self.seeds / "recipe.yaml", recipe)
        self.arguments = ["train", str(recipe), "-o", str(self.folder / "result/model"), "--device", "cpu"]
        self.arguments += ["--progress", "none"]

    def make_config(self):
        config = self.folder / "stream.yaml"
        self.change(self.seeds / "stream/stream.yaml", config)
        self.stream(self.seeds / "stream", "--config", str(config))

    @property
    def trains(self):
        return self.arguments[0] == "train"


class Server:
    """A process that has loaded swan's libraries, and forks for each case."""

    def __init__(self, swan, library):
        environment = dict(os.environ, OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive", SWIFT_BACKTRACE="enable=no")
        environment["LD_PRELOAD"] = str(library)
        self.process = subprocess.Popen(
            [swan], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, preexec_fn=self.limit)

    @staticmethod
    def build(folder):
        library = pathlib.Path(folder) / "forkserver.so"
        subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, HERE / "forkserver.c", "-ldl"], check=True)
        return library

    @staticmethod
    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 28, 1 << 28))

    def start(self, folder, log, arguments):
        """Starts a run and returns its process id."""
        request = b"".join(os.fsencode(text) + b"\0" for text in [folder, log, "swan", *arguments])
        self.process.stdin.write(struct.pack("=I", len(request)) + request)
        self.process.stdin.flush()
        (pid,) = self.read("=i")
        if pid < 0:
            raise RuntimeError("the fork server cannot fork")
        return pid

    def ended(self, seconds):
        """The wait status and peak resident memory in kB; None if the run has not ended after `seconds`."""
        if not select.select([self.process.stdout], [], [], seconds)[0]:
            return None
        return self.read("=iq")

    def read(self, form):
        size = struct.calcsize(form)
        data = b""
        while len(data) < size:
            more = os.read(self.process.stdout.fileno(), size - len(data))
            if not more:
                raise RuntimeError("the fork server ended")
            data += more
        return struct.unpack(form, data)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Outcome:
    """The result of a process."""

    def __init__(self, case, server):
        (case.folder / "result").mkdir()
        log = case.folder / "log"
        begun = time.monotonic()
        self.late = False
        pid = server.start(case.folder / "result", log, case.arguments)
        if case.trains:
            resource.prlimit(pid, resource.RLIMIT_AS, (TRAINING_ADDRESSES, TRAINING_ADDRESSES))
        status, memory = self.wait(server, pid, begun, case.trains)
        self.code = os.waitstatus_to_exitcode(status)
        self.memory = memory << 10
        self.seconds = time.monotonic() - begun
        self.size = log.stat().st_size
        self.output = log.read_bytes()[:1 << 20]

    def wait(self, server, pid, begun, trains):
        """Waits for the end; stops training after two seconds, and kills runs that take too long."""
        asked = False
        while True:
            ended = server.ended(0.1)
            if ended:
                return ended
            seconds = time.monotonic() - begun
            if trains and seconds > 2 and not asked:
                os.kill(pid, signal.SIGTERM)
                asked = True
            if seconds > SECONDS or self.resident(pid) > 2 * TRAINING_ADDRESSES:
                self.late = seconds > SECONDS
                os.kill(pid, signal.SIGKILL)
                return server.ended(None)

    @staticmethod
    def resident(pid):
        try:
            return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
        except (OSError, IndexError, ValueError):
            return 0

    def faults(self, case):
        """Yields a description of each fault."""
        if self.late:
            yield "takes too long"
        elif self.memory > MEMORY and not case.trains:
            yield f"takes {self.memory >> 20} MB"
        elif case.trains and self.code == -signal.SIGTERM:
            pass  # on a busy machine the signal may arrive before its handler is set
        elif self.code < 0:
            yield f"ended by {signal.Signals(-self.code).name}"
        elif self.code not in CODES | (TRAINING_CODES if case.trains else set()):
            yield f"exit code {self.code}"
        raw = re.search(rb"[\0-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\xaa-\xae]", self.output)
        if raw:
            yield f"writes {raw[0]!r}"
        if re.search(rb"^swan: all is well", self.output, re.MULTILINE):
            yield "writes a line of a file as its own"
        if self.size > 1 << 16:
            yield f"writes {self.size >> 10} kB of text"
        if self.code in CODES - {0} and not self.output.strip():
            yield "fails without a message"
        left = [path.name for path in (case.folder / "result").rglob("*") if "partial" in path.name]
        if left and not case.trains:
            yield f"leaves {left[0]}"
        if self.code not in (0, STOPPED) and not case.trains and any((case.folder / "result").iterdir()):
            yield "leaves a result"


def signature(fault, outcome):
    """A text that is about the same for findings with the same cause."""
    lines = outcome.output.decode(errors="replace").splitlines()
    said = next((line for line in lines if "Fatal error" in line or "error:" in line), lines[-1] if lines else "")
    return re.sub(r"/\S+/", "", re.sub(r"\d+", "N", f"{fault}: {said}"))[:160]


def run(number, servers, options):
    server = servers.get()
    try:
        return judge(number, server, options)
    finally:
        servers.put(server)


def judge(number, server, options):
    with tempfile.TemporaryDirectory(prefix="swan-fuzz-", dir=options.work) as folder:
        case = Case(options.seeds, options.seed, number, pathlib.Path(folder))
        outcome = Outcome(case, server)
        found = [(fault, signature(fault, outcome)) for fault in outcome.faults(case)]
        if found and options.findings:
            keep(number, case, outcome, found, options)
        return number, case.arguments[0:2], outcome, found


def keep(number, case, outcome, found, options):
    target = options.findings / f"{options.seed}-{number}"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    shutil.copy(case.changed, target)
    (target / "log").write_bytes(outcome.output)
    repeat = f"{HERE / 'mutate.py'} --swan {options.swan} --seeds {options.seeds} --seed {options.seed} --case {number}"
    faults = "\n".join(fault for fault, _ in found)
    changed = case.changed.relative_to(case.folder)
    arguments = " ".join(case.arguments).replace(str(case.folder), ".")
    (target / "case").write_text(f"{faults}\n{changed}\nswan {arguments}\n{repeat}\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--swan", required=True, type=os.path.abspath, help="path of the program")
    parser.add_argument("--seeds", required=True, type=pathlib.Path, help="folder written by fuzz-seeds")
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--case", type=int, help="run only this case and show its output")
    parser.add_argument("--findings", type=pathlib.Path, help="folder for findings")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--work", help="folder for mutated files, on the disk of the seeds (files are linked)")
    options = parser.parse_args()
    options.seeds = options.seeds.resolve()
    options.work = options.work or str(options.seeds.parent)
    numbers = [options.case] if options.case is not None else range(options.cases)
    codes, kinds = collections.Counter(), {}
    servers = queue.SimpleQueue()
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        library = Server.build(folder)
        for _ in range(options.jobs):
            servers.put(Server(options.swan, library))
        outcomes = pool.map(lambda n: run(n, servers, options), numbers)
        for done, (number, what, outcome, found) in enumerate(outcomes, 1):
            codes[outcome.code] += 1
            for _, kind in found:
                kinds.setdefault(kind, []).append(number)
            if options.case is not None:
                print(outcome.output.decode(errors="backslashreplace").replace("\x1b", "\\x1b"))
                print(f"code {outcome.code}, {outcome.seconds:.1f} s, {outcome.memory >> 20} MB")
            if done % 1000 == 0:
                print(f"{done} cases, {len(kinds)} kinds of findings", flush=True)
    for _ in range(options.jobs):
        servers.get().close()
    for kind, cases in sorted(kinds.items(), key=lambda item: -len(item[1])):
        shown = kind.encode("unicode_escape").decode()
        print(f"FOUND {len(cases)} times: {shown} (cases {', '.join(map(str, cases[:5]))})")
    print(f"{len(numbers)} cases of seed {options.seed}: codes {dict(sorted(codes.items()))}, "
          f"{len(kinds)} kinds of findings")
    if kinds and options.findings:
        print(f"kept in {options.findings}")
    return 1 if kinds else 0


if __name__ == "__main__":
    sys.exit(main())
