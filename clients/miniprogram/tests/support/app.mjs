// One run of a Mini Program on a device, with everything in the test's hand.
import { createSubledger } from '../../dist/esm/index.js';
import { Clock, settled } from './device.mjs';

let ids = 0;

/** Starts the Mini Program. `sent` collects what a report function was given; `problems` what went wrong. */
export async function start(device, options = {}) {
  const clock = options.clock ?? new Clock();
  const sent = [];
  const problems = [];
  const { now, later } = clock;
  const subledger = createSubledger({
    channel: 'wechatmp123',
    wx: device.launch(),
    report: (report) => void sent.push(report),
    now,
    later,
    newId: () => `id-${++ids}`,
    onError: (problem) => problems.push(problem),
    ...options,
  });
  await settled();
  const ask = (request, action = 'action') => device.tap(() => subledger.ask(action, request));
  return { subledger, ask, sent, problems, clock, kinds: () => problems.map(({ kind }) => kind) };
}
