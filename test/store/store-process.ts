/** Runs a store in a process of its own until it is killed; started by crash.test.ts with the data directory. */

import { Registry } from 'prom-client';
import { crdFiles } from '../../crds/index.ts';
import { createStore } from '../../store/index.ts';
import { silent } from './fixture.ts';

const [dataDir = ''] = process.argv.slice(2);
const listen = { host: '127.0.0.1', port: 0 };
const store = await createStore({ dataDir, listen, crdFiles, log: silent, metrics: new Registry() });
const { url, caCertificate, adminToken } = store;
process.stdout.write(`${JSON.stringify({ url, caCertificate, adminToken })}\n`);
