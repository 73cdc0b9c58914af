"""What every peer is measured with: the workloads, the clock, the worker processes, the report.

    python -m peers.NAME throughput --shape single|chain:N|diamond:N --runs N [--pinned] [--batch N] [--workers N]
    python -m peers.NAME latency --rate N --seconds N

It prints one JSON object, with the names of `millrace bench --json`. Rates come from the peer's own records where it
keeps any: `single` fills the queue first and then lets the workers drain it; the others submit while the workers work,
from the first submit to the last completion.
"""

import argparse
import contextlib
import dataclasses
import importlib.metadata
import json
import math
import os
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time

BRIEF = 0.02
PATIENCE = 300  # seconds without any progress before a measurement is given up


@dataclasses.dataclass(frozen=True)
class Shape:
    """`single`, `chain:N` (each step needs the one before) or `diamond:N` (one, N side by side, one)."""

    name: str
    kind: str
    size: int

    @classmethod
    def parse(cls, text):
        kind, _, size = text.partition(":")
        if kind == "single" and not size:
            return cls(text, kind, 1)
        if kind in ("chain", "diamond") and size.isdigit() and int(size) > 0:
            return cls(text, kind, int(size))
        raise argparse.ArgumentTypeError(f"unknown shape '{text}': it is single, chain:N or diamond:N")

    @property
    def steps(self):
        return self.size + 2 if self.kind == "diamond" else self.size


class Peer:
    """A peer fills in these; everything else is common."""

    distribution = ""  # its name on PyPI
    batch = 500  # jobs of one enqueue, and of one claim where it claims several
    workers = 1  # processes that give the highest rate
    workers_on_graphs = None  # and for shapes of several steps, where that is another number

    def version(self):
        return importlib.metadata.version(self.distribution)

    @contextlib.contextmanager
    def server(self):
        """What it stores its work in, empty; `observed()` counts inside it."""
        yield

    def install(self, shape):
        """Prepares the empty server."""

    def submit(self, shape, first, count):
        """Commits runs `first` … `first + count - 1`, in one batch."""
        raise NotImplementedError

    def work(self, shape):
        """The worker process: serves until SIGTERM, and calls `handled(run)` in each handler of a latency test."""
        raise NotImplementedError

    def settle(self):
        """What the server would do by itself within a minute or so, done at once: statistics for its planner."""

    def completed(self):
        """How many steps have been completed so far."""
        raise NotImplementedError

    def completions(self, since):
        """When steps were started and completed since then: the first start, and each completion, in seconds."""
        raise NotImplementedError

    def end_sessions(self):
        """Ends what still has connections: a session's writes may be counted only then."""

    def traffic(self):
        """Bytes of log and row writes so far, by the names of the report."""
        return {}

    def server_cpu(self):
        """Processor seconds of the server so far, in the measurement's own part of them."""
        return 0.0

    @contextlib.contextmanager
    def old_snapshot(self):
        """Another session keeps a snapshot open, as a long report or a forgotten transaction does."""
        raise SystemExit(f"{self.distribution} has no snapshots to hold")
        yield


# Handlers tell when they start by one small append, which reaches the file however the worker ends.
STARTS = "MILLRACE_PEER_STARTS"
_starts = None


def handled(run):
    global _starts
    now = time.time()
    if STARTS not in os.environ:
        return
    if _starts is None:
        _starts = os.open(os.environ[STARTS], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(_starts, f"{run} {now:.7f}\n".encode())


class Ledger:
    """The completions of a peer that keeps no record of them: a file that every handler appends its time to, which
    costs it a microsecond."""

    PATH = "MILLRACE_PEER_LEDGER"
    _file = None

    @classmethod
    @contextlib.contextmanager
    def empty(cls):
        with tempfile.NamedTemporaryFile("rb") as file:
            os.environ[cls.PATH] = file.name
            yield

    @classmethod
    def completed(cls):
        if cls._file is None:
            cls._file = os.open(os.environ[cls.PATH], os.O_WRONLY | os.O_APPEND)
        os.write(cls._file, struct.pack("d", time.time()))

    @classmethod
    def count(cls):
        return os.path.getsize(os.environ[cls.PATH]) // 8

    @classmethod
    def since(cls, begun):
        with open(os.environ[cls.PATH], "rb") as file:
            return [time for (time,) in struct.iter_unpack("d", file.read()) if time >= begun]


@contextlib.contextmanager
def child(arguments, **options):
    """A process that ends with this one, however this one ends."""
    process = subprocess.Popen(["setpriv", "--pdeathsig", "TERM", "--", *arguments], **options)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def workers(peer, options, shape):
    with contextlib.ExitStack() as crew:
        arguments = [sys.executable, "-m", sys.modules["__main__"].__spec__.name, "work", "--shape", shape.name]
        arguments += ["--batch", str(peer.batch), *options.variant]
        said = crew.enter_context(tempfile.TemporaryFile("w+"))
        members = [crew.enter_context(child(arguments, stdout=said, stderr=said)) for _ in range(peer.workers)]
        try:
            yield members
        except SystemExit:
            said.seek(0)
            sys.stderr.write(said.read())
            raise


def wait_for(peer, steps, members):
    """Until that many steps are completed; looking must not cost much, so it pauses longer than a look takes."""
    best, since = -1, time.monotonic()
    while True:
        asked = time.monotonic()
        count = peer.completed()
        if count >= steps:
            return
        if count > best:
            best, since = count, asked
        if any(member.poll() is not None for member in members):
            raise SystemExit(f"a worker of {peer.distribution} ended early")
        if asked - since > PATIENCE:
            raise SystemExit(f"{peer.distribution} stopped at {count} of {steps} steps")
        time.sleep(max(BRIEF, 19 * (time.monotonic() - asked)))


def submit_all(peer, shape, runs, first=0):
    """Seconds that it took."""
    begun = time.monotonic()
    for start in range(first, first + runs, peer.batch):
        peer.submit(shape, start, min(peer.batch, first + runs - start))
    return time.monotonic() - begun


def processor_seconds(peer):
    """Of the server, of the workers that have ended, and of this process, which submits."""
    worker, submitter = (resource.getrusage(who) for who in (resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF))
    return {
        "server_cpu_seconds": peer.server_cpu(),
        "agent_cpu_seconds": worker.ru_utime + worker.ru_stime,
        "submitter_cpu_seconds": submitter.ru_utime + submitter.ru_stime,
    }


def cpu_of_tree(root):
    """Processor seconds of a process, its living children, and those that it has seen end."""
    ticks = 0
    children = subprocess.run(["ps", "--no-headers", "-o", "pid", "--ppid", str(root)], stdout=subprocess.PIPE, text=True)
    for pid in [str(root), *children.stdout.split()]:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError), open(f"/proc/{pid}/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15] if pid == str(root) else fields[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def throughput(peer, options):
    shape, runs = options.shape, options.runs
    steps = runs * shape.steps
    figures = {"shape": shape.name, "runs": runs, "steps": steps}
    with contextlib.ExitStack() as stack:
        stack.enter_context(peer.server())
        peer.install(shape)
        before, cpu = peer.traffic(), processor_seconds(peer)
        if options.pinned:
            stack.enter_context(peer.old_snapshot())
        if shape.kind == "single":
            since, warm = time.time(), 0
            figures["submitted_per_second"] = runs / submit_all(peer, shape, runs)
            peer.settle()
            with workers(peer, options, shape) as members:
                wait_for(peer, steps, members)
            begun, ends = peer.completions(since)
        else:
            # workers that are up and have done something: what they do once is no part of the measurement
            warm = 50
            with workers(peer, options, shape) as members:
                submit_all(peer, shape, warm)
                wait_for(peer, warm * shape.steps, members)
                peer.settle()
                since = begun = time.time()
                submit_all(peer, shape, runs, warm)
                wait_for(peer, (warm + runs) * shape.steps, members)
            _, ends = peer.completions(since)
        peer.end_sessions()
        after, used = peer.traffic(), processor_seconds(peer)
    if len(ends) < steps:
        raise SystemExit(f"only {len(ends)} of {steps} completions of {peer.distribution} are on record")
    ends.sort()
    seconds = ends[-1] - begun
    tenth = len(ends) // 10
    figures |= {
        "seconds": seconds,
        "steps_per_second": steps / seconds,
        "runs_per_second": runs / seconds,
        "first_tenth_steps_per_second": tenth / max(ends[tenth] - ends[0], 1e-6),
        "last_tenth_steps_per_second": tenth / max(ends[-1] - ends[-1 - tenth], 1e-6),
    }
    figures |= {name: used[name] - cpu[name] for name in used}
    every = steps + warm * shape.steps
    return figures | {name: (after[name] - before[name]) / every for name in after}


def percentiles(milliseconds):
    ordered = sorted(milliseconds)

    def at(share):
        return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]

    return {
        "count": len(ordered),
        "mean": sum(ordered) / len(ordered),
        "p50": at(0.5),
        "p90": at(0.9),
        "p99": at(0.99),
        "p999": at(0.999),
        "max": ordered[-1],
    }


def latency(peer, options):
    """One job at a time at a fixed rate: from the commit of each, as its submitter sees it, to its handler."""
    shape = Shape.parse("single")
    warm, count = options.rate * 2, options.rate * options.seconds
    committed = {}
    with tempfile.NamedTemporaryFile("r") as starts, peer.server():
        os.environ[STARTS] = starts.name
        peer.install(shape)
        with workers(peer, options, shape) as members:
            submit_all(peer, shape, options.rate, -options.rate)
            wait_for(peer, options.rate, members)
            peer.settle()
            begun = time.monotonic()
            for run in range(warm + count):
                time.sleep(max(0, begun + run / options.rate - time.monotonic()))
                peer.submit(shape, run, 1)
                committed[run] = time.time()
            wait_for(peer, options.rate + warm + count, members)
        started = dict(line.split() for line in starts)
    waits = [max(0, float(started[str(run)]) - committed[run]) * 1000 for run in range(warm, warm + count)]
    return {"rate": options.rate, "runs": count, "submit_to_start_ms": percentiles(waits)}


def main(peer, variants=()):
    """`variants`: flags of the peer's own, each the name of an attribute that it sets."""
    parser = argparse.ArgumentParser(prog=sys.modules["__main__"].__spec__.name)
    parser.add_argument("measure", choices=["throughput", "latency", "work"])
    parser.add_argument("--shape", type=Shape.parse, default=Shape.parse("single"))
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=peer.batch)
    parser.add_argument("--workers", type=int, default=None)
    parser.add_argument("--pinned", action="store_true")
    parser.add_argument("--rate", type=int, default=100)
    parser.add_argument("--seconds", type=int, default=10)
    for variant in variants:
        parser.add_argument(f"--{variant}", action="store_true")
    options = parser.parse_args()
    options.variant = [f"--{variant}" for variant in variants if getattr(options, variant)]
    peer.batch = options.batch
    if options.shape.kind != "single":
        peer.workers = peer.workers_on_graphs or peer.workers
    peer.workers = options.workers or peer.workers
    for variant in variants:
        setattr(peer, variant, getattr(options, variant))
    if options.measure == "work":
        peer.work(options.shape)
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    measure = throughput if options.measure == "throughput" else latency
    report = {"benchmark": options.measure, "peer": peer.distribution, "version": peer.version()}
    report |= {"batch": peer.batch, "workers": peer.workers, "pinned": options.pinned}
    print(json.dumps(report | measure(peer, options)))
