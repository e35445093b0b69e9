// Reports: each tap counted once, none lost on the way, whatever happens in between.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createSubledger } from '../dist/esm/index.js';
import { start } from './support/app.mjs';
import { Books, Clock, Device, settled } from './support/device.mjs';

const A = 'TPL_a';
const B = 'TPL_b';
const device = () => new Device({ [A]: 'one', [B]: 'one' });
const key = { key: true, templates: [A] };
const KEY = 'subledger.reports';
const DAY = 24 * 3_600_000;
const stored = (phone) => JSON.parse(phone.storage.get(KEY) ?? '[]').map(({ report }) => report.report_id);

/** A report function that fails as told, by what it throws. */
function failing(failures) {
  const tried = [];
  const report = async (report) => {
    tried.push(report.report_id);
    const failure = failures.shift();
    if (failure) throw failure;
  };
  return { tried, report };
}

test('a report is in storage before it is sent, and gone after', async () => {
  const phone = device();
  const seen = [];
  const { ask } = await start(phone, { report: () => void seen.push(stored(phone)) });
  const { reportId } = await ask(key);
  await settled();
  assert.deepEqual(seen, [[reportId]]);
  assert.deepEqual(stored(phone), []);
});

test('an unsent report survives a restart and is sent with its first id and time', async () => {
  const phone = device();
  const first = await start(phone, { report: () => Promise.reject(new Error('offline')) });
  const { reportId } = await first.ask(key);
  await settled();
  assert.deepEqual(first.kinds(), ['unsent']);
  assert.ok(/[\u4e00-\u9fff]/.test(first.problems[0].hint.zh));
  const [before] = first.subledger.pending();
  await first.clock.advance(0);

  const second = await start(phone);
  assert.deepEqual(second.sent, [before]);
  assert.equal(before.report_id, reportId);
  assert.deepEqual(stored(phone), []);
  await start(phone).then(({ sent }) => assert.deepEqual(sent, []));
});

test('lost answers, retries and restarts count a tap once', async () => {
  const phone = device();
  const books = new Books();
  let calls = 0;
  const report = (report) => {
    books.take(report);
    // Two of three answers are lost after the server has done its work.
    if (++calls % 3) throw new Error('connection reset');
  };
  for (let run = 0; run < 4; run++) {
    const { ask, clock } = await start(phone, { report });
    await ask(key);
    await clock.advance(1_000);
    await ask({ key: true, templates: [A, B] });
    await clock.advance(run * 5_000);
  }
  const { clock } = await start(phone, { report });
  await clock.advance(DAY);
  assert.deepEqual(stored(phone), []);
  assert.equal(books.grants, 4 * 3);
  assert.ok(calls > 8);
});

test('flushes at the same time are one flush', async () => {
  const phone = device();
  let answer;
  const given = [];
  const report = (report) => {
    given.push(report.report_id);
    return new Promise((resolve) => (answer = resolve));
  };
  const { ask, subledger } = await start(phone, { report });
  const { reportId } = await ask(key);
  const flushes = [subledger.flush(), subledger.flush()];
  phone.show();
  await settled();
  assert.deepEqual(given, [reportId]);
  // A tap while a report is under way is sent by the same run, after it.
  const second = await ask(key);
  await settled();
  assert.deepEqual(given, [reportId]);
  answer();
  await settled();
  assert.deepEqual(given, [reportId, second.reportId]);
  answer();
  assert.deepEqual(await Promise.all(flushes), Array(2).fill({ sent: 2, dropped: 0, waiting: 0 }));
  assert.deepEqual(await subledger.flush(), { sent: 0, dropped: 0, waiting: 0 });
});

test('after a failure nothing is sent before its time; waits double up to five minutes', async () => {
  const phone = device();
  const offline = () => new Error('offline');
  const { tried, report } = failing(Array.from({ length: 40 }, offline));
  const { ask, subledger, clock } = await start(phone, { report });
  await ask(key);
  await settled();
  assert.equal(tried.length, 1);
  const timers = clock.waiting;
  for (let again = 0; again < 5; again++) assert.equal((await subledger.flush()).waiting, 1);
  assert.equal(clock.waiting, timers, 'one timer is enough');
  phone.show();
  await ask(key);
  await settled();
  assert.equal(tried.length, 1, 'a flush, a show and a tap wait, too');

  // By itself: every wait is between half of its length and the whole.
  const waits = [];
  let last = clock.time;
  for (let second = 0; second < 3_600 && waits.length < 14; second++) {
    const before = tried.length;
    await clock.advance(1_000);
    if (tried.length > before) {
      waits.push(clock.time - last);
      last = clock.time;
    }
  }
  waits.forEach((wait, index) => {
    const most = Math.min(2_000 * 2 ** index, 300_000);
    assert.ok(wait >= most / 2 && wait <= most + 1_000, `wait ${index} took ${wait} ms of ${most}`);
  });
  assert.equal(waits.length, 14);
});

test('a delivery ends the doubling', async () => {
  const phone = device();
  const offline = () => new Error('offline');
  const { tried, report } = failing([offline(), offline(), offline(), undefined, offline()]);
  const { ask, clock } = await start(phone, { report });
  await ask(key);
  await clock.advance(14_000);
  assert.equal(tried.length, 4);
  await ask(key);
  await settled();
  assert.equal(tried.length, 5);
  await clock.advance(2_000);
  assert.equal(tried.length, 6);
});

test('one report that cannot be sent does not hold the others up', async () => {
  const phone = device();
  const poison = [];
  const sent = [];
  const report = ({ report_id }) => {
    if (poison.includes(report_id)) throw { statusCode: 500 };
    sent.push(report_id);
  };
  const offline = await start(phone, { report: () => Promise.reject(new Error('offline')) });
  const first = await offline.ask(key);
  const second = await offline.ask(key);
  poison.push(first.reportId);
  const { clock } = await start(phone, { report });
  await clock.advance(10_000);
  assert.deepEqual(sent, [second.reportId]);
  assert.deepEqual(stored(phone), [first.reportId]);
});

for (const statusCode of [400, 403, 404, 409, 413, 422]) {
  test(`a report refused with ${statusCode} is dropped, told, and the next one goes`, async () => {
    const phone = device();
    const refusal = Object.assign(new Error('refused'), { statusCode });
    const { tried, report } = failing([refusal]);
    const { ask, problems, subledger, clock } = await start(phone, { report });
    const { reportId } = await ask(key);
    const { reportId: next } = await ask(key);
    await clock.advance(DAY);
    assert.deepEqual(tried, [reportId, next]);
    assert.deepEqual(stored(phone), []);
    assert.equal(problems.length, 1);
    const [problem] = problems;
    assert.deepEqual([problem.kind, problem.statusCode, problem.cause], ['refused', statusCode, refusal]);
    assert.equal(problem.report.report_id, reportId);
    assert.deepEqual(subledger.pending(), []);
  });
}

for (const statusCode of [401, 408, 429, 500, 502, 503]) {
  test(`a report answered with ${statusCode} is kept and tried again`, async () => {
    const phone = device();
    const { tried, report } = failing([{ statusCode }]);
    const { ask, kinds, clock } = await start(phone, { report });
    const { reportId } = await ask(key);
    await settled();
    assert.deepEqual(stored(phone), [reportId]);
    assert.deepEqual(kinds(), [statusCode === 401 ? 'unauthorized' : 'unsent']);
    await clock.advance(2_000);
    assert.deepEqual(tried, [reportId, reportId]);
    assert.deepEqual(stored(phone), []);
  });
}

test('a promise around wx.request that resolves with a bad status is no delivery', async () => {
  const phone = device();
  const answers = [{ statusCode: 502 }, { statusCode: 422 }, { statusCode: 204 }, { data: 'ok' }];
  const { ask, kinds, subledger, clock } = await start(phone, { report: async () => answers.shift() });
  await ask(key);
  await settled();
  assert.deepEqual(kinds(), ['unsent']);
  await clock.advance(2_000);
  assert.deepEqual(kinds(), ['unsent', 'refused']);
  await ask(key);
  await ask(key);
  await settled();
  assert.equal(answers.length, 0);
  assert.deepEqual(subledger.pending(), []);
  assert.equal(kinds().length, 2);
});

test('an error that carries a good status is still no delivery', async () => {
  const phone = device();
  const { tried, report } = failing([{ statusCode: 200 }]);
  const { ask, kinds } = await start(phone, { report });
  await ask(key);
  await settled();
  assert.equal(tried.length, 1);
  assert.deepEqual(kinds(), ['unsent']);
});

test('a report function that never answers does not block for ever', async () => {
  const phone = device();
  const tried = [];
  const report = ({ report_id }) => {
    tried.push(report_id);
    return tried.length === 1 ? new Promise(() => {}) : undefined;
  };
  const { ask, problems, clock } = await start(phone, { report });
  const { reportId } = await ask(key);
  await clock.advance(29_000);
  assert.equal(tried.length, 1);
  await clock.advance(4_000);
  assert.deepEqual(tried, [reportId, reportId]);
  assert.deepEqual([problems[0].kind, problems[0].cause], ['unsent', 'timeout']);
  assert.deepEqual(stored(phone), []);
});

test('a report tried 28 days ago is dropped: the server may have forgotten its id', async () => {
  const phone = device();
  const clock = new Clock();
  const offline = await start(phone, { clock, report: () => Promise.reject(new Error('offline')) });
  await offline.ask(key);
  await settled();
  clock.time += 28 * DAY - 1_000;
  const { reportId: young } = await offline.ask(key);
  // A retry in between does not prolong it.
  await offline.subledger.flush();
  clock.time += 2_000;
  const { sent, kinds } = await start(phone, { clock });
  assert.deepEqual(sent.map(({ report_id }) => report_id), [young]);
  assert.deepEqual(kinds(), ['expired']);
  assert.deepEqual(stored(phone), []);
});

test('a report that was never tried is sent however old it is', async () => {
  const phone = device();
  const clock = new Clock();
  const report = { report_id: 'old', tapped_at: '2026-01-01T00:00:00.000Z', result: { [A]: 'accept' }, action: 'pay' };
  phone.storage.set(KEY, JSON.stringify([{ report }]));
  const { sent } = await start(phone, { clock });
  assert.deepEqual(sent, [report]);
});

test('a clock that is set back does not stop the reports', async () => {
  const phone = device();
  const { tried, report } = failing([new Error('offline')]);
  const { ask, clock, subledger } = await start(phone, { report });
  await ask(key);
  await settled();
  clock.time -= 10 * DAY;
  assert.deepEqual(await subledger.flush(), { sent: 1, dropped: 0, waiting: 0 });
  assert.equal(tried.length, 2);
});

test('200 reports are kept at most; the oldest tap makes room', async () => {
  const phone = device();
  const clock = new Clock();
  const { ask, problems, subledger } = await start(phone, { clock, report: () => Promise.reject(new Error('offline')) });
  const ids = [];
  for (let tap = 0; tap < 203; tap++) {
    clock.time += 1;
    ids.push((await ask(key)).reportId);
  }
  const full = problems.filter(({ kind }) => kind === 'full');
  assert.deepEqual(full.map(({ report }) => report.report_id), ids.slice(0, 3));
  assert.deepEqual(subledger.pending().map(({ report_id }) => report_id).sort(), ids.slice(3).sort());
  assert.deepEqual(stored(phone).sort(), ids.slice(3).sort());
});

test('storage over its quota: asking works, reports are in memory, told once, and stored when there is room', async () => {
  const phone = device();
  phone.storageFault.set = new Error('setStorageSync:fail exceed storage max size 10Mb');
  const { ask, kinds, subledger, clock } = await start(phone, { report: () => Promise.reject(new Error('offline')) });
  const first = await ask(key);
  assert.deepEqual(first.accepted, [A]);
  const second = await ask(key);
  await settled();
  assert.deepEqual(subledger.pending().map(({ report_id }) => report_id).sort(), [first.reportId, second.reportId]);
  assert.equal(phone.storage.size, 0);
  assert.deepEqual(kinds().filter((kind) => kind === 'storage'), ['storage']);
  phone.storageFault.set = undefined;
  await clock.advance(5_000);
  assert.deepEqual(stored(phone).sort(), [first.reportId, second.reportId]);
});

test('storage that cannot be read is not overwritten', async () => {
  const phone = device();
  const offline = () => Promise.reject(new Error('offline'));
  const before = await start(phone, { report: offline });
  const { reportId: kept } = await before.ask(key);
  await settled();
  phone.storageFault.get = new Error('getStorageSync:fail');
  const { ask, clock, sent, kinds } = await start(phone);
  const { reportId: fresh } = await ask(key);
  await settled();
  assert.deepEqual(sent.map(({ report_id }) => report_id), [fresh]);
  assert.deepEqual(stored(phone), [kept]);
  assert.deepEqual(kinds(), ['storage']);
  phone.storageFault.get = undefined;
  await clock.advance(5_000);
  phone.show();
  await settled();
  assert.deepEqual(sent.map(({ report_id }) => report_id), [fresh, kept]);
});

test('a report that is in storage and cannot be written again is there once', async () => {
  const phone = device();
  const report = () => Promise.reject(new Error('offline'));
  const { ask, subledger, clock } = await start(phone, { report });
  const { reportId } = await ask(key);
  await settled();
  phone.storageFault.set = new Error('setStorageSync:fail');
  await clock.advance(2_000);
  assert.deepEqual(subledger.pending().map(({ report_id }) => report_id), [reportId]);
});

test('a delivered report that storage will not forget is not sent again in this run', async () => {
  const phone = device();
  const offline = await start(phone, { report: () => Promise.reject(new Error('offline')) });
  await offline.ask(key);
  await settled();
  phone.storageFault.set = new Error('setStorageSync:fail');
  const { sent, subledger } = await start(phone);
  await subledger.flush();
  assert.equal(sent.length, 1);
  assert.deepEqual(subledger.pending(), []);
});

test('storage whose writes have no effect does not make a report go round and round', async () => {
  const phone = device();
  const offline = await start(phone, { report: () => Promise.reject(new Error('offline')) });
  await offline.ask(key);
  await settled();
  const wx = { ...phone.launch(), setStorageSync: () => {} };
  const { sent, subledger } = await start(phone, { wx });
  assert.equal((await subledger.flush()).waiting, 0);
  assert.equal(sent.length, 1);
});

test('no storage API at all: reports still go', async () => {
  const phone = device();
  const { requestSubscribeMessage } = phone.launch();
  const { ask, sent, kinds } = await start(phone, { wx: { requestSubscribeMessage } });
  await ask(key);
  await settled();
  assert.equal(sent.length, 1);
  assert.deepEqual(kinds(), ['storage']);
});

test('what another program left under the key is ignored', async () => {
  for (const left of ['text', 7, { a: 1 }, [null, 1, 'x', {}, { report: null }, { report: { report_id: 5 } }]]) {
    const phone = device();
    phone.storage.set(KEY, JSON.stringify(left));
    const { ask, sent, problems, subledger } = await start(phone);
    assert.deepEqual(subledger.pending(), []);
    await ask(key);
    await settled();
    assert.equal(sent.length, 1);
    assert.deepEqual(problems, []);
  }
});

test('two helpers on one storage lose nothing of each other', async () => {
  const phone = device();
  const books = new Books();
  let online = false;
  const report = (report) => {
    if (!online) throw new Error('offline');
    books.take(report);
  };
  const wx = phone.launch();
  const clock = new Clock();
  const [one, two] = [await start(phone, { wx, clock, report }), await start(phone, { wx, clock, report })];
  for (let tap = 0; tap < 3; tap++) {
    await one.ask(key);
    await two.ask(key);
  }
  await settled();
  assert.equal(stored(phone).length, 6);
  online = true;
  await clock.advance(60_000);
  assert.equal(books.grants, 6);
  assert.deepEqual(stored(phone), []);
});

test('the storage key is a setting', async () => {
  const phone = device();
  const { ask } = await start(phone, { storageKey: 'mine', report: () => Promise.reject(new Error('offline')) });
  await ask(key);
  assert.deepEqual([...phone.storage.keys()], ['mine']);
});

test('a listener that throws costs no report', async () => {
  const phone = device();
  const { tried, report } = failing([new Error('offline')]);
  const onError = () => {
    throw new Error('a bug of the app');
  };
  const { ask, clock } = await start(phone, { report, onError });
  assert.equal((await ask(key)).status, 'asked');
  await clock.advance(2_000);
  assert.equal(tried.length, 2);
  assert.deepEqual(stored(phone), []);
});

test('ids made by default fit the server’s rule and do not repeat', async () => {
  const phone = device();
  const ids = new Set();
  const subledger = createSubledger({
    wx: phone.launch(),
    later: () => {},
    now: () => 1_772_352_000_000,
    report: ({ report_id }) => void ids.add(report_id),
  });
  for (let tap = 0; tap < 100; tap++) await phone.tap(() => subledger.ask('pay', key));
  await subledger.flush();
  assert.equal(ids.size, 100);
  for (const id of ids) assert.match(id, /^mp-[0-9a-z]+-[0-9a-z]{10,100}$/);
});
