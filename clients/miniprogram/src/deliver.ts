import type { Direct, Problem, Report, ReportFunction } from './types.js';
import type { WxLike } from './wx.js';

/** How long one request may take before it counts as lost. */
const REQUEST_TIMEOUT_MS = 15_000;

/** What became of one attempt. */
export interface Verdict {
  /** After `unsent` and `unauthorized` the same report is sent again: it may or may not have arrived. */
  kind: 'sent' | Extract<Problem['kind'], 'unsent' | 'unauthorized' | 'refused' | 'expired'>;
  statusCode?: number;
  cause?: unknown;
}

/** Makes one attempt. Never rejects. */
export type Deliver = (report: Report) => Promise<Verdict>;

/** Reports through the integrator's own back end. */
export function throughFunction(send: ReportFunction): Deliver {
  return async (report) => {
    try {
      // A promise around `wx.request` resolves with whatever status the server gave; only 2xx means delivered.
      const answer = (await send(report)) as { statusCode?: unknown } | undefined;
      return judge(answer && answer.statusCode, answer) || { kind: 'sent' };
    } catch (cause) {
      const error = (cause || {}) as { statusCode?: unknown; status?: unknown };
      const verdict = judge(error.statusCode || error.status, cause);
      return verdict && verdict.kind !== 'sent' ? verdict : { kind: 'unsent', cause };
    }
  };
}

/** Reports straight to subledger. The token names channel and user; it is kept until the server refuses it. */
export function straight(wx: WxLike, { baseUrl, token }: Direct): Deliver {
  let bearer: string | undefined;

  const post = ({ report_id, tapped_at, result }: Report): Promise<Verdict> =>
    new Promise((resolve) => {
      wx.request!({
        url: baseUrl.replace(/\/+$/, '') + '/api/v1/client-reports',
        method: 'POST',
        // The server knows these fields and refuses others.
        data: { report_id, tapped_at, result },
        header: { authorization: 'Bearer ' + bearer },
        timeout: REQUEST_TIMEOUT_MS,
        success: ({ statusCode, data }) => resolve(judge(statusCode, data) || { kind: 'unsent', cause: data }),
        fail: (cause) => resolve({ kind: 'unsent', cause }),
      });
    });

  return async (report) => {
    try {
      for (let again = 0; ; again++) {
        bearer = bearer || (await token());
        const verdict = await post(report);
        if (verdict.kind !== 'unauthorized') return verdict;
        bearer = undefined;
        if (again) return verdict;
      }
    } catch (cause) {
      return { kind: 'unsent', cause };
    }
  };
}

/** What an HTTP status says about a report; nothing if it is none. */
function judge(status: unknown, cause: unknown): Verdict | undefined {
  if (typeof status !== 'number') return undefined;
  const forGood = status >= 400 && status < 500 && status !== 408 && status !== 429;
  const kind = status === 401 ? 'unauthorized' : forGood ? 'refused' : status >= 200 && status < 300 ? 'sent' : 'unsent';
  return { kind, statusCode: status, cause };
}
