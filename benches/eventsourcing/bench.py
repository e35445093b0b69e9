"""The same work over the Python library eventsourcing: load, decide, append one event, durably.

Usage: bench.py --sqlite FOLDER | --postgres URL  [--streams N] [--events N] [--callers 64,1] ...
Prints one JSON line per figure, with the keys of subledger_bench_kit::Record. It keeps no receipt and no hash chain.
"""

import argparse
import json
import os
import sys
import threading
import time
import urllib.parse
from importlib.metadata import version
from uuid import NAMESPACE_URL, uuid5

SEED = 20_261_123
MASK = (1 << 64) - 1


def shuffled(seed, n):
    """The order in which our own benchmark visits streams (SplitMix64)."""
    z = (seed + (n + 1) * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--sqlite")
    where.add_argument("--postgres")
    parser.add_argument("--round", type=int, default=1)
    parser.add_argument("--streams", type=int, default=10_000)
    parser.add_argument("--events", type=int, default=10)
    parser.add_argument("--callers", default="64,1")
    parser.add_argument("--commands", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=5.0)
    return parser.parse_args()


def persistence(options):
    """Points the library at an empty database."""
    if options.sqlite:
        os.makedirs(options.sqlite, exist_ok=True)
        path = os.path.join(options.sqlite, "eventsourcing.db")
        for suffix in ("", "-wal", "-shm"):
            if os.path.exists(path + suffix):
                os.remove(path + suffix)
        return {"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": path, "SQLITE_LOCK_TIMEOUT": "60"}
    import psycopg

    url = urllib.parse.urlparse(options.postgres)
    name = "peer_eventsourcing"
    with psycopg.connect(options.postgres, autocommit=True) as connection:
        connection.execute(f"drop database if exists {name} with (force)")
        connection.execute(f"create database {name}")
    return {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": name,
        "POSTGRES_HOST": url.hostname,
        "POSTGRES_PORT": str(url.port),
        "POSTGRES_USER": url.username,
        "POSTGRES_PASSWORD": url.password or "none",
        "POSTGRES_POOL_SIZE": "10",
        "POSTGRES_MAX_OVERFLOW": "60",
    }


def main():
    options = arguments()
    os.environ.update(persistence(options))
    from eventsourcing.application import Application
    from eventsourcing.domain import Aggregate, event
    from eventsourcing.persistence import IntegrityError, OperationalError

    class Binding(Aggregate):
        @event("Bound")
        def __init__(self, number, subject, evidence):
            self.number, self.subject = number, subject

        @staticmethod
        def create_id(number):
            return identity(number)

        @event("Moved")
        def move(self, subject, evidence):
            self.subject = subject

    def identity(number):
        return uuid5(NAMESPACE_URL, f"/bindings/{number}")

    evidence = {"source": "client_report", "ref": "report-1", "at": 1_790_000_000_000_000}
    application = Application()
    for first in range(0, options.streams, 500):
        batch = []
        for number in range(first, min(first + 500, options.streams)):
            binding = Binding(number=number, subject=f"{number:032x}", evidence=evidence)
            for sequence in range(1, options.events):
                binding.move(subject=f"{sequence * options.streams + number:032x}", evidence=evidence)
            batch.append(binding)
        application.save(*batch)

    lock = threading.Lock()
    state = {"next": options.streams * options.events}

    for callers in map(int, options.callers.split(",")):
        at_begin = state["next"] // options.streams
        end = state["next"] + options.commands
        latencies, in_vain, failures = [], [0], []
        begun = time.perf_counter()

        def call():
            mine, vain = [], 0
            try:
                while time.perf_counter() - begun < options.seconds and not failures:
                    with lock:
                        n = state["next"]
                        if n >= end:
                            break
                        state["next"] += 1
                    called = time.perf_counter()
                    while True:
                        try:
                            binding = application.repository.get(identity(shuffled(SEED, n) % options.streams))
                            binding.move(subject=f"{n:032x}", evidence=evidence)
                            application.save(binding)
                            break
                        except (IntegrityError, OperationalError):
                            vain += 1
                            if vain > 100_000:
                                raise
                    mine.append(int((time.perf_counter() - called) * 1_000_000))
            except Exception as error:  # told below, in the thread that prints
                failures.append(error)
            with lock:
                latencies.extend(mine)
                in_vain[0] += vain

        threads = [threading.Thread(target=call) for _ in range(callers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        elapsed = time.perf_counter() - begun
        if failures:
            sys.exit(f"bench.py: {failures[0]!r}")
        latencies.sort()
        rank = lambda hundredths: latencies[max(1, -(-len(latencies) * hundredths // 100)) - 1]
        print(json.dumps({
            "scenario": "executor", "subject": "eventsourcing",
            "database": "sqlite" if options.sqlite else "postgres",
            "variant": f"many-{options.events}", "round": options.round, "callers": callers,
            "streams": options.streams, "events_per_stream": at_begin,
            "value": len(latencies) / elapsed, "unit": "commands/s", "operations": len(latencies),
            "seconds": elapsed, "latency_us": {"p50": rank(50), "p99": rank(99), "max": latencies[-1]},
            "settings": {"version": version("eventsourcing"), "in_vain": str(in_vain[0]),
                         "python": sys.version.split()[0]},
        }), flush=True)
    application.close()


if __name__ == "__main__":
    main()
