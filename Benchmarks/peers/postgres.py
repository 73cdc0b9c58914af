"""A peer that keeps its work in PostgreSQL: a database of its own for each measurement."""

import contextlib
import os

import psycopg

from peers.harness import Peer, cpu_of_tree

DATABASE = "peer"


class PostgresPeer(Peer):
    """The server is found by PGHOST, PGPORT, PGUSER and MILLRACE_CLUSTER, as scripts/with-cluster.sh sets them."""

    # what the subclass says about its own records
    completed_query = ""
    started_query = ""  # the first start since %(since)s
    completions_query = ""  # each completion since %(since)s

    @contextlib.contextmanager
    def server(self):
        with psycopg.connect(dbname="postgres", autocommit=True) as connection:
            connection.execute(f"drop database if exists {DATABASE} with (force)")
            connection.execute(f"create database {DATABASE}")
            connection.execute("checkpoint")
        os.environ["PGDATABASE"] = DATABASE
        with psycopg.connect(autocommit=True) as self.observer:
            yield

    def settle(self):
        self.observer.execute("vacuum analyze")

    def completed(self):
        return self.observer.execute(self.completed_query).fetchone()[0]

    def completions(self, since):
        begun = self.observer.execute(self.started_query, {"since": since}).fetchone()[0]
        return begun, [end for (end,) in self.observer.execute(self.completions_query, {"since": since})]

    def end_sessions(self):
        self.observer.execute(
            """select pg_terminate_backend(pid, 10000) from pg_stat_activity
                where datname = current_database() and state = 'idle' and pid <> pg_backend_pid()"""
        )

    def traffic(self):
        self.observer.execute("select pg_stat_force_next_flush()")
        wal, writes = self.observer.execute(
            """select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8,
                      (tup_inserted + tup_updated + tup_deleted)::float8
                 from pg_stat_database where datname = current_database()"""
        ).fetchone()
        return {"wal_bytes_per_step": wal, "writes_per_step": writes}

    def server_cpu(self):
        with open(os.path.join(os.environ["MILLRACE_CLUSTER"], "data", "postmaster.pid")) as file:
            return cpu_of_tree(int(file.readline()))

    @contextlib.contextmanager
    def old_snapshot(self):
        with psycopg.connect() as holder:
            holder.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            holder.execute("select count(*) from pg_class")
            yield
            holder.rollback()


# Where a peer has no fan-in of its own, each branch counts down a row of its run, as one would by hand.
COUNTER = "create table countdown (run bigint primary key, missing int not null) with (fillfactor = 50)"
ADD_COUNTERS = "insert into countdown select run, %s from generate_series(%s::int, %s::int) as run"
COUNT_DOWN = "update countdown set missing = missing - 1 where run = {} returning missing"
