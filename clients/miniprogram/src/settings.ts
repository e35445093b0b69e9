import type { Settings } from './types.js';
import type { WxLike } from './wx.js';

export interface KeptChoices {
  /** As last read. */
  latest(): Settings | undefined;
  /** Reads them again. `undefined` if they cannot be read. */
  refresh(): Promise<Settings | undefined>;
}

/**
 * The user's "always keep" choices, read ahead of the tap.
 *
 * `wx.getSetting` answers later, and `wx.requestSubscribeMessage` must run within the tap: whoever waits for the one before
 * the other gets "can only be invoked by user TAP gesture" from clients that lose the tap on the way. So settings are read
 * when the app shows and after every popup, and a tap looks at what was read last. That may be a little old; the worst
 * case is one popup too many, or one silent grant too few.
 */
export function keptChoices(wx: WxLike): KeptChoices {
  let latest: Settings | undefined;
  let readings = 0;

  const refresh = (): Promise<Settings | undefined> =>
    new Promise((resolve) => {
      const reading = ++readings;
      const fail = (): void => resolve(undefined);
      if (!wx.getSetting) return fail();
      wx.getSetting({
        withSubscriptions: true,
        success: ({ subscriptionsSetting: said }) => {
          // Base libraries before 2.10.1 answer without it.
          if (!said) return fail();
          const kept: Record<string, string> = {};
          for (const [template, word] of Object.entries(said.itemSettings || {})) kept[template] = String(word);
          const settings = { mainSwitch: said.mainSwitch, kept };
          // Answers may overtake each other; an older reading never replaces a newer one.
          if (reading === readings) latest = settings;
          resolve(settings);
        },
        fail,
      });
    });

  return { latest: () => latest, refresh };
}
