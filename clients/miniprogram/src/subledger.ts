import { straight, throughFunction } from './deliver.js';
import { CHOICES, choiceOf, failureOf, hintOf, PROBLEMS, SKIPS } from './hints.js';
import { openOutbox } from './outbox.js';
import { sender } from './sender.js';
import { keptChoices } from './settings.js';
import type {
  Asked,
  AskOutcome,
  AskRequest,
  Failed,
  FailureCode,
  Options,
  Problem,
  Report,
  SkipReason,
  Subledger,
  TemplateChoice,
} from './types.js';
import type { WxLike } from './wx.js';

// What every Mini Program has besides `wx`; there are no DOM and no Node typings here to name it.
declare const wx: WxLike;
declare const console: { warn(...what: unknown[]): void };
declare function setTimeout(run: () => void, milliseconds: number): unknown;

/** As many templates as the server takes in one report. */
const MOST_TEMPLATES = 20;

type Remaining = { templates: string[]; longTerm: string[] };

/**
 * Makes the one helper of a Mini Program. Call it once, in `app.js` or a module of its own: it reads the user's settings
 * and sends what an earlier run left unsent, now and whenever the app shows.
 */
export function createSubledger(options: Options): Subledger {
  const host: WxLike = options.wx || (typeof wx === 'undefined' ? {} : wx);
  const most = options.maxTemplatesPerCall === undefined ? 3 : options.maxTemplatesPerCall;
  if (!(most >= 1 && most <= MOST_TEMPLATES && most % 1 === 0)) {
    throw new RangeError(`maxTemplatesPerCall: 1 to ${MOST_TEMPLATES}`);
  }
  const report = options.report;
  if (typeof report !== 'function' && !(report && report.baseUrl && typeof report.token === 'function')) {
    throw new TypeError('report: a function or { baseUrl, token }');
  }
  const now = options.now || Date.now;
  const newId = options.newId || ((): string => randomId(now()));
  const onError = options.onError || ((problem: Problem): void => console.warn('subledger', problem));

  const tell = (problem: Omit<Problem, 'hint'>): void => {
    try {
      onError({ hint: PROBLEMS[problem.kind], ...problem });
    } catch (_) {
      // A listener that throws must not cost a report.
    }
  };
  const kept = keptChoices(host);
  const outbox = openOutbox(host, options.storageKey || 'subledger.reports', (cause) =>
    tell({ kind: 'storage', cause }),
  );
  const flush = sender({
    outbox,
    deliver: typeof report === 'function' ? throughFunction(report) : straight(host, report),
    now,
    later: options.later || ((milliseconds, run) => setTimeout(run, milliseconds)),
    tell,
  });

  /** Notes the choices of one call and sends them. */
  function taken(action: string, group: string[], said: Record<string, unknown>, remaining: Remaining): Asked {
    const choices = group.map((template): TemplateChoice => {
      const word = String(said[template] || '');
      const choice = choiceOf(word);
      return choice === 'accept' ? { template, choice, word } : { template, choice, word, hint: CHOICES[choice] };
    });
    const accepted = choices.filter(({ choice }) => choice === 'accept').map(({ template }) => template);
    const asked: Asked = { status: 'asked', action, choices, accepted, remaining };
    // Words that the server does not know would make it refuse the whole report, and the grants in it.
    const known = choices.filter(({ choice }) => choice !== 'unknown');
    if (known.length < choices.length) tell({ kind: 'unknown_result', cause: said });
    if (known.length) {
      const result: Record<string, string> = { errMsg: String(said.errMsg) };
      for (const { template, word } of known) result[template] = word;
      // The user chose just now; the popup may have stood open for a while since the tap.
      const report: Report = { report_id: newId(), tapped_at: new Date(now()).toISOString(), result, action };
      if (options.channel) report.channel = options.channel;
      const dropped = outbox.add(report);
      if (dropped) tell({ kind: 'full', report: dropped });
      asked.reportId = report.report_id;
      void flush();
    }
    return asked;
  }

  /** Up to and including `requestSubscribeMessage` this must run synchronously: an `await` may end the tap. */
  const ask = (action: string, request: AskRequest): Promise<AskOutcome> =>
    new Promise((resolve) => {
      let wanted = set(unique(request.templates), unique(request.longTerm));
      const fail = (code: FailureCode, errMsg = '', errCode?: unknown): void => {
        const failed: Failed = { status: 'failed', action, code, errMsg, hint: hintOf(code), remaining: wanted };
        if (typeof errCode === 'number') failed.errCode = errCode;
        resolve(failed);
      };
      const skip = (reason: SkipReason): void =>
        resolve({ status: 'skipped', action, reason, hint: SKIPS[reason], remaining: set([], []) });

      const everything = wanted.templates.concat(wanted.longTerm);
      if (!everything.length) return fail('no_templates');
      if (everything.some((id) => typeof id !== 'string' || !id)) return fail('bad_template_id');
      if (!host.requestSubscribeMessage) return fail('unsupported');

      if (!request.key) {
        const settings = kept.latest();
        if (!settings) {
          void kept.refresh();
          return skip('settings_unknown');
        }
        if (!settings.mainSwitch) return skip('main_switch_off');
        const silent = (template: string): boolean => choiceOf(settings.kept[template]) === 'accept';
        wanted = set(wanted.templates.filter(silent), wanted.longTerm.filter(silent));
        if (!everything.some(silent)) return skip('not_kept');
      }

      // One call a tap: WeChat refuses a second one while the first is open, and the end of the first is no tap. One kind
      // a call, and one-time templates first: a call without them buys nothing that is counted.
      const { templates, longTerm } = wanted;
      const group = (templates.length ? templates : longTerm).slice(0, most);
      const rest = (ids: string[]): string[] => ids.filter((id) => group.indexOf(id) < 0);
      const remaining = set(rest(templates), rest(longTerm));
      const refused = ({ errMsg, errCode }: { errMsg?: unknown; errCode?: unknown }): void =>
        fail(failureOf(errCode, String(errMsg)), String(errMsg), errCode);
      try {
        host.requestSubscribeMessage({
          tmplIds: group,
          success: (said) => {
            // Some clients report a failure here.
            if (said.errCode) refused(said);
            else resolve(taken(action, group, said, remaining));
            // The popup is where "always keep" is ticked.
            void kept.refresh();
          },
          fail: refused,
        });
      } catch (error) {
        refused({ errMsg: error });
      }
    });

  const shown = (): void => {
    void kept.refresh();
    void flush();
  };
  if (host.onAppShow) host.onAppShow(shown);
  shown();

  return {
    ask,
    flush,
    refreshSettings: kept.refresh,
    settings: kept.latest,
    pending: () => outbox.entries().map((entry) => entry.report),
  };
}

const set = (templates: string[], longTerm: string[]): Remaining => ({ templates, longTerm });

const unique = (ids: readonly string[] = []): string[] => ids.filter((id, index) => ids.indexOf(id) === index);

/** The time keeps the ids of one device apart for ever, the random part (some 100 bits) those of all devices. */
function randomId(time: number): string {
  const random = (): string => Math.random().toString(36).slice(2);
  return `mp-${time.toString(36)}-${random()}${random()}`;
}
