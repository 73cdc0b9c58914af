"""procrastinate: psycopg, asynchronous handlers; jobs are deferred in batches of 500 and fetched one by one."""

import functools
import logging

import uvloop
from procrastinate import App, PsycopgConnector, SyncPsycopgConnector

from peers import postgres
from peers.harness import handled, main


class ProcrastinatePeer(postgres.PostgresPeer):
    distribution = "procrastinate"
    workers = 2
    completed_query = "select count(*) from procrastinate_jobs where status = 'succeeded'"
    started_query = """select extract(epoch from min(at))::float8 from procrastinate_events
                        where type = 'started' and at >= to_timestamp(%(since)s)"""
    completions_query = """select extract(epoch from at)::float8 from procrastinate_events
                            where type = 'succeeded' and at >= to_timestamp(%(since)s)"""
    concurrency = 10  # of each worker

    @functools.cached_property
    def submitter(self):
        app = App(connector=SyncPsycopgConnector(min_size=1, max_size=1))
        app.open()
        return app

    def install(self, shape):
        self.submitter.schema_manager.apply_schema()
        if shape.kind == "diamond":
            self.observer.execute(postgres.COUNTER)

    def submit(self, shape, first, count):
        if shape.kind == "diamond":
            self.observer.execute(postgres.ADD_COUNTERS, [shape.size, first, first + count - 1])
        jobs = [{"run": run, "position": 0} for run in range(first, first + count)]
        self.submitter.configure_task("step").batch_defer(*jobs)

    def work(self, shape):
        uvloop.run(self.serve(shape))

    async def serve(self, shape):
        app = App(connector=PsycopgConnector(min_size=self.concurrency, max_size=self.concurrency))

        @app.task(name="step")
        async def step(run, position):
            if shape.kind == "single":
                handled(run)
            elif shape.kind == "chain" and position + 1 < shape.size:
                await step.defer_async(run=run, position=position + 1)
            elif shape.kind == "diamond" and position == 0:
                await step.batch_defer_async(*[{"run": run, "position": 1}] * shape.size)
            elif shape.kind == "diamond" and position == 1:
                row = await app.connector.execute_query_one_async(
                    postgres.COUNT_DOWN.format("%(run)s"), run=run
                )
                if row["missing"] == 0:
                    await step.defer_async(run=run, position=2)

        async with app.open_async():
            await app.run_worker_async(concurrency=self.concurrency)


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    main(ProcrastinatePeer())
