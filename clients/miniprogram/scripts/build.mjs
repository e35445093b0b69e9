// Builds dist: one file for each module system, types beside both, and nothing else.
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildSync } from 'esbuild';
import { bundle, dist, home } from './bundle.mjs';

rmSync(dist, { recursive: true, force: true });
for (const format of ['cjs', 'esm']) {
  const folder = join(dist, format);
  buildSync({ ...bundle, format, outfile: join(folder, 'index.js') });
  const tsc = join(home, 'node_modules/typescript/bin/tsc');
  execFileSync(process.execPath, [tsc, '--emitDeclarationOnly', '--outDir', folder], { cwd: home, stdio: 'inherit' });
}
writeFileSync(join(dist, 'esm/package.json'), '{ "type": "module" }\n');
for (const licence of ['LICENSE-MIT', 'LICENSE-APACHE']) {
  const text = join(home, '../..', licence);
  if (existsSync(text)) cpSync(text, join(dist, licence));
}
