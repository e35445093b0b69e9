// A phone with WeChat on it, as far as this package can see: taps, popups, settings, storage, network.
//
// It is stricter than some real clients: a call of requestSubscribeMessage outside the synchronous part of a tap is refused,
// and so is one while a popup is open.

/** Codes and texts of WeChat's page. */
const FAILURES = {
  10001: "TmplIds can't be empty",
  10002: 'Request list fail',
  10003: 'Request subscribe fail',
  10004: 'Invalid template id',
  10005: 'Cannot show subscribe message UI',
  20001: 'No template data return, verify the template id exist',
  20002: 'Templates type must be same',
  20003: 'Templates count out of max bounds',
  20004: 'The main switch is switched off',
  20005: 'This mini program was banned from subscribing messages',
  20013: 'Reject DeviceMsg Template',
};

export class Device {
  /** Survives a restart of the Mini Program. */
  storage = new Map();
  /** What setStorageSync and getStorageSync throw, if anything. */
  storageFault = { get: undefined, set: undefined };
  mainSwitch = true;
  /** "Always keep" choices by template. */
  kept = {};
  /** The templates of the Mini Program: id to { title, kind }. */
  templates = {};
  /** How many ids one call takes. */
  most = 5;
  /** How the user answers a popup: the template's id to a word. */
  user = () => 'accept';
  /** The failure of the next call: an errCode, a text without one, or an error that is thrown. */
  nextFailure;
  /** Popups wait for `answer()` while this is set. */
  hold = false;
  /** Every call of requestSubscribeMessage that came through, and whether a popup showed. */
  calls = [];
  /** Answers a request: { statusCode, data, header }, or throws for a network failure. */
  server = () => ({ statusCode: 200, data: {}, header: {} });
  requests = [];
  settingsReads = 0;

  #inTap = false;
  #open = undefined;
  #listeners = [];

  constructor(templates = {}) {
    for (const [id, kind] of Object.entries(templates)) this.templates[id] = { title: id, kind };
  }

  /** Runs a handler as a tap: what it does synchronously is within the tap, and nothing else. */
  tap(handler) {
    this.#inTap = true;
    try {
      return handler();
    } finally {
      this.#inTap = false;
    }
  }

  /** The user answers the popup that is open. */
  answer() {
    const open = this.#open;
    if (!open) throw new Error('no popup is open');
    open();
  }

  /** The app comes to the foreground. */
  show() {
    for (const listener of this.#listeners) listener({});
  }

  /** A start of the Mini Program: a new `wx` without the listeners of the run before. */
  launch() {
    this.#listeners = [];
    this.#open = undefined;
    return {
      requestSubscribeMessage: (option) => this.#subscribe(option),
      getSetting: ({ withSubscriptions, success }) => {
        this.settingsReads++;
        const said = { authSetting: {}, errMsg: 'getSetting:ok' };
        if (withSubscriptions) {
          said.subscriptionsSetting = { mainSwitch: this.mainSwitch };
          // Without any "always keep" the object is absent.
          if (Object.keys(this.kept).length) said.subscriptionsSetting.itemSettings = { ...this.kept };
        }
        soon(() => success(said));
      },
      request: (option) => this.#request(option),
      getStorageSync: (key) => {
        if (this.storageFault.get) throw this.storageFault.get;
        return this.storage.has(key) ? JSON.parse(this.storage.get(key)) : '';
      },
      setStorageSync: (key, data) => {
        if (this.storageFault.set) throw this.storageFault.set;
        this.storage.set(key, JSON.stringify(data));
      },
      onAppShow: (listener) => this.#listeners.push(listener),
    };
  }

  #subscribe({ tmplIds, success, fail }) {
    const failure = this.#refusal(tmplIds);
    if (failure instanceof Error) throw failure;
    if (failure !== undefined) {
      const coded = typeof failure === 'number';
      const errMsg = `requestSubscribeMessage:fail ${coded ? FAILURES[failure] : failure}`;
      soon(() => fail(coded ? { errMsg, errCode: failure } : { errMsg }));
      return;
    }
    const result = { errMsg: 'requestSubscribeMessage:ok' };
    const titles = new Set();
    let popup = false;
    for (const id of tmplIds) {
      const { title } = this.templates[id];
      if (titles.has(title)) result[id] = 'filter';
      else if (this.kept[id]) result[id] = this.kept[id];
      else popup = true;
      titles.add(title);
    }
    this.calls.push({ tmplIds: [...tmplIds], popup });
    const close = () => {
      this.#open = undefined;
      for (const id of tmplIds) result[id] ??= this.user(id);
      success(result);
    };
    this.#open = close;
    if (!(popup && this.hold)) soon(close);
  }

  #refusal(tmplIds) {
    const next = this.nextFailure;
    this.nextFailure = undefined;
    if (next !== undefined) return next;
    if (!this.#inTap) return 'can only be invoked by user TAP gesture.';
    if (this.#open) return 'last call has not ended';
    if (!tmplIds.length) return 10001;
    if (tmplIds.some((id) => typeof id !== 'string')) return 10004;
    if (tmplIds.length > this.most) return 20003;
    if (tmplIds.some((id) => !this.templates[id])) return 20001;
    if (new Set(tmplIds.map((id) => this.templates[id].kind)).size > 1) return 20002;
    return this.mainSwitch ? undefined : 20004;
  }

  #request({ url, method, data, header, timeout, success, fail }) {
    const request = { url, method, data: data && JSON.parse(JSON.stringify(data)), header, timeout };
    this.requests.push(request);
    soon(async () => {
      try {
        success(await this.server(request));
      } catch (error) {
        fail({ errMsg: `request:fail ${error.message}` });
      }
    });
  }
}

/** A server that keeps the promise of the report id: the same report again changes nothing, another one is refused. */
export class Books {
  grants = 0;
  #seen = new Map();

  take({ report_id, tapped_at, result }) {
    const body = JSON.stringify([tapped_at, result]);
    const before = this.#seen.get(report_id);
    if (before !== undefined) return before === body ? 200 : 409;
    this.#seen.set(report_id, body);
    this.grants += Object.values(result).filter((word) => word.startsWith('accept')).length;
    return 200;
  }
}

/** A clock with its timers: nothing happens before `advance`. */
export class Clock {
  time = Date.parse('2026-03-01T08:00:00Z');
  #timers = [];

  now = () => this.time;
  later = (milliseconds, run) => {
    this.#timers.push({ at: this.time + milliseconds, run });
  };

  /** How many timers are set. */
  get waiting() {
    return this.#timers.length;
  }

  /** Moves on, and lets everything happen that was to happen by then. */
  async advance(milliseconds) {
    await settled();
    const end = this.time + milliseconds;
    for (;;) {
      const due = this.#timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (!due) break;
      this.#timers.splice(this.#timers.indexOf(due), 1);
      this.time = Math.max(this.time, due.at);
      due.run();
      await settled();
    }
    this.time = end;
    await settled();
  }
}

/** Lets everything run that waits for nothing but its turn. */
export const settled = async () => {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
};

const soon = (run) => void Promise.resolve().then(run);
