/** A program for sessions-killed.test.ts: opens a runtime and sessions of every kind, and waits to be killed. */
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { createRuntime } from '../../runtime/index.ts';

const [dataDir = '', runDir = '', bridge = '', subnet = '', running = '', ended = '', marker = ''] =
  process.argv.slice(2);
const signal = new AbortController().signal;
const log = pino({ level: 'silent' });
const deps = { dataDir, runDir, bridge, subnet, log, metrics: new Registry(), netnsPoolSize: 2 };
const { containers } = await createRuntime(deps);
const request = { args: ['sleep', marker], hasStdin: true };
const attached = await containers.attach(running, { hasStdin: true }, signal);
attached.stdin?.write('of the first daemon\n');
await Promise.all([
  containers.exec(running, { ...request, hasTerminal: false }, signal),
  containers.exec(running, { ...request, hasTerminal: true }, signal),
  containers.debug(ended, { ...request, hasTerminal: false }, signal),
  containers.debug(ended, { ...request, hasTerminal: true }, signal),
  containers.readArchive(running, '/big', signal),
  containers.readArchive(ended, '/', signal),
  containers.dial(running, 80, signal),
]);
console.log('open');
// Others that are just beginning when it is killed.
for (;;) {
  await Promise.all([
    containers.exec(running, { ...request, hasTerminal: true }, signal),
    containers.debug(ended, { ...request, hasTerminal: false }, signal),
  ]);
}
