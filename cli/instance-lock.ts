/**
 * One daemon per data dir: an abstract Unix socket (unix(7)), which the kernel frees with the process, however it ends.
 * It also answers who holds it, so that `holdfast down` can end the right process. Effects.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, realpathSync } from 'node:fs';
import { connect, createServer } from 'node:net';

/** Another process works on this data dir. */
export class InstanceRunsError extends Error {
  override readonly name = 'InstanceRunsError';
}

const askDeadlineMs = 5_000;

function addressOf(dataDir: string): string {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  return `\0holdfast-${createHash('sha256').update(realpathSync(dataDir)).digest('hex').slice(0, 32)}`;
}

/** Takes the lock until close() or the end of the process. Throws InstanceRunsError. */
export async function lockInstance(dataDir: string): Promise<{ close(): Promise<void> }> {
  const server = createServer((socket) => {
    socket.on('error', () => {}); // The asker went away; nothing is lost.
    socket.end(String(process.pid));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE')
        reject(
          new InstanceRunsError(
            `another holdfast works on ${dataDir}; stop it first, or give this one a --data-dir of its own`,
            { cause: error },
          ),
        );
      else reject(error);
    });
    server.listen(addressOf(dataDir), resolve);
  });
  server.unref();
  return { close: () => new Promise((resolve) => server.close(() => resolve())) };
}

/** The process id of the daemon that works on this data dir; undefined if none does. At most 5 s. */
export async function findInstance(dataDir: string): Promise<number | undefined> {
  const address = addressOf(dataDir);
  const endMs = Date.now() + askDeadlineMs;
  for (;;) {
    const answer = await ask(address);
    if (answer.kind === 'nobody') return undefined;
    if (answer.kind === 'pid') return answer.pid;
    if (Date.now() > endMs)
      throw new Error(`the daemon of ${dataDir} does not say its process id; look for it with ps`, {
        cause: answer.error,
      });
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

type Answer =
  | { readonly kind: 'nobody' }
  | { readonly kind: 'pid'; readonly pid: number }
  /** It ended while it was asked, or does not answer. */
  | { readonly kind: 'silence'; readonly error: Error };

async function ask(address: string): Promise<Answer> {
  return await new Promise((resolve) => {
    const socket = connect(address);
    let text = '';
    socket.setTimeout(askDeadlineMs, () => socket.destroy(new Error('no answer within 5 s')));
    socket.on('data', (chunk) => {
      text += chunk.toString();
    });
    socket.on('end', () => {
      socket.destroy();
      const pid = Number(text);
      const isPid = Number.isInteger(pid) && pid > 1;
      resolve(isPid ? { kind: 'pid', pid } : { kind: 'silence', error: new Error(`an odd answer: ${text}`) });
    });
    socket.on('error', (error: NodeJS.ErrnoException) =>
      resolve(error.code === 'ECONNREFUSED' ? { kind: 'nobody' } : { kind: 'silence', error }),
    );
  });
}
