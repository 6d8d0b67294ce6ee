/** Requests that come before the first list of the objects is in wait for it: else nothing would seem to be there. Effects. */
import { within } from './deadline.ts';
import type { Route } from './route.ts';

const syncDeadlineMs = 20_000;
/** What a client asks to find out whether anybody is there. */
const always: ReadonlySet<string> = new Set(['/_ping', '/version']);

export function afterSync(routes: readonly Route[], synced: Promise<void>): readonly Route[] {
  let isSynced = false;
  void synced.then(() => {
    isSynced = true;
  });
  const wait = (ending: AbortSignal): Promise<void> =>
    new Promise((resolve, reject) => {
      void synced.then(resolve);
      ending.addEventListener('abort', () => reject(ending.reason), { once: true });
    });
  return routes.map((route) =>
    always.has(route.path)
      ? route
      : {
          ...route,
          handle: async (call) => {
            const { signal } = call;
            const what = 'the API server has not told of the containers';
            if (!isSynced) await within({ signal, ms: syncDeadlineMs, what }, wait);
            await route.handle(call);
          },
        },
  );
}
