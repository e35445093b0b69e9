// Every word and every failure of wx.requestSubscribeMessage.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createSubledger } from '../dist/esm/index.js';
import { start } from './support/app.mjs';
import { Device, settled } from './support/device.mjs';

const A = 'TPL_a';
const B = 'TPL_b';
const device = () => new Device({ [A]: 'one', [B]: 'one', TPL_long: 'long' });
const isHint = (hint) => /[\u4e00-\u9fff]/.test(hint.zh) && /^[\x20-\x7e]{5,}$/.test(hint.en);

for (const [word, choice] of [
  ['accept', 'accept'],
  ['acceptWithAlert', 'accept'],
  ['acceptWithAudio', 'accept'],
  ['acceptWithForcePush', 'accept'],
  ['acceptWithWhatComesNext', 'accept'],
  ['reject', 'reject'],
  ['ban', 'ban'],
  ['filter', 'filter'],
]) {
  test(`the word ${word} is ${choice}`, async () => {
    const phone = device();
    phone.user = () => word;
    const { ask, sent, problems } = await start(phone);
    const outcome = await ask({ key: true, templates: [A] });
    const [said] = outcome.choices;
    assert.deepEqual([said.template, said.choice, said.word], [A, choice, word]);
    assert.equal(choice === 'accept', outcome.accepted.length === 1);
    assert.ok(choice === 'accept' ? said.hint === undefined : isHint(said.hint));
    await settled();
    assert.equal(sent[0].result[A], word);
    assert.deepEqual(problems, []);
  });
}

test('templates with one title: WeChat filters the second, and the report says so', async () => {
  const phone = device();
  phone.templates[B].title = phone.templates[A].title;
  const { ask, sent } = await start(phone);
  const outcome = await ask({ key: true, templates: [A, B] });
  assert.deepEqual(outcome.choices.map(({ choice }) => choice), ['accept', 'filter']);
  await settled();
  assert.deepEqual(sent[0].result, { errMsg: 'requestSubscribeMessage:ok', [A]: 'accept', [B]: 'filter' });
});

test('words that nobody knows are told and left out; the grants beside them are reported', async () => {
  for (const word of ['later', '', 7, null, 'accept' + 'x'.repeat(27), 'reject2', 'toString']) {
    const phone = device();
    phone.user = (id) => (id === A ? 'accept' : word);
    const { ask, sent, kinds } = await start(phone);
    const outcome = await ask({ key: true, templates: [A, B] });
    assert.deepEqual(outcome.choices.map(({ choice }) => choice), ['accept', 'unknown']);
    assert.ok(isHint(outcome.choices[1].hint));
    assert.deepEqual(kinds(), ['unknown_result']);
    await settled();
    assert.deepEqual(sent[0].result, { errMsg: 'requestSubscribeMessage:ok', [A]: 'accept' });
  }
});

test('a result with nothing known in it is not reported', async () => {
  const phone = device();
  phone.user = () => 'later';
  const { ask, sent, subledger } = await start(phone);
  const outcome = await ask({ key: true, templates: [A] });
  assert.equal(outcome.reportId, undefined);
  await settled();
  assert.deepEqual(sent, []);
  assert.deepEqual(subledger.pending(), []);
});

for (const [failure, code, who] of [
  [10001, 'no_templates', 'developer'],
  [10002, 'network', 'user'],
  [10003, 'network', 'user'],
  [10004, 'bad_template_id', 'developer'],
  [10005, 'in_background', 'nobody'],
  [20001, 'unknown_template', 'developer'],
  [20002, 'mixed_kinds', 'developer'],
  [20003, 'too_many_templates', 'developer'],
  [20004, 'main_switch_off', 'user'],
  [20005, 'banned', 'developer'],
  [20013, 'device_template', 'developer'],
  [99999, 'unknown', 'developer'],
  ['can only be invoked by user TAP gesture.', 'not_a_tap', 'developer'],
  ['last call has not ended', 'busy', 'nobody'],
  ['not supported', 'unsupported', 'user'],
  ['something else', 'unknown', 'developer'],
  [new Error('the bridge is down'), 'unknown', 'developer'],
]) {
  test(`the failure ${failure} is ${code}, for the ${who}`, async () => {
    const phone = device();
    const { ask, sent, subledger } = await start(phone);
    phone.nextFailure = failure;
    const outcome = await ask({ key: true, templates: [A], longTerm: ['TPL_long'] }, 'pay');
    const { status, action, errCode, errMsg, hint, remaining } = outcome;
    assert.deepEqual([status, action, outcome.code, hint.who], ['failed', 'pay', code, who]);
    assert.equal(errCode, typeof failure === 'number' ? failure : undefined);
    assert.equal('errCode' in outcome, typeof failure === 'number');
    assert.ok(errMsg.length > 5);
    assert.ok(isHint(hint));
    // Nothing was asked: all of it is left.
    assert.deepEqual(remaining, { templates: [A], longTerm: ['TPL_long'] });
    await settled();
    assert.deepEqual(sent, [], 'a failed popup says nothing about permissions');
    assert.deepEqual(subledger.pending(), []);
    // And the next tap works.
    assert.deepEqual((await ask({ key: true, templates: [A] })).accepted, [A]);
  });
}

test('a failure that a client hands to success is a failure', async () => {
  const phone = device();
  const wx = phone.launch();
  wx.requestSubscribeMessage = ({ success }) =>
    success({ errMsg: 'requestSubscribeMessage:fail The main switch is switched off', errCode: 20004 });
  const { ask, sent } = await start(phone, { wx });
  assert.equal((await ask({ key: true, templates: [A] })).code, 'main_switch_off');
  assert.deepEqual(sent, []);
});

test('what WeChat would refuse for certain is refused without asking it', async () => {
  const phone = device();
  const { ask } = await start(phone);
  assert.equal((await ask({ key: true, templates: [] })).code, 'no_templates');
  assert.equal((await ask({ key: true })).code, 'no_templates');
  assert.equal((await ask({ key: true, templates: [A, undefined] })).code, 'bad_template_id');
  assert.equal((await ask({ key: true, templates: [''] })).code, 'bad_template_id');
  assert.equal(phone.calls.length, 0);
});

test('without the API, or without wx at all, the user is told to update', async () => {
  const phone = device();
  const { ask } = await start(phone, { wx: {} });
  assert.equal((await ask({ key: true, templates: [A] })).code, 'unsupported');
  const bare = createSubledger({ report: () => {}, onError: () => {}, later: () => {} });
  assert.equal((await bare.ask('pay', { key: true, templates: [A] })).code, 'unsupported');
});
