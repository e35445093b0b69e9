import type { Deliver, Verdict } from './deliver.js';
import type { Outbox } from './outbox.js';
import type { Flushed, Problem, Report } from './types.js';

/** The first wait after a failure; it doubles with each further one. */
const FIRST_WAIT_MS = 2_000;
/** The longest wait. */
const MAX_WAIT_MS = 5 * 60_000;
/** An attempt that has not ended by then counts as lost. */
const ATTEMPT_TIMEOUT_MS = 30_000;
/**
 * How long after its first attempt a report may be sent again. The server remembers ids for 30 days at least; beyond that,
 * a report whose answer was lost would be counted twice. One grant too few is the lesser evil: it is never overspent.
 */
const RETRY_WINDOW_MS = 28 * 24 * 3_600_000;

export interface SenderParts {
  outbox: Outbox;
  deliver: Deliver;
  now: () => number;
  later: (milliseconds: number, run: () => void) => unknown;
  tell: (problem: Omit<Problem, 'hint'>) => void;
}

/** Empties the outbox, one report at a time and one run at a time. Returns `flush`. */
export function sender({ outbox, deliver, now, later, tell }: SenderParts): () => Promise<Flushed> {
  let running: Promise<Flushed> | undefined;
  let failures = 0;
  let notBefore = 0;
  let woken = false;

  const flush = (): Promise<Flushed> => (running = running || run());

  /** How long to wait still. A clock that was set back must not make it longer than it ever may be. */
  const delay = (): number => {
    const left = notBefore - now();
    return left > 0 && left <= MAX_WAIT_MS ? left : 0;
  };

  async function run(): Promise<Flushed> {
    // Out of the caller's way, and never at its end before `running` is set.
    await undefined;
    const result: Flushed = { sent: 0, dropped: 0, waiting: 0 };
    try {
      while (!delay()) {
        // Read anew each time: a tap may add a report while another one is on its way.
        const entry = outbox.entries()[0];
        if (!entry) break;
        const { report, firstTry } = entry;
        let verdict: Verdict = { kind: 'expired' };
        if (!(firstTry && now() - firstTry > RETRY_WINDOW_MS)) {
          outbox.tried(entry, now());
          verdict = await attempt(report);
        }
        const { kind } = verdict;
        if (kind === 'unsent' || kind === 'unauthorized') {
          const wait = Math.min(FIRST_WAIT_MS * Math.pow(2, failures++), MAX_WAIT_MS);
          // Spread out: after an outage all users' devices would come back in the same second.
          notBefore = now() + wait * (0.5 + Math.random() / 2);
        } else {
          failures = 0;
          outbox.remove(report.report_id);
          result[kind === 'sent' ? kind : 'dropped']++;
        }
        if (kind !== 'sent') tell({ ...verdict, kind, report });
      }
      result.waiting = outbox.entries().length;
      if (result.waiting) wakeUp();
      return result;
    } finally {
      // In the same step as the last look into the outbox: a report that comes later starts a run of its own.
      running = undefined;
    }
  }

  const attempt = (report: Report): Promise<Verdict> =>
    new Promise((resolve) => {
      later(ATTEMPT_TIMEOUT_MS, () => resolve({ kind: 'unsent', cause: 'timeout' }));
      void deliver(report).then(resolve);
    });

  function wakeUp(): void {
    if (woken) return;
    woken = true;
    later(delay(), () => {
      woken = false;
      void flush();
    });
  }

  return flush;
}
