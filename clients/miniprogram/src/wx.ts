/**
 * The part of `wx` that this package uses, in types of its own: whoever uses the package needs no typings package, and
 * tests need no more than this to fake. `tests/typings.check.ts` compares it with the official typings.
 *
 * Everything is optional, because base libraries differ in what they have.
 */
export interface WxLike {
  requestSubscribeMessage?: (option: {
    tmplIds: string[];
    success: (result: Record<string, unknown>) => void;
    fail: (error: { errCode?: number; errMsg?: string }) => void;
  }) => unknown;
  getSetting?: (option: {
    withSubscriptions: boolean;
    success: (result: { subscriptionsSetting?: SubscriptionsSetting }) => void;
    fail: (error: unknown) => void;
  }) => unknown;
  request?: (option: {
    url: string;
    method: 'POST';
    data: object;
    header: Record<string, string>;
    timeout: number;
    success: (answer: { statusCode: number; header?: Record<string, unknown>; data?: unknown }) => void;
    fail: (error: { errMsg?: string }) => void;
  }) => unknown;
  getStorageSync?: (key: string) => unknown;
  setStorageSync?: (key: string, data: unknown) => unknown;
  onAppShow?: (listener: () => void) => unknown;
}

/** What `wx.getSetting({ withSubscriptions: true })` says. `itemSettings` lists "always keep" choices only. */
export interface SubscriptionsSetting {
  mainSwitch: boolean;
  itemSettings?: Record<string, unknown>;
}
