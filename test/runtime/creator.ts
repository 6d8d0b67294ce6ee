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
  const mount = { isReadOnly: false, copiesUp: true };
  const volumes = {
    volumes: [
      { name: 'own', source: { kind: 'own', mode: 0o777 } },
      { name: 'memory', source: { kind: 'memory' } },
      { name: 'files', source: { kind: 'files' } },
      { name: 'shared', source: { kind: 'named', name: 'shared' } },
    ],
    mounts: [
      { ...mount, volume: 'own', path: '/etc' },
      { ...mount, volume: 'memory', path: '/memory' },
      { ...mount, volume: 'files', path: '/files' },
      { ...mount, volume: 'shared', path: '/bin' },
      { ...mount, volume: 'shared', path: '/part', subPath: `part/${id}` },
    ],
    files: { files: [{ path: 'deep/file', dataBase64: '', mode: 0o644 }] },
  } as const;
  await runtime.containers.create({ ...shared, ...limits, ...volumes, id, imageID, cmd: ['sleep', '1000'] }, signal);
  await runtime.containers.start(id, signal);
  await runtime.containers.signal(id, 9);
  await runtime.containers.start(id, signal);
  if (Number.parseInt(id[0] ?? '0', 16) < 12) await runtime.containers.remove(id);
}

for (;;) await Promise.all([one(), one()]);
