"""Celery on Redis: a private Redis that keeps nothing on disk or, with --durable, flushes every write before it answers,
and workers that acknowledge a task after it and not before."""

import contextlib
import functools
import os
import subprocess
import tempfile
import time

import redis
from celery import Celery, chain, group

from peers.harness import Ledger, Peer, child, cpu_of_tree, handled, main

SOCKET = "MILLRACE_PEER_REDIS"


class CeleryPeer(Peer):
    distribution = "celery"
    workers = 2
    durable = False

    @contextlib.contextmanager
    def server(self):
        with tempfile.TemporaryDirectory() as directory, Ledger.empty():
            os.environ[SOCKET] = f"{directory}/redis"
            settings = {
                "port": "0",
                "unixsocket": os.environ[SOCKET],
                "dir": directory,
                "save": "",
                "appendonly": "yes" if self.durable else "no",
                "appendfsync": "always",
            }
            arguments = [word for name, value in settings.items() for word in (f"--{name}", value)]
            with child(["redis-server", *arguments], stdout=subprocess.DEVNULL) as self.redis:
                client = redis.Redis(unix_socket_path=os.environ[SOCKET])
                while True:
                    with contextlib.suppress(redis.ConnectionError):
                        client.ping()
                        break
                    if self.redis.poll() is not None:
                        raise SystemExit("redis-server did not start")
                    time.sleep(0.05)
                yield
                # handles of results would tell a server that is gone, when the interpreter drops them
                self.app.backend.result_consumer.subscribed_to.clear()

    def server_cpu(self):
        return cpu_of_tree(self.redis.pid)

    @functools.cached_property
    def app(self):
        url = f"redis+socket://{os.environ[SOCKET]}"
        app = Celery("peer", broker=url, backend=url)
        app.conf.update(
            task_ignore_result=True,
            task_acks_late=self.durable,
            task_reject_on_worker_lost=self.durable,
            worker_prefetch_multiplier=128,
            worker_disable_rate_limits=True,
        )

        @app.task(name="step")
        def step(run):
            handled(run)
            Ledger.completed()

        # a group hands over to what follows it by its results
        @app.task(name="branch", ignore_result=False)
        def branch(run):
            Ledger.completed()

        return app

    def submit(self, shape, first, count):
        step, branch = self.app.tasks["step"], self.app.tasks["branch"]
        with self.app.producer_pool.acquire() as producer:
            for run in range(first, first + count):
                if shape.kind == "single":
                    step.apply_async((run,), producer=producer)
                elif shape.kind == "chain":
                    chain(*[step.si(run) for _ in range(shape.size)]).apply_async(producer=producer)
                else:
                    branches = group([branch.si(run) for _ in range(shape.size)])
                    chain(step.si(run), branches, step.si(run)).apply_async(producer=producer)

    def work(self, shape):
        self.app.worker_main(
            ["worker", "--pool", "solo", "--hostname", f"{os.getpid()}@peer", "--loglevel", "ERROR"]
            + ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        )

    def completed(self):
        return Ledger.count()

    def completions(self, since):
        ends = Ledger.since(since)
        return min(ends), ends


if __name__ == "__main__":
    main(CeleryPeer(), variants=["durable"])
