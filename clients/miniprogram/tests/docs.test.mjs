// The code of the documents, run as it is printed.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import vm from 'node:vm';
import { dist, home } from '../scripts/bundle.mjs';
import { Books, Device, settled } from './support/device.mjs';

const README = readFileSync(`${home}/README.md`, 'utf8');
const GUIDE = readFileSync(`${home}/../../docs/miniprogram.md`, 'utf8');
const READY = 'TPL_demo_order_ready_000000000000000000_001';
const NOTICE = 'TPL_demo_level_notice_00000000000000000_002';

/** The block of a document that begins with a comment of this name. */
function block(document, name) {
  const found = [...document.matchAll(/```js\n(.*?)```/gs)].map(([, code]) => code).filter((code) => code.startsWith(`// ${name}\n`));
  assert.equal(found.length, 1, name);
  return found[0];
}

/** Runs a document's `subledger.js` and its page on a device; returns the page. */
function run(phone, setup, page) {
  phone.storage.set('session', JSON.stringify('session-of-zhangsan'));
  const toasts = [];
  const wx = { ...phone.launch(), showToast: ({ title }) => toasts.push(title) };
  let made;
  const Page = (page) => {
    made = page;
    page.setData = (data) => Object.assign(page.data, data);
  };
  const world = vm.createContext({ wx, Page, setTimeout: () => {}, console: { warn: () => {} } });
  const load = (code, require) => {
    const module = {};
    vm.runInContext(`(function (module, require) {${code}\n})`, world)(module, require);
    return module.exports;
  };
  const client = load(readFileSync(`${dist}/cjs/index.js`, 'utf8'));
  const mine = load(setup, (name) => {
    assert.equal(name, '@subledger/miniprogram');
    return client;
  });
  load(page, (name) => {
    assert.equal(name, '../../subledger');
    return mine;
  });
  return { page: made, toasts };
}

const device = () => new Device({ [READY]: 'one', [NOTICE]: 'one' });

test('the page: asks on payment, stays silent elsewhere, tells the user what only a user can mend', async () => {
  for (const document of [GUIDE, README]) {
    const phone = device();
    const { page, toasts } = run(phone, block(document, 'subledger.js'), block(document, 'pages/order/order.js'));
    page.onShow();
    await settled();
    phone.tap(() => page.onAddToCart());
    assert.deepEqual(phone.calls, []);
    await phone.tap(() => page.onPay());
    assert.equal(phone.calls.length, 1);
    phone.kept = { [READY]: 'accept' };
    page.onShow();
    await settled();
    phone.tap(() => page.onAddToCart());
    assert.deepEqual(phone.calls[1], { tmplIds: [READY], popup: false });
    await settled();
    assert.equal(phone.requests.length, 2);
    phone.mainSwitch = false;
    await phone.tap(() => page.onPay());
    assert.equal(toasts.length, 1);
  }
});

test('the page: what did not fit is asked for by another button', async () => {
  const phone = device();
  const setup = block(GUIDE, 'subledger.js').replace('createSubledger({', 'createSubledger({ maxTemplatesPerCall: 1,');
  const { page } = run(phone, setup, block(GUIDE, 'pages/order/order.js'));
  await phone.tap(() => page.onPay());
  phone.tap(() => page.onMore());
  await settled();
  assert.deepEqual(phone.calls.map(({ tmplIds }) => tmplIds), [[READY], [NOTICE]]);
});

test('direct reports: the token comes from the back end, the report goes to subledger', async () => {
  const phone = device();
  phone.server = ({ url, header }) => {
    if (url === 'https://shop.example.com/subledger-token') {
      assert.equal(header.authorization, 'session-of-zhangsan');
      return { statusCode: 200, data: { token: 'signed' }, header: {} };
    }
    return { statusCode: 200, data: {}, header: {} };
  };
  const { page } = run(phone, block(GUIDE, 'subledger.js, direct'), block(GUIDE, 'pages/order/order.js'));
  await phone.tap(() => page.onPay());
  await settled();
  const [, report] = phone.requests;
  assert.equal(report.url, 'https://push.example.com/api/v1/client-reports');
  assert.equal(report.header.authorization, 'Bearer signed');
});

test('the relay: hands reports on for the user of the session, and passes the answer back', { timeout: 20_000 }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'relay-'));
  t.after(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, 'relay.mjs'), block(GUIDE, 'relay.mjs'));
  const session = "export const useridOf = async ({ headers }) => headers.authorization?.replace('session-of-', '');";
  writeFileSync(join(folder, 'session.mjs'), session);

  const books = new Books();
  const taken = [];
  let answer;
  const subledger = createServer(async (request, response) => {
    let text = '';
    for await (const chunk of request) text += chunk;
    taken.push({ url: request.url, authorization: request.headers.authorization, body: JSON.parse(text) });
    response.writeHead(answer ?? books.take(JSON.parse(text))).end('{"position":1}');
  }).listen(0, '127.0.0.1');
  await once(subledger, 'listening');
  t.after(() => subledger.close());
  process.env.SUBLEDGER_API = `http://127.0.0.1:${subledger.address().port}/api/v1`;
  process.env.SUBLEDGER_KEY = 'the-key';
  process.env.PORT = '0';
  const { server: relay } = await import(pathToFileURL(join(folder, 'relay.mjs')));
  if (!relay.listening) await once(relay, 'listening');
  t.after(() => relay.close());

  const phone = device();
  const post = async (path, { header = {}, data }) => {
    const url = `http://127.0.0.1:${relay.address().port}${path}`;
    const response = await fetch(url, { method: 'POST', headers: header, body: JSON.stringify(data) });
    return { statusCode: response.status, data: await response.json(), header: {} };
  };
  const answered = [];
  phone.server = async (request) => {
    answered.push(await post(new URL(request.url).pathname, request));
    return answered.at(-1);
  };
  const { page } = run(phone, block(GUIDE, 'subledger.js'), block(GUIDE, 'pages/order/order.js'));
  await phone.tap(() => page.onPay());
  while (!answered.length) await settled();
  assert.equal(answered[0].statusCode, 200);
  const { report_id, tapped_at, result } = phone.requests[0].data;
  assert.deepEqual(taken, [
    {
      url: '/api/v1/channels/wechatmp123/client-reports',
      authorization: 'Bearer the-key',
      body: { report_id, tapped_at, result, userid: 'zhangsan' },
    },
  ]);
  assert.equal(books.grants, 2);

  const header = { authorization: 'session-of-zhangsan' };
  const data = { report_id, tapped_at, result, userid: 'somebody-else' };
  const status = async (path, request) => (await post(path, request)).statusCode;
  assert.equal(await status('/taps', { header, data }), 200);
  assert.equal(taken.at(-1).body.userid, 'zhangsan');
  assert.equal(books.grants, 2, 'a retry counts nothing');
  for (const [upstream, passed] of [[422, 422], [503, 503], [401, 502], [403, 502]]) {
    answer = upstream;
    assert.equal(await status('/taps', { header, data }), passed);
  }
  assert.equal(await status('/taps', { data }), 401);
  assert.equal(await status('/else', { header, data }), 404);
  assert.equal(await status('/taps', { header, data: 'x'.repeat(20_000) }), 413);
  subledger.close();
  subledger.closeAllConnections();
  assert.equal(await status('/taps', { header, data }), 502);
});
