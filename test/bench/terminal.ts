/** Waits for keys to come back, whatever carries them. */

export interface Echo {
  /** Sends a key; resolves when it has come back. */
  next(): Promise<void>;
  /** Output of the terminal. */
  heard(data: Buffer): void;
}

const deadlineMs = 30_000;

export function createEcho(send: (key: Buffer) => void): Echo {
  let waiting: ((data: Buffer) => void) | undefined;
  return {
    heard: (data) => waiting?.(data),
    next: () =>
      new Promise((resolve, reject) => {
        const timer = setTimeout(
          () => reject(new Error(`a key did not come back within ${deadlineMs} ms`)),
          deadlineMs,
        );
        waiting = (data) => {
          if (!data.includes(0x78)) return;
          clearTimeout(timer);
          waiting = undefined;
          resolve();
        };
        send(Buffer.from('x'));
      }),
  };
}
