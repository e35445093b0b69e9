/** Asks Mini Program users for subscription messages and reports every tap to subledger exactly once. */
export { createSubledger } from './subledger.js';
export type {
  Asked,
  AskOutcome,
  AskRequest,
  Choice,
  Direct,
  Failed,
  FailureCode,
  Flushed,
  Hint,
  Options,
  Problem,
  Report,
  ReportFunction,
  Settings,
  Skipped,
  SkipReason,
  Subledger,
  TemplateChoice,
  TemplateSet,
} from './types.js';
export type { SubscriptionsSetting, WxLike } from './wx.js';
