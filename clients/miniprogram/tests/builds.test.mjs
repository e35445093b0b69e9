// What is shipped: both builds load and work where there is nothing but `wx`, and stay small.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import vm from 'node:vm';
import { buildSync, transformSync } from 'esbuild';
import { bundle, dist, home } from '../scripts/bundle.mjs';
import { Device, settled } from './support/device.mjs';

const manifest = JSON.parse(readFileSync(`${home}/package.json`, 'utf8'));

test('both builds are what the manifest names, with types beside them', async () => {
  const required = createRequire(import.meta.url)('@subledger/miniprogram');
  const imported = await import('@subledger/miniprogram');
  assert.deepEqual(Object.keys(required), ['createSubledger']);
  assert.deepEqual(Object.keys(imported), ['createSubledger']);
  assert.notEqual(required.createSubledger, imported.createSubledger);
  const { import: esm, require: cjs } = manifest.exports['.'];
  for (const path of [esm.default, esm.types, cjs.default, cjs.types, manifest.main, manifest.module, manifest.types]) {
    assert.ok(existsSync(`${home}/${path}`), path);
  }
  assert.ok(existsSync(`${home}/${manifest.miniprogram}/index.js`));
  assert.equal(manifest.dependencies, undefined);
});

test('the types are found by both kinds of modules', () => {
  const tsc = `${home}/node_modules/typescript/bin/tsc`;
  const options = ['--noEmit', '--strict', '--target', 'es2018', '--module', 'nodenext', '--types', ''];
  // Its output is in the error, should it fail.
  execFileSync(process.execPath, [tsc, '--ignoreConfig', ...options, 'tests/consumer.mts', 'tests/consumer.cts'], { cwd: home });
});

test('the CommonJS build needs nothing but wx and setTimeout: no Node, no DOM', async () => {
  const phone = new Device({ TPL_a: 'one' });
  const module = { exports: {} };
  const world = { module, exports: module.exports, wx: phone.launch(), setTimeout: () => {}, sent: [] };
  const run = (code) => vm.runInNewContext(code, world);
  run(readFileSync(`${dist}/cjs/index.js`, 'utf8'));
  run('var subledger = module.exports.createSubledger({ report: (report) => void sent.push(report) })');
  const outcome = await phone.tap(() => run("subledger.ask('pay', { key: true, templates: ['TPL_a'] })"));
  await settled();
  assert.equal(outcome.status, 'asked');
  assert.equal(world.sent.length, 1);
  assert.match(world.sent[0].report_id, /^mp-/);
});

test('no syntax newer than ES2018', () => {
  for (const format of ['cjs', 'esm']) {
    const code = readFileSync(`${dist}/${format}/index.js`, 'utf8');
    const as = (target) => transformSync(code, { target, charset: 'utf8' }).code;
    // Newer syntax would be rewritten for the older target.
    assert.equal(as('es2018'), as('esnext'));
  }
});

test('less than 8 KB, minified, with all its texts', () => {
  const { outputFiles } = buildSync({ ...bundle, format: 'esm', minify: true, write: false });
  const bytes = outputFiles[0].contents.length;
  assert.ok(bytes < 8 * 1024, `${bytes} bytes`);
});

test('the lock file names no registry', () => {
  assert.doesNotMatch(readFileSync(`${home}/package-lock.json`, 'utf8'), /"resolved"|:\/\//);
});
