/** The streams of containers as the store asks for them, over a runtime that is written down here. */
import assert from 'node:assert/strict';
import { buffer } from 'node:stream/consumers';
import { createStreamSource } from '../../cli/stream-source.ts';
import { labelKeys } from '../../controller/index.ts';
import { containerIDOf } from '../../crds/index.ts';
import type { Runtime } from '../../runtime/index.ts';
import type { StreamTarget } from '../../store/index.ts';

describe('the log of a previous run', () => {
  it('is closed when its reader has enough before it ends', async () => {
    const object = {
      apiVersion: 'holdfast.dev/v1',
      kind: 'Container',
      metadata: {
        ...{ name: 'web', namespace: 'default', uid: 'u-1', resourceVersion: '1' },
        ...{ creationTimestamp: '2026-01-01T00:00:00Z', generation: 1 },
      },
    };
    const target: StreamTarget = { namespace: 'default', name: 'web', uid: 'u-1', object, latest: async () => object };
    let isOpen = false;
    const runtime = {
      containers: {
        inspect: async (id: string) =>
          id === containerIDOf(object) ? { id, labels: { [labelKeys.uid]: 'u-1' } } : undefined,
        async *log() {
          isOpen = true;
          try {
            for (;;) yield { time: '2026-01-01T00:00:00Z', stream: 'stdout', data: Buffer.from('a line\n') };
          } finally {
            isOpen = false;
          }
        },
      },
    };
    // No more of a runtime is asked for.
    const source = createStreamSource(runtime as unknown as Runtime);
    const options = {
      ...{ container: undefined, follow: false, previous: true, timestamps: false, stream: 'All' as const },
      ...{ tailLines: undefined, sinceSeconds: undefined, sinceTime: undefined, limitBytes: 10 },
    };
    const log = await source.log(target, options, new AbortController().signal);
    assert.equal(isOpen, true);
    assert.equal((await buffer(log)).toString(), 'a line\na l');
    assert.equal(isOpen, false);
  });
});
