/** A process that pulls an image, for tests that kill it: node images-puller.ts DIR REGISTRIES_CONF REFERENCE. */
import { join } from 'node:path';
import pino from 'pino';
import { Registry } from 'prom-client';
import { createImageStore } from '../../runtime/images/index.ts';

const [dir = '', registriesConf = '', reference = ''] = process.argv.slice(2);
const store = await createImageStore({
  root: join(dir, 'root'),
  runRoot: join(dir, 'run'),
  registriesConf,
  containersUsing: async () => [],
  log: pino({ level: 'silent' }),
  metrics: new Registry(),
});
console.log('pulling');
await store.ensure(reference, 'always', new AbortController().signal);
await store.close();
