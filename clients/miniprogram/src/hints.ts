import type { Choice, FailureCode, Hint, Problem, SkipReason } from './types.js';

const hintFor =
  (who: Hint['who']) =>
  (zh: string, en: string): Hint => ({ who, zh, en });
const user = hintFor('user');
const developer = hintFor('developer');
const nobody = hintFor('nobody');

const SWITCHED_OFF = user('订阅消息已关闭，请在小程序设置中打开', 'Messages are off: turn them on in the settings');

/** Failures, and how to know them: by the `errCode` of WeChat's page, or by a text where there is no number. */
const FAILURES: [FailureCode, Hint, ...(number | RegExp)[]][] = [
  ['no_templates', developer('没有模板 id', 'No template ids'), 10001],
  ['network', user('网络不佳，请稍后再点', 'Network trouble: tap again later'), 10002, 10003],
  ['bad_template_id', developer('模板 id 须为字符串', 'Template ids must be strings'), 10004],
  ['in_background', nobody('小程序已到后台，下次再问', 'In the background: ask at the next tap'), 10005],
  ['unknown_template', developer('模板不存在或类型不符', 'No such template, or another kind'), 20001],
  ['mixed_kinds', developer('长期模板须放 longTerm', 'Long-term ids go in longTerm'), 20002],
  ['too_many_templates', developer('请调小 maxTemplatesPerCall', 'Lower maxTemplatesPerCall'), 20003],
  ['main_switch_off', SWITCHED_OFF, 20004],
  ['banned', developer('小程序被封禁，请查公众平台', 'Banned by WeChat: see its console'), 20005],
  ['device_template', developer('设备消息模板须用另一接口', 'For wx.requestSubscribeDeviceMessage'), 20013],
  ['not_a_tap', developer('须在点击中先调用 ask，之前不可异步', 'Call ask first in the tap, no async before'), /tap gesture/i],
  ['busy', nobody('上次询问未结束', 'Still asking'), /last call/i],
  ['unsupported', user('微信版本过低，请升级', 'Please update WeChat'), /not support/i],
  ['unknown', developer('未知错误，见 errMsg', 'Unknown: see errMsg')],
];

export const SKIPS: Record<SkipReason, Hint> = {
  not_kept: nobody('未勾选“总是保持”，不打扰', 'No "always keep": left to key actions'),
  main_switch_off: SWITCHED_OFF,
  settings_unknown: nobody('尚未读到设置，这次不问', 'Settings not read yet: not asked'),
};

export const CHOICES: Record<Exclude<Choice, 'accept'>, Hint> = {
  reject: user('未允许，可在小程序设置中修改', 'Not allowed; the settings can change it'),
  ban: developer('模板被封禁，请查公众平台', 'Template banned: see the console'),
  filter: developer('同名模板请分开询问', 'Same title as another: ask apart'),
  unknown: developer('未知结果，未上报，请升级', 'Unknown word, not reported: update'),
};

export const PROBLEMS: Record<Problem['kind'], Hint> = {
  unsent: nobody('未送达，稍后重试', 'Not delivered: will retry'),
  unauthorized: developer('用户令牌被拒，请检查签发', 'User token refused: check its issuer'),
  refused: developer('被拒并丢弃，见 cause', 'Refused and dropped: see cause'),
  expired: developer('过期丢弃', 'Dropped: too old to retry'),
  full: developer('积压过多，丢弃最早一条', 'Too many waiting: oldest dropped'),
  storage: developer('存储失败，暂存内存', 'Storage failed: in memory only'),
  unknown_result: CHOICES.unknown,
};

export const hintOf = (code: FailureCode): Hint => FAILURES.find((row) => row[0] === code)![1];

/** WeChat's failure as one of ours. */
export function failureOf(errCode: unknown, errMsg: string): FailureCode {
  const known = FAILURES.find((row) =>
    row.some((sign) => (sign instanceof RegExp ? sign.test(errMsg) : sign === errCode)),
  );
  return known ? known[0] : 'unknown';
}

/** The choice that WeChat's word stands for. Every `accept…` is a grant. */
export function choiceOf(word = ''): Choice {
  // Words of more than 32 letters are refused by the server, and with them the whole report.
  const known = /^(?:(accept).{0,26}|reject|ban|filter)$/.exec(word);
  return known ? ((known[1] || word) as Choice) : 'unknown';
}
