// The same work over emmett on PostgreSQL: load, decide, append one event, durably.
//
// Usage: bench.mjs --postgres URL [--streams N] [--events N] [--callers 64,1] [--commands N] [--seconds N] [--round N]
// Prints one JSON line per figure, with the keys of subledger_bench_kit::Record. It keeps no receipt and no hash chain.

import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { CommandHandler } from "@event-driven-io/emmett";
import { getPostgreSQLEventStore } from "@event-driven-io/emmett-postgresql";
import pg from "pg";

const SEED = 20_261_123n;
const MASK = (1n << 64n) - 1n;
const { values: given } = parseArgs({
  options: {
    postgres: { type: "string" },
    round: { type: "string", default: "1" },
    streams: { type: "string", default: "10000" },
    events: { type: "string", default: "10" },
    callers: { type: "string", default: "64,1" },
    commands: { type: "string", default: "100000" },
    seconds: { type: "string", default: "5" },
  },
});
const [streams, events, commands] = [given.streams, given.events, given.commands].map(Number);

/** The order in which our own benchmark visits streams (SplitMix64). */
function shuffled(n) {
  let z = (SEED + (BigInt(n) + 1n) * 0x9e3779b97f4a7c15n) & MASK;
  z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK;
  z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & MASK;
  return z ^ (z >> 31n);
}

const hex = (n) => n.toString(16).padStart(32, "0");
const stream = (n) => `binding-${hex(n)}`;
const evidence = { source: "client_report", ref: "report-1", at: 1_790_000_000_000_000 };
const bound = (n) => ({ type: "Bound", data: { subject: hex(n), evidence } });
const moved = (from, n) => ({ type: "Moved", data: { from, subject: hex(n), evidence } });

// Installed beside this file.
const manifest = new URL("node_modules/@event-driven-io/emmett-postgresql/package.json", import.meta.url);
const { version } = JSON.parse(readFileSync(manifest, "utf8"));

const name = "peer_emmett";
const admin = new pg.Client({ connectionString: given.postgres });
await admin.connect();
await admin.query(`drop database if exists ${name} with (force)`);
await admin.query(`create database ${name}`);
await admin.end();
const url = new URL(given.postgres);
url.pathname = `/${name}`;
const store = getPostgreSQLEventStore(url.toString());
await store.schema.migrate();

const handle = CommandHandler({
  evolve: (state, event) => ({ subject: event.data.subject }),
  initialState: () => ({ subject: null }),
});

/** Runs `operation(n)` from so many callers until `end` or the time is over. */
async function closedLoop(callers, first, end, seconds, operation) {
  let next = first;
  const latencies = [];
  const begun = performance.now();
  const caller = async () => {
    while (performance.now() - begun < seconds * 1000 && next < end) {
      const n = next++;
      const called = performance.now();
      await operation(n);
      latencies.push(Math.round((performance.now() - called) * 1000));
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
  const elapsed = (performance.now() - begun) / 1000;
  return { latencies: latencies.sort((a, b) => a - b), elapsed };
}

await closedLoop(32, 0, streams, Infinity, async (n) => {
  const history = [bound(n)];
  for (let sequence = 1; sequence < events; sequence++) {
    history.push(moved(hex((sequence - 1) * streams + n), sequence * streams + n));
  }
  await store.appendToStream(stream(n), history);
});

let next = streams * events;
for (const callers of given.callers.split(",").map(Number)) {
  const atBegin = Math.floor(next / streams);
  let inVain = 0;
  const { latencies, elapsed } = await closedLoop(callers, next, next + commands, Number(given.seconds), async (n) => {
    const id = stream(shuffled(n) % BigInt(streams));
    for (;;) {
      try {
        await handle(store, id, (state) => moved(state.subject, n));
        return;
      } catch (error) {
        if (error?.name !== "ConcurrencyError" && !/concurrency|version/i.test(String(error)) || ++inVain > 100_000) throw error;
      }
    }
  });
  next += latencies.length;
  const rank = (hundredths) => latencies[Math.max(1, Math.ceil((latencies.length * hundredths) / 100)) - 1];
  console.log(JSON.stringify({
    scenario: "executor", subject: "emmett", database: "postgres", variant: `many-${events}`,
    round: Number(given.round), callers, streams, events_per_stream: atBegin,
    value: latencies.length / elapsed, unit: "commands/s", operations: latencies.length, seconds: elapsed,
    latency_us: { p50: rank(50), p99: rank(99), max: latencies.at(-1) },
    settings: { version, in_vain: String(inVain), node: process.version },
  }));
}
await store.close();
