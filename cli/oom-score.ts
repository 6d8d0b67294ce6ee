/**
 * The daemon is among the last that the kernel kills when memory runs out, so that somebody is left to start the rest
 * again; monitors protect themselves, and containers get a value of their own. As dockerd's and the kubelet's. Effects.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import type { Logger } from 'pino';

/** That of deploy/systemd/holdfast.service, for a daemon that was started by hand. The kubelet's is -999. */
const score = -900;
const file = '/proc/self/oom_score_adj';

/** What is lower already stays. Where it may not be set, that is logged. */
export function lowerOomScore(log: Logger): void {
  try {
    if (Number(readFileSync(file, 'latin1')) > score) writeFileSync(file, String(score));
  } catch (error) {
    log.warn({ err: error }, 'the daemon may be killed before its containers when memory runs out');
  }
}
