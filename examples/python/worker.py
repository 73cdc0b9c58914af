#!/usr/bin/env python3
"""An agent in Python: registers, listens, claims, runs, reports and keeps its lease, all by SQL functions over psycopg.

    pip install 'psycopg[binary]'          (or Debian's python3-psycopg)
    python3 examples/python/worker.py postgresql://…        the URL that `bin/millrace up` prints

Add functions to HANDLERS to run steps of your own: each gets a step's input and returns its output.
"""

import concurrent.futures
import json
import logging
import queue
import signal
import sys
import threading
import time

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

log = logging.getLogger("worker")


def count_words(text):
    """How often each word stands in a text."""
    counts = {}
    for word in text.lower().split():
        word = word.strip(".,;:!?\"'()")
        if word:
            counts[word] = counts.get(word, 0) + 1
    return counts


def merge_counts(parts):
    """Adds up the counts of several texts; the most frequent words first."""
    total = {}
    for counts in parts:
        for word, count in counts.items():
            total[word] = total.get(word, 0) + count
    return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))


HANDLERS = {"count_words": count_words, "merge_counts": merge_counts}


class Agent:
    """One registered agent: a pool of threads runs the handlers, this thread alone claims and reports."""

    SLOTS = 4
    LOOK_SECONDS = 5  # a notification that was lost costs this much, never a stuck run

    def __init__(self, url, queues, handlers):
        self.url, self.queues, self.handlers = url, queues, handlers
        self.calls = self.connect()
        # What wakes the loop: (step, outcome, output, error, elapsed) when a handler is done, None when work may wait.
        self.wakes = queue.SimpleQueue()
        self.pool = concurrent.futures.ThreadPoolExecutor(self.SLOTS)
        self.running = {}
        self.stopping = threading.Event()

    def connect(self):
        # Each statement is a transaction of its own: a claim is durable before its handler starts.
        return psycopg.connect(self.url, autocommit=True, row_factory=dict_row, application_name="python worker")

    def run(self):
        self.registration = self.calls.execute(
            "select * from millrace.register_agent(queues => %s, handlers => %s, protocol => 1)",
            [self.queues, list(self.handlers)],
        ).fetchone()
        self.agent_id = self.registration["agent_id"]
        log.info("registered as agent %d for %s", self.agent_id, ", ".join(self.handlers))
        for loop in (self.listen, self.beat):
            threading.Thread(target=loop, daemon=True).start()

        self.start(self.claim())
        while self.running or not self.stopping.is_set():
            done = self.wait()
            self.start(self.report(done) if done else self.claim())
        self.calls.execute("select millrace.deregister_agent(%s)", [self.agent_id])
        log.info("stopped")

    def stop(self, *_):
        """On a signal: claim no more, finish what runs."""
        self.stopping.set()
        self.wakes.put(None)

    # What goes over the connection.

    def free_slots(self):
        return 0 if self.stopping.is_set() else self.SLOTS - len(self.running)

    def claim(self):
        return self.calls.execute(
            "select * from millrace.claim(agent_id => %s, max_steps => %s)", [self.agent_id, self.free_slots()]
        ).fetchall() if self.free_slots() else []

    def report(self, done):
        """Reports what is done and, in the same call, is handed the steps that this made ready."""
        rows = self.calls.execute(
            """
            select * from millrace.report(
              agent_id => %s, run_ids => %s::bigint[], step_nos => %s::int[], tokens => %s::int[],
              outcomes => %s::text[], outputs => %s::text[], errors => %s::text[],
              elapsed => %s::double precision[], max_steps => %s)
            """,
            [
                self.agent_id,
                [step["run_id"] for step, *_ in done],
                [step["step_no"] for step, *_ in done],
                [step["token"] for step, *_ in done],
                *([result[column] for result in done] for column in range(1, 5)),
                self.free_slots(),
            ],
        ).fetchall()
        for (step, *_), row in zip(done, rows):
            if row["answer"] == "rejected":
                # Still ours: say why, so that the step does not wait for its lease to run out.
                self.wakes.put((step, "fatal", None, f"{row['code']}: {row['message']}", None))
            elif row["answer"] != "applied":
                log.warning("%s: the report was %s", step["key"], row["answer"])
        return [row for row in rows if row["answer"] == "started"]

    def listen(self):
        """Any notification means that work may be waiting."""
        with self.connect() as connection:
            for channel in self.registration["channels"]:
                connection.execute(sql.SQL("listen {}").format(sql.Identifier(channel)))
            for _ in connection.notifies():
                self.wakes.put(None)

    def beat(self):
        """One heartbeat renews the lease of everything this agent holds."""
        with self.connect() as connection:
            while True:
                answer = connection.execute(
                    "select millrace.heartbeat(agent_id => %s) as answer", [self.agent_id]
                ).fetchone()["answer"]
                for step in answer["revoked"]:
                    # A thread cannot be stopped from outside; its report will be answered with "stale".
                    log.warning("step %s of run %s was %s", step["step_no"], step["run_id"], step["reason"])
                time.sleep(answer["next_beat_seconds"])

    # What runs here.

    def wait(self):
        """Blocks until something happens, then takes everything that has happened; answers the finished steps."""
        done = []
        try:
            wake = self.wakes.get(timeout=self.LOOK_SECONDS)
            while True:
                if wake is not None:
                    done.append(wake)
                    self.running.pop((wake[0]["run_id"], wake[0]["step_no"]), None)
                wake = self.wakes.get_nowait()
        except queue.Empty:
            return done

    def start(self, steps):
        for step in steps:
            self.running[step["run_id"], step["step_no"]] = step
            self.pool.submit(self.execute, step)

    def execute(self, step):
        started = time.monotonic()
        outcome, output, error = "completed", None, None
        try:
            output = json.dumps(self.handlers[step["handler"]](step["input"]))
            log.info("%s completed", step["key"])
        except Exception as problem:  # whatever it is, it is the step's failure and not the agent's
            outcome, error = "failed", f"{type(problem).__name__}: {problem}"
            log.error("%s failed: %s", step["key"], error)
        self.wakes.put((step, outcome, output, error, time.monotonic() - started))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if len(sys.argv) != 2:
        sys.exit("usage: worker.py postgresql://…")
    agent = Agent(sys.argv[1], ["default"], HANDLERS)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, agent.stop)
    agent.run()
