/** Compiled, never run: the types as an ES module finds them. */
import { createSubledger, type AskOutcome } from '@subledger/miniprogram';

export const asked: Promise<AskOutcome> = createSubledger({ report: () => {} }).ask('pay', { templates: ['TPL_a'] });
