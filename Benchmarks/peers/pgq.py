"""PgQ with its ticker pgqd, which looks every 25 ms. Events are handed out and acknowledged by the batch, all that stands
between two ticks; a batch has one consumer."""

import contextlib
import signal
import tempfile
import threading

import psycopg

from peers import postgres
from peers.harness import Ledger, child, handled, main

TICKER = f"""[pgqd]
database_list = {postgres.DATABASE}
ticker_period = 0.025
syslog = 0
"""


class PgQPeer(postgres.PostgresPeer):
    distribution = "pgq"

    def version(self):
        with psycopg.connect(dbname="postgres") as connection:
            query = "select default_version from pg_available_extensions where name = 'pgq'"
            return connection.execute(query).fetchone()[0]

    @contextlib.contextmanager
    def server(self):
        with super().server(), Ledger.empty(), tempfile.NamedTemporaryFile("w", suffix=".ini") as settings:
            self.observer.execute("create extension pgq")
            self.observer.execute("select pgq.create_queue('steps'), pgq.register_consumer('steps', 'worker')")
            for setting in "ticker_max_lag", "ticker_idle_period":
                self.observer.execute("select pgq.set_queue_config('steps', %s, '25 milliseconds')", [setting])
            settings.write(TICKER)
            settings.flush()
            with child(["pgqd", "-q", settings.name]):
                yield

    def install(self, shape):
        if shape.kind == "diamond":
            self.observer.execute(postgres.COUNTER)

    def submit(self, shape, first, count):
        with self.observer.transaction():
            if shape.kind == "diamond":
                self.observer.execute(postgres.ADD_COUNTERS, [shape.size, first, first + count - 1])
            self.observer.execute(
                "select count(pgq.insert_event('steps', '0', run::text)) from generate_series(%s::int, %s::int) as run",
                [first, first + count - 1],
            )

    def work(self, shape):
        stopped = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stopped.set())
        with psycopg.connect() as connection:
            while not stopped.is_set():
                if not self.consume_batch(connection, shape):
                    stopped.wait(0.005)

    def consume_batch(self, connection, shape):
        """What follows from a batch is committed with its end: each event exactly once."""
        with connection.transaction():
            batch = connection.execute("select pgq.next_batch('steps', 'worker')").fetchone()[0]
            if batch is None:
                return False
            events = connection.execute("select ev_type, ev_data from pgq.get_batch_events(%s)", [batch]).fetchall()
            following, branches = [], []
            for position, run in events:
                if shape.kind == "single":
                    handled(int(run))
                elif shape.kind == "chain" and int(position) + 1 < shape.size:
                    following.append((str(int(position) + 1), run))
                elif shape.kind == "diamond" and position == "0":
                    following += [("1", run)] * shape.size
                elif shape.kind == "diamond" and position == "1":
                    branches.append((run,))
            cursor = connection.cursor()
            if branches:
                cursor.executemany(postgres.COUNT_DOWN.format("%s") + ", run", branches, returning=True)
                while True:
                    missing, run = cursor.fetchone()
                    if missing == 0:
                        following.append(("2", str(run)))
                    if not cursor.nextset():
                        break
            if following:
                cursor.executemany("select pgq.insert_event('steps', %s, %s)", following)
            connection.execute("select pgq.finish_batch(%s)", [batch])
        for _ in events:
            Ledger.completed()
        return True

    def completed(self):
        return Ledger.count()

    def completions(self, since):
        ends = Ledger.since(since)
        return min(ends), ends


if __name__ == "__main__":
    main(PgQPeer())
