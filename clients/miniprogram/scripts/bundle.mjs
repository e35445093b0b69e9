// How the package is bundled; the size test asks for the same.
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const home = dirname(dirname(fileURLToPath(import.meta.url)));
export const dist = join(home, 'dist');

export const bundle = {
  absWorkingDir: home,
  entryPoints: ['src/index.ts'],
  bundle: true,
  platform: 'neutral',
  // What Mini Programs run without being translated first.
  target: 'es2018',
  // Chinese as it is written; escaped it would be twice as long.
  charset: 'utf8',
};
