/**
 * Runs a store in a process of its own until it is killed; started by kill-rig.ts with the data directory. It says when its
 * modules are loaded, and opens the store when a line comes in, so that a test need not wait for them.
 */
import { once } from 'node:events';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { crdFiles } from '../../crds/index.ts';
import { createStore } from '../../store/index.ts';

const [dataDir = ''] = process.argv.slice(2);
const log = pino({ level: 'silent' });
const listen = { host: '127.0.0.1', port: 0 };
process.stdout.write('loaded\n');
await once(process.stdin, 'data');
process.stdin.on('end', () => process.exit()); // whoever started it is gone
const store = await createStore({ dataDir, listen, crdFiles, log, metrics: new Registry() });
const { url, caCertificate, adminToken } = store;
process.stdout.write(`${JSON.stringify({ url, caCertificate, adminToken })}\n`);
