// Reports straight to subledger, with a signed user token.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { start } from './support/app.mjs';
import { Books, Device, settled } from './support/device.mjs';

const A = 'TPL_a';
const device = () => new Device({ [A]: 'one' });
const key = { key: true, templates: [A] };

/** A device whose server takes reports with a good token, and the options for it. */
function direct(phone) {
  const books = new Books();
  const good = new Set(['token-1']);
  const issued = [];
  phone.server = ({ header, data }) => {
    if (!good.has(header.authorization.replace(/^Bearer /, ''))) return { statusCode: 401, data: {}, header: {} };
    return { statusCode: books.take(data), data: {}, header: {} };
  };
  const token = async () => {
    issued.push(`token-${issued.length + 1}`);
    return issued.at(-1);
  };
  return { books, good, issued, report: { baseUrl: 'https://push.example.com/', token } };
}

test('a report is posted as the server wants it', async () => {
  const phone = device();
  const { report, books } = direct(phone);
  const { ask, clock } = await start(phone, { report });
  const { reportId } = await ask(key, 'pay');
  await settled();
  assert.deepEqual(phone.requests, [
    {
      url: 'https://push.example.com/api/v1/client-reports',
      method: 'POST',
      data: {
        report_id: reportId,
        tapped_at: new Date(clock.time).toISOString(),
        result: { errMsg: 'requestSubscribeMessage:ok', [A]: 'accept' },
      },
      header: { authorization: 'Bearer token-1' },
      timeout: 15_000,
    },
  ]);
  assert.equal(books.grants, 1);
});

test('a token is used until it is refused, then fetched anew, once', async () => {
  const phone = device();
  const { report, books, good, issued } = direct(phone);
  const { ask, problems } = await start(phone, { report });
  await ask(key);
  await ask(key);
  await settled();
  assert.deepEqual(issued, ['token-1']);
  good.clear();
  good.add('token-2');
  await ask(key);
  await settled();
  assert.deepEqual(issued, ['token-1', 'token-2']);
  assert.equal(phone.requests.length, 4);
  assert.equal(books.grants, 3);
  assert.deepEqual(problems, []);
});

test('a fresh token that is refused too ends the attempt; the report waits', async () => {
  const phone = device();
  const { report, books, good, issued } = direct(phone);
  good.clear();
  const { ask, problems, subledger, clock } = await start(phone, { report });
  const { reportId } = await ask(key);
  await settled();
  assert.equal(phone.requests.length, 2);
  assert.deepEqual(problems.map(({ kind, statusCode }) => [kind, statusCode]), [['unauthorized', 401]]);
  assert.deepEqual(subledger.pending().map(({ report_id }) => report_id), [reportId]);
  good.add('token-3');
  await clock.advance(2_000);
  assert.deepEqual(issued, ['token-1', 'token-2', 'token-3']);
  assert.equal(books.grants, 1);
  assert.deepEqual(subledger.pending(), []);
});

test('no token, no network, no wx.request: the report waits', async () => {
  for (const broken of ['token', 'server', 'request']) {
    const phone = device();
    const { report, books } = direct(phone);
    const { token } = report;
    let down = true;
    report.token = async () => {
      if (down && broken === 'token') throw new Error('not logged in');
      return token();
    };
    const server = phone.server;
    phone.server = (request) => {
      if (down && broken === 'server') throw new Error('timeout');
      return server(request);
    };
    const wx = phone.launch();
    const { request } = wx;
    if (broken === 'request') wx.request = undefined;
    const { ask, kinds, clock } = await start(phone, { wx, report });
    await ask(key);
    await settled();
    assert.deepEqual(kinds(), ['unsent'], broken);
    down = false;
    wx.request = request;
    await clock.advance(2_000);
    assert.equal(books.grants, 1, broken);
  }
});

test('the server’s refusal is told with its problem document', async () => {
  const phone = device();
  const { report } = direct(phone);
  const problem = { status: 422, code: 'bad_report' };
  phone.server = () => ({ statusCode: 422, data: problem, header: {} });
  const { ask, problems, subledger } = await start(phone, { report });
  await ask(key);
  await settled();
  assert.deepEqual([problems[0].kind, problems[0].statusCode, problems[0].cause], ['refused', 422, problem]);
  assert.deepEqual(subledger.pending(), []);
});

test('a lost answer is repeated with the same words, and counted once', async () => {
  const phone = device();
  const { report, books } = direct(phone);
  const server = phone.server;
  let lose = true;
  phone.server = (request) => {
    const answer = server(request);
    if (lose) throw new Error('socket closed');
    return answer;
  };
  const first = await start(phone, { report });
  await first.ask(key);
  await settled();
  lose = false;
  await start(phone, { report });
  assert.equal(books.grants, 1);
  assert.deepEqual(phone.requests[0].data, phone.requests[1].data);
});
