"""PgQueuer: asyncpg and uvloop, as its command line runs them; batches of 500; all its tables logged."""

import asyncio
import functools
import signal

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgPoolDriver
from pgqueuer.queries import Queries

from peers import postgres
from peers.harness import handled, main


class PgQueuerPeer(postgres.PostgresPeer):
    distribution = "pgqueuer"
    workers = 2
    workers_on_graphs = 1
    completed_query = "select count(*) from pgqueuer_log where status = 'successful'"
    started_query = """select extract(epoch from min(created))::float8 from pgqueuer_log
                        where status = 'picked' and created >= to_timestamp(%(since)s)"""
    completions_query = """select extract(epoch from created)::float8 from pgqueuer_log
                            where status = 'successful' and created >= to_timestamp(%(since)s)"""

    @functools.cached_property
    def loop(self):
        return asyncio.Runner(loop_factory=uvloop.new_event_loop)

    @functools.cached_property
    def queries(self):
        return self.loop.run(self.connect())

    async def connect(self):
        return Queries(AsyncpgPoolDriver(await asyncpg.create_pool(min_size=1, max_size=4)))

    def install(self, shape):
        self.loop.run(self.queries.install())
        if shape.kind == "diamond":
            self.observer.execute(postgres.COUNTER)

    def submit(self, shape, first, count):
        payloads = [b"%d 0" % run for run in range(first, first + count)]
        if shape.kind == "diamond":
            self.observer.execute(postgres.ADD_COUNTERS, [shape.size, first, first + count - 1])
        self.loop.run(self.queries.enqueue(["step"] * count, payloads, [0] * count))

    def work(self, shape):
        uvloop.run(self.serve(shape))

    async def serve(self, shape):
        pool = await asyncpg.create_pool(min_size=4, max_size=4)
        queuer = PgQueuer.from_asyncpg_pool(pool)
        enqueue = queuer.qm.queries.enqueue
        count_down = postgres.COUNT_DOWN.format("$1")

        async def single(job):
            handled(int(job.payload.split()[0]))

        async def chain(job):
            run, position = map(int, job.payload.split())
            if position + 1 < shape.size:
                await enqueue("step", b"%d %d" % (run, position + 1), 0)

        async def diamond(job):
            run, position = map(int, job.payload.split())
            if position == 0:
                branches = [b"%d 1" % run] * shape.size
                await enqueue(["step"] * shape.size, branches, [0] * shape.size)
            elif position == 1 and await pool.fetchval(count_down, run) == 0:
                await enqueue("step", b"%d 2" % run, 0)

        queuer.entrypoint("step")({"single": single, "chain": chain, "diamond": diamond}[shape.kind])
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, queuer.shutdown.set)
        await queuer.run(batch_size=self.batch)


if __name__ == "__main__":
    main(PgQueuerPeer())
