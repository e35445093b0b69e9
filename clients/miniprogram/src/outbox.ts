import type { Report } from './types.js';
import type { WxLike } from './wx.js';

/** How many unsent reports are kept: about 100 KB of the 1 MB that WeChat gives one storage key. */
export const MAX_REPORTS = 200;

/** A report and what happened to it. */
export interface Entry {
  report: Report;
  /** When it was first handed out; a server may have counted it since. */
  firstTry?: number;
}

export interface Outbox {
  /** In the order in which they are to be sent. */
  entries(): Entry[];
  /** Adds a report. Returns what had to make room: the oldest tap, which is the likeliest to have been counted already. */
  add(report: Report): Report | undefined;
  /** Notes an attempt before it is made, and lets the others go first next time: none holds them all up. */
  tried(entry: Entry, at: number): void;
  remove(id: string): void;
}

/**
 * The reports that nobody has confirmed yet, in storage so that they outlive the Mini Program.
 *
 * Every change reads, edits and writes in one synchronous step: two instances on one key cannot lose each other's reports.
 * When storage fails, the entries live in memory and the next change tries to store them all.
 */
export function openOutbox(wx: WxLike, key: string, onFailure: (cause: unknown) => void): Outbox {
  /** What storage should hold and does not. */
  let unstored: Entry[] = [];
  /** What left in this run, whether storage forgot it or not: nothing is sent again for a write that had no effect. */
  const gone = new Set<string>();
  let told = false;

  const idOf = (entry: Entry): string => entry.report.report_id;
  const failed = (cause: unknown): void => {
    if (!told) onFailure(cause);
    told = true;
  };

  const read = (): Entry[] => {
    const stored: unknown = wx.getStorageSync!(key);
    const inMemory = new Set(unstored.map(idOf));
    return (Array.isArray(stored) ? stored.filter(isEntry) : [])
      .filter((entry) => !inMemory.has(idOf(entry)) && !gone.has(idOf(entry)))
      .concat(unstored);
  };

  const change = (edit: (entries: Entry[]) => Entry[]): void => {
    let edited: Entry[] | undefined;
    try {
      edited = edit(read());
      wx.setStorageSync!(key, edited);
      unstored = [];
      told = false;
    } catch (cause) {
      // What could not be read is left as it is: it may be readable next time.
      unstored = edited || edit(unstored);
      failed(cause);
    }
  };

  return {
    entries() {
      try {
        return read();
      } catch (cause) {
        failed(cause);
        return unstored;
      }
    },

    add(report) {
      let dropped: Report | undefined;
      change((entries) => {
        const all = [...entries, { report }];
        if (all.length <= MAX_REPORTS) return all;
        const oldest = all.reduce((a, b) => (b.report.tapped_at < a.report.tapped_at ? b : a));
        dropped = oldest.report;
        gone.add(idOf(oldest));
        return all.filter((entry) => entry !== oldest);
      });
      return dropped;
    },

    tried(entry, at) {
      const id = idOf(entry);
      change((entries) => [...entries.filter((other) => idOf(other) !== id), { firstTry: at, ...entry }]);
    },

    remove(id) {
      gone.add(id);
      change((entries) => entries.filter((entry) => idOf(entry) !== id));
    },
  };
}

/** Whether it is an entry and not what another program left there. */
function isEntry(value: Partial<Entry> | null): value is Entry {
  return !!value && !!value.report && typeof value.report.report_id === 'string';
}
