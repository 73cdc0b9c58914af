"""DBOS: workflows of a queue that is polled every 50 ms; a chain or a diamond is one workflow with a step for each node."""

import asyncio
import functools
import os
import signal
import threading

import sqlalchemy
from dbos import DBOS, DBOSClient

from peers import postgres
from peers.harness import handled, main

URL = f"postgresql+psycopg:///{postgres.DATABASE}"
QUEUE = "queue"


@DBOS.step()
def step():
    pass


@DBOS.step()
async def step_beside_others():
    pass


@DBOS.workflow()
def single(run, size):
    handled(run)


@DBOS.workflow()
def chain(run, size):
    for _ in range(size):
        step()


@DBOS.workflow()
async def diamond(run, size):
    await step_beside_others()
    await asyncio.gather(*[step_beside_others() for _ in range(size)])
    await step_beside_others()


class DBOSPeer(postgres.PostgresPeer):
    distribution = "dbos"
    workers = 2
    # workflows at once in each worker, and its threads: each is fastest with its own, as measured
    flat = (250, 64)
    graphs = (50, 16)
    polling = 0.05

    # a single job is a workflow without steps
    completed_query = """select greatest((select count(*) from dbos.operation_outputs),
                                         (select count(*) from dbos.workflow_status
                                           where status = 'SUCCESS' and name = 'single'))"""
    started_query = """select min(started_at_epoch_ms)::float8 / 1000 from dbos.workflow_status
                        where started_at_epoch_ms >= 1000 * %(since)s::float8"""
    completions_query = """select completed_at_epoch_ms::float8 / 1000 from dbos.operation_outputs
                            where completed_at_epoch_ms >= 1000 * %(since)s::float8
                           union all
                           select completed_at::float8 / 1000 from dbos.workflow_status
                            where status = 'SUCCESS' and name = 'single' and completed_at >= 1000 * %(since)s::float8"""

    def share(self, shape):
        return self.flat if shape.kind == "single" else self.graphs

    def launch(self, shape):
        DBOS(
            config={
                "name": "peer",
                "system_database_url": URL,
                "application_version": "1",
                "executor_id": str(os.getpid()),
                "log_level": "ERROR",
                "max_executor_threads": self.share(shape)[1],
            }
        )
        DBOS.launch()

    def install(self, shape):
        self.launch(shape)
        DBOS.register_queue(QUEUE, worker_concurrency=self.share(shape)[0], polling_interval_sec=self.polling)
        DBOS.destroy()

    @functools.cached_property
    def engine(self):
        return sqlalchemy.create_engine(URL)

    @functools.cached_property
    def client(self):
        return DBOSClient(system_database_url=URL)

    def submit(self, shape, first, count):
        options = {"workflow_name": shape.kind, "queue_name": QUEUE, "app_version": "1"}
        with self.engine.begin() as transaction:
            for run in range(first, first + count):
                self.client.enqueue_in_transaction(transaction, options, run, shape.size)

    def work(self, shape):
        stopped = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stopped.set())
        self.launch(shape)
        stopped.wait()
        DBOS.destroy(workflow_completion_timeout_sec=0)


if __name__ == "__main__":
    main(DBOSPeer())
