/** A program for recovery.test.ts: opens a runtime and creates, starts and removes containers until it is killed. */
import { randomBytes } from 'node:crypto';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { createRuntime } from '../../runtime/index.ts';

const [dataDir = '', runDir = '', bridge = '', subnet = '', imageID = ''] = process.argv.slice(2);
const signal = new AbortController().signal;
const log = pino({ level: 'silent' });
const runtime = await createRuntime({
  dataDir,
  runDir,
  bridge,
  subnet,
  log,
  metrics: new Registry(),
  netnsPoolSize: 2,
});
console.log('open');

async function one(): Promise<void> {
  const id = randomBytes(32).toString('hex');
  const shared = {
    labels: {},
    hosts: [],
    env: [],
    ports: [],
    readonlyRootfs: false,
    hostname: 'c',
    name: id.slice(0, 6),
  };
  const limits = { limits: { pids: 50 }, log: { maxSizeBytes: 100_000, maxFiles: 2 } };
  await runtime.containers.create({ ...shared, ...limits, id, imageID, cmd: ['sleep', '1000'] }, signal);
  await runtime.containers.start(id, signal);
  await runtime.containers.signal(id, 9);
  await runtime.containers.start(id, signal);
  if (Number.parseInt(id[0] ?? '0', 16) < 12) await runtime.containers.remove(id);
}

for (;;) await Promise.all([one(), one()]);
