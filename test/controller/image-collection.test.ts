/** What the controller asks the runtime to collect, when, and what it tells of it. */
import assert from 'node:assert/strict';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import {
  defaultCollectionPolicy,
  type ImageCollection,
  type ImageCollectionDeps,
  startImageCollection,
} from '../../controller/image-collection.ts';
import type { CollectionReport } from '../../runtime/index.ts';
import { until } from '../until.ts';
import { object } from './fixtures.ts';

describe('the collection of images by the controller', () => {
  const empty: CollectionReport = {
    removed: [],
    layersRemoved: 0,
    missingBytes: 0,
    capacityBytes: 1_000,
    availableBytes: 500,
  };
  let report: CollectionReport | Error;
  let requests: Parameters<ImageCollectionDeps['images']['collect']>[0][];
  let events: string[];
  let at: number;
  let metrics: Registry;
  let collection: ImageCollection | undefined;

  const start = (change: Partial<ImageCollectionDeps> = {}): ImageCollection => {
    collection = startImageCollection({
      images: {
        async collect(request) {
          requests.push(request);
          if (report instanceof Error) throw report;
          return report;
        },
      },
      policy: defaultCollectionPolicy,
      objects: () => [
        object({ spec: { image: 'web:1', desiredState: 'Stopped' } }),
        object({ spec: { image: 'b', platform: 'linux/arm64' } }),
      ],
      events: {
        record: ({ kind }, type, reason, message) => events.push(`${kind} ${type} ${reason}: ${message}`),
        close: async () => {},
      },
      nodeName: 'host',
      metrics,
      now: () => at,
      log: pino({ level: 'silent' }),
      everyMs: 1e6,
      ...change,
    });
    return collection;
  };
  beforeEach(() => {
    report = empty;
    requests = [];
    events = [];
    at = 0;
    metrics = new Registry();
  });
  afterEach(async () => {
    await collection?.close();
  });

  it('wants the images of all objects, stopped ones too', async () => {
    start({ everyMs: 5 });
    await until(() => requests.length >= 2, 'two collections');
    assert.deepEqual(requests[0], {
      wanted: [
        { reference: 'web:1', platform: undefined },
        { reference: 'b', platform: 'linux/arm64' },
      ],
      policy: { ...defaultCollectionPolicy, isDiskFull: false },
    });
    assert.deepEqual(events, []);
  });
  it('removes nothing while the objects are not known', async () => {
    let asked = 0;
    const objects = (): undefined => {
      asked += 1;
    };
    start({ everyMs: 5, objects });
    await until(() => asked >= 3, 'three looks');
    assert.equal(requests.length, 0);
  });
  it('collects at once when the disk is full, but not for each failed pull', async () => {
    const { diskFull } = start();
    diskFull();
    diskFull();
    await until(() => requests.length === 1, 'a collection');
    at = 9_999;
    diskFull();
    at = 10_000;
    diskFull();
    await until(() => requests.length === 2, 'a second one');
    assert.ok(requests.every(({ policy }) => policy.isDiskFull));
  });
  it('tells what was removed, and once that nothing more can go', async () => {
    const image = { id: 'sha256:1', names: ['a:1'], sizeBytes: 2 ** 20, because: 'space' } as const;
    report = { ...empty, removed: [image], missingBytes: 2 ** 20 };
    const { diskFull } = start();
    for (const round of [1, 2]) {
      at += 10_000;
      diskFull();
      await until(() => events.filter((event) => event.includes('ImageGCSucceeded')).length === round, 'the event');
    }
    assert.equal(events[0], 'Node Normal ImageGCSucceeded: removed 1 unused image (1.0 MiB)');
    assert.equal(
      events.filter((event) => /^Node Warning FreeDiskSpaceFailed: .* 1\.0 MiB more should be free/.test(event)).length,
      1,
    );
    const text = await metrics.metrics();
    assert.match(text, /holdfast_images_removed_total\{reason="space"\} 2/);
    assert.match(text, /holdfast_image_space_missing_bytes 1048576/);
  });
  it('goes on after a failure', async () => {
    report = new Error('storage is locked');
    start({ everyMs: 5 });
    await until(() => requests.length >= 2, 'it to be tried again');
    assert.match(await metrics.metrics(), /holdfast_image_collection_errors_total [1-9]/);
  });
});
