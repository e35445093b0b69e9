/** Asks Mini Program users for subscription messages and reports every tap to subledger exactly once. */
export { createSubledger } from './subledger';
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
} from './types';
export type { SubscriptionsSetting, WxLike } from './wx';
