// Who is asked, when, and for what.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createSubledger } from '../dist/esm/index.js';
import { start } from './support/app.mjs';
import { Device, settled } from './support/device.mjs';

const A = 'TPL_a';
const B = 'TPL_b';
const C = 'TPL_c';
const D = 'TPL_d';
const L = 'TPL_long';
const device = () => new Device({ [A]: 'one', [B]: 'one', [C]: 'one', [D]: 'one', [L]: 'long' });

test('a key action asks, and the whole result is reported once with the choice of every template', async () => {
  const phone = device();
  phone.user = (id) => (id === A ? 'accept' : 'reject');
  const { ask, sent, clock, subledger } = await start(phone);
  const outcome = await ask({ key: true, templates: [A, B] }, 'pay');
  assert.equal(outcome.status, 'asked');
  assert.deepEqual(outcome.accepted, [A]);
  assert.deepEqual(
    outcome.choices.map(({ template, choice, word }) => [template, choice, word]),
    [
      [A, 'accept', 'accept'],
      [B, 'reject', 'reject'],
    ],
  );
  assert.deepEqual(outcome.remaining, { templates: [], longTerm: [] });
  await settled();
  assert.deepEqual(sent, [
    {
      report_id: outcome.reportId,
      tapped_at: new Date(clock.time).toISOString(),
      result: { errMsg: 'requestSubscribeMessage:ok', [A]: 'accept', [B]: 'reject' },
      action: 'pay',
      channel: 'wechatmp123',
    },
  ]);
  assert.deepEqual(subledger.pending(), []);
});

test('elsewhere nobody is asked who did not tick "always keep"', async () => {
  const phone = device();
  const { ask } = await start(phone);
  const outcome = await ask({ templates: [A] });
  assert.equal(outcome.status, 'skipped');
  assert.equal(outcome.reason, 'not_kept');
  assert.equal(phone.calls.length, 0);
});

test('elsewhere only templates kept as accepted are called for, in silence, and each call is reported', async () => {
  const phone = device();
  phone.kept = { [A]: 'accept', [B]: 'reject', [C]: 'acceptWithAlert', [D]: 'ban' };
  const { ask, sent } = await start(phone);
  for (let tap = 1; tap <= 2; tap++) {
    const outcome = await ask({ templates: [A, B, C, D] });
    assert.deepEqual(outcome.accepted, [A, C]);
    await settled();
    assert.equal(sent.length, tap);
  }
  assert.deepEqual(phone.calls, [
    { tmplIds: [A, C], popup: false },
    { tmplIds: [A, C], popup: false },
  ]);
  assert.notEqual(sent[0].report_id, sent[1].report_id);
});

test('a key action also asks for templates that were kept as rejected, in the order given', async () => {
  const phone = device();
  phone.kept = { [A]: 'reject' };
  const { ask } = await start(phone);
  await ask({ key: true, templates: [B, A] });
  assert.deepEqual(phone.calls, [{ tmplIds: [B, A], popup: true }]);
});

test('settings are read ahead of the tap, since a tap cannot wait for them', async () => {
  const phone = device();
  phone.kept = { [A]: 'accept' };
  const subledger = createSubledger({ wx: phone.launch(), report: () => {}, later: () => {} });
  // The answer is still under way: the tap must not wait for it.
  const early = await phone.tap(() => subledger.ask('open', { templates: [A] }));
  assert.equal(early.reason, 'settings_unknown');
  await settled();
  assert.deepEqual(subledger.settings(), { mainSwitch: true, kept: { [A]: 'accept' } });
  const next = await phone.tap(() => subledger.ask('open', { templates: [A] }));
  assert.deepEqual(next.accepted, [A]);
});

test('settings are read again after a popup, when the app shows, and when the page asks for it', async () => {
  const phone = device();
  const { ask, subledger } = await start(phone);
  phone.user = (id) => {
    phone.kept[id] = 'accept';
    return 'accept';
  };
  await ask({ key: true, templates: [A] });
  await settled();
  assert.deepEqual(subledger.settings().kept, { [A]: 'accept' });
  phone.kept = {};
  phone.show();
  await settled();
  assert.deepEqual(subledger.settings().kept, {});
  phone.mainSwitch = false;
  assert.deepEqual(await subledger.refreshSettings(), { mainSwitch: false, kept: {} });
  const outcome = await ask({ templates: [A] });
  assert.equal(outcome.reason, 'main_switch_off');
  assert.equal(outcome.hint.who, 'user');
});

test('an older answer about settings does not replace a newer one', async () => {
  const phone = device();
  const wx = phone.launch();
  const answers = [];
  wx.getSetting = ({ success }) => answers.push(success);
  const { subledger } = await start(phone, { wx });
  void subledger.refreshSettings();
  const said = (kept) => ({ subscriptionsSetting: { mainSwitch: true, itemSettings: kept } });
  answers[1](said({ [A]: 'reject' }));
  answers[0](said({ [A]: 'accept' }));
  assert.deepEqual(subledger.settings().kept, { [A]: 'reject' });
});

test('settings that cannot be read leave the user in peace and do not stop key actions', async () => {
  for (const getSetting of [undefined, ({ fail }) => fail({}), ({ success }) => success({ authSetting: {} })]) {
    const phone = device();
    const wx = { ...phone.launch(), getSetting };
    const { ask, subledger } = await start(phone, { wx });
    assert.equal(await subledger.refreshSettings(), undefined);
    assert.equal((await ask({ templates: [A] })).reason, 'settings_unknown');
    assert.deepEqual((await ask({ key: true, templates: [A] })).accepted, [A]);
  }
});

test('more templates than one call takes are left for the next tap', async () => {
  const phone = device();
  phone.most = 3;
  const { ask } = await start(phone);
  const first = await ask({ key: true, templates: [A, B, C, D, A], longTerm: [L] });
  assert.deepEqual(phone.calls.at(-1).tmplIds, [A, B, C]);
  assert.deepEqual(first.remaining, { templates: [D], longTerm: [L] });
  // One-time and long-term templates are never mixed in one call.
  const second = await ask({ key: true, ...first.remaining });
  assert.deepEqual(phone.calls.at(-1).tmplIds, [D]);
  assert.deepEqual(second.remaining, { templates: [], longTerm: [L] });
  const third = await ask({ key: true, ...second.remaining });
  assert.deepEqual(phone.calls.at(-1).tmplIds, [L]);
  assert.deepEqual(third.remaining, { templates: [], longTerm: [] });
});

test('an id that is named twice is asked for once', async () => {
  const phone = device();
  const { ask } = await start(phone);
  await ask({ key: true, templates: [A, B, A] });
  assert.deepEqual(phone.calls.at(-1).tmplIds, [A, B]);
});

test('the client’s maximum is a setting', async () => {
  const phone = device();
  const { ask } = await start(phone, { maxTemplatesPerCall: 5 });
  await ask({ key: true, templates: [A, B, C, D] });
  assert.deepEqual(phone.calls.at(-1).tmplIds, [A, B, C, D]);
  phone.most = 3;
  const outcome = await ask({ key: true, templates: [A, B, C, D] });
  assert.equal(outcome.code, 'too_many_templates');
  for (const maxTemplatesPerCall of [0, -1, 2.5, 21, NaN, null, '3x']) {
    assert.throws(() => createSubledger({ wx: {}, report: () => {}, maxTemplatesPerCall }), RangeError);
  }
});

test('a call after an await is outside the tap, and the answer says so', async () => {
  const phone = device();
  const { subledger, sent, ask } = await start(phone);
  const outcome = await phone.tap(async () => {
    await Promise.resolve();
    return subledger.ask('late', { key: true, templates: [A] });
  });
  assert.equal(outcome.status, 'failed');
  assert.equal(outcome.code, 'not_a_tap');
  assert.equal(outcome.hint.who, 'developer');
  assert.deepEqual(sent, []);
  assert.deepEqual((await ask({ key: true, templates: [A] })).accepted, [A]);
});

test('a second tap while the popup is open is refused by WeChat and costs nothing', async () => {
  const phone = device();
  phone.hold = true;
  const { ask, sent } = await start(phone);
  const first = ask({ key: true, templates: [A] });
  const second = await ask({ key: true, templates: [B] });
  assert.equal(second.code, 'busy');
  assert.deepEqual(second.remaining.templates, [B]);
  phone.answer();
  assert.deepEqual((await first).accepted, [A]);
  await settled();
  assert.equal(sent.length, 1);
});

test('a report function or an address with a token is required', () => {
  for (const report of [undefined, {}, { baseUrl: 'https://push.example.com' }, { token: async () => 't' }]) {
    assert.throws(() => createSubledger({ wx: {}, report }), TypeError);
  }
});
