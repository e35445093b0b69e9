/** Compiled, never run: the official typings and ours agree, and the package is used as its README says. */
import { createSubledger, type Report, type WxLike } from '../src/index.js';

// What Tencent says `wx` is can stand for what this package expects.
const host: WxLike = wx;

const app = createSubledger({
  channel: 'wechatmp123',
  wx,
  maxTemplatesPerCall: 5,
  report: (report: Report) =>
    new Promise((resolve, reject) => {
      wx.request({ url: 'https://shop.example.com/taps', method: 'POST', data: report, success: resolve, fail: reject });
    }),
  onError: (problem) => console.warn(problem.kind, problem.hint.zh),
});

Page({
  onShow() {
    void app.refreshSettings();
  },
  async onPay() {
    const outcome = await app.ask('pay', { key: true, templates: ['TPL_a'], longTerm: ['TPL_b'] });
    if (outcome.status === 'failed' && outcome.hint.who === 'user') {
      await wx.showToast({ title: outcome.hint.zh, icon: 'none' });
    }
    // What was left over can be asked for as it is.
    if (outcome.remaining.templates.length) void app.ask('pay again', { key: true, ...outcome.remaining });
  },
});

createSubledger({ wx: host, report: { baseUrl: 'https://push.example.com', token: async () => 'token' } });

// @ts-expect-error A report function or { baseUrl, token } is needed.
createSubledger({ wx });
// @ts-expect-error Templates are strings.
void app.ask('pay', { templates: [1] });
