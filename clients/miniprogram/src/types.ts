import type { WxLike } from './wx.js';

/** A text for people, and who can do something about it. */
export interface Hint {
  /** `user`: show it. `developer`: log it. `nobody`: nothing has to be done. */
  who: 'user' | 'developer' | 'nobody';
  zh: string;
  en: string;
}

/** Template ids by kind. WeChat refuses a call that mixes the two kinds, so they are listed apart. */
export interface TemplateSet {
  /** One-time templates (`type` 2): each accepted call buys one message. */
  templates: readonly string[];
  /** Long-term templates (`type` 3): one consent, many messages. */
  longTerm?: readonly string[];
}

/** What to ask for. */
export interface AskRequest extends TemplateSet {
  /** A key action always asks. Elsewhere only templates are asked for whose "always keep: accept" the user ticked. */
  key?: boolean;
}

/** What the user chose. `unknown` is a word that this version does not know; it is not reported. */
export type Choice = 'accept' | 'reject' | 'ban' | 'filter' | 'unknown';

/** The choice for one template. */
export interface TemplateChoice {
  template: string;
  choice: Choice;
  /** WeChat's own word, such as `acceptWithAlert`; empty if it gave none. */
  word: string;
  /** What it means and what to do, for everything but an accept. */
  hint?: Hint;
}

/** Why WeChat did not ask. */
export type FailureCode =
  | 'no_templates'
  | 'network'
  | 'bad_template_id'
  | 'in_background'
  | 'unknown_template'
  | 'mixed_kinds'
  | 'too_many_templates'
  | 'main_switch_off'
  | 'banned'
  | 'device_template'
  | 'not_a_tap'
  | 'busy'
  | 'unsupported'
  | 'unknown';

/** Why the user was left in peace. */
export type SkipReason = 'not_kept' | 'main_switch_off' | 'settings_unknown';

/** What became of one `ask`. */
export type AskOutcome = Asked | Skipped | Failed;

/** The user was asked, or answered by "always keep". */
export interface Asked {
  status: 'asked';
  action: string;
  choices: TemplateChoice[];
  /** The templates that were accepted: each is one grant. */
  accepted: string[];
  /** The report's id; absent if there was nothing to report. */
  reportId?: string;
  /** What did not fit into this call: for the next tap. */
  remaining: Required<TemplateSet>;
}

/** Nothing was asked, on purpose. */
export interface Skipped {
  status: 'skipped';
  action: string;
  reason: SkipReason;
  hint: Hint;
  remaining: Required<TemplateSet>;
}

/** WeChat could not ask. It says nothing about permissions, so nothing is reported. */
export interface Failed {
  status: 'failed';
  action: string;
  code: FailureCode;
  /** WeChat's number, if it gave one. */
  errCode?: number;
  /** WeChat's text, verbatim; empty if it was not WeChat that refused. */
  errMsg: string;
  hint: Hint;
  /** Everything that would have been asked for. */
  remaining: Required<TemplateSet>;
}

/** A report of one call of `wx.requestSubscribeMessage`. */
export interface Report {
  /** Made once per call and kept over all retries: the server counts an id once. */
  report_id: string;
  /** When the user chose, by this device's clock (RFC 3339, UTC). */
  tapped_at: string;
  /** The result object: `errMsg` and one word per template. */
  result: Record<string, string>;
  /** The action that was named in `ask`; for your back end, subledger does not take it. */
  action: string;
  /** The channel that was set, to build the address from. */
  channel?: string;
}

/** Hands a report to your own back end. Resolve when it is delivered; see the README for what a failure means. */
export type ReportFunction = (report: Report) => unknown;

/** Posts reports straight to subledger. */
export interface Direct {
  /** Where subledger answers, such as `https://push.example.com`; a domain allowed for `wx.request`. */
  baseUrl: string;
  /** Fetches a short-lived signed user token from your back end. Called anew after a 401. */
  token: () => Promise<string>;
}

/** Something the developer should hear about; see `Options.onError`. */
export interface Problem {
  kind:
    /** Not delivered this time; it stays in the queue. */
    | 'unsent'
    /** The same, and a fresh user token was refused too. */
    | 'unauthorized'
    /** Refused for good and dropped. */
    | 'refused'
    /** Dropped: tried too long ago to be tried again without a risk of counting twice. */
    | 'expired'
    /** Dropped: the queue is full. */
    | 'full'
    /** Storage failed; reports are kept in memory. */
    | 'storage'
    /** WeChat answered with words this version does not know. */
    | 'unknown_result';
  hint: Hint;
  /** The report concerned. */
  report?: Report;
  /** The HTTP status, if there was one. */
  statusCode?: number;
  /** The error or answer behind it. */
  cause?: unknown;
}

/** What came of a `flush`. */
export interface Flushed {
  sent: number;
  dropped: number;
  /** Reports still in the queue. */
  waiting: number;
}

/** What the user's settings say, as far as they were read. */
export interface Settings {
  mainSwitch: boolean;
  /** WeChat's word by template, for templates with "always keep" ticked only. */
  kept: Record<string, string>;
}

export interface Options {
  /** The channel's code; handed to your report function and not used otherwise. */
  channel?: string;
  report: ReportFunction | Direct;
  /** How many ids WeChat's client takes in one call: 3 with older clients, 5 with current ones. Default 3. */
  maxTemplatesPerCall?: number;
  /** Where unsent reports are kept. Default `subledger.reports`. */
  storageKey?: string;
  /** Default: the global `wx`. */
  wx?: WxLike;
  /** Milliseconds since 1970. Default `Date.now`. */
  now?: () => number;
  /** A new report id: 1 to 128 printable ASCII characters, unique for ever. Default: time and 104 random bits. */
  newId?: () => string;
  /** Runs something later. Default `setTimeout`. */
  later?: (milliseconds: number, run: () => void) => unknown;
  /** Hears of reports that are not delivered. Default: `console.warn`. */
  onError?: (problem: Problem) => void;
}

export interface Subledger {
  /** Asks for permissions. Call it from a tap handler, before anything asynchronous. Never rejects. */
  ask(action: string, request: AskRequest): Promise<AskOutcome>;
  /** Sends what is unsent, unless a failure was so recent that it has to wait. */
  flush(): Promise<Flushed>;
  /** Reads the user's settings again. Call it when a page shows. `undefined` if they cannot be read. */
  refreshSettings(): Promise<Settings | undefined>;
  /** The settings as last read. */
  settings(): Settings | undefined;
  /** The reports not delivered yet. */
  pending(): Report[];
}
