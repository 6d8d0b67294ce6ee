/**
 * Work on a database in a process of its own, to be killed in the middle; started by killed-work.test.ts with what to do,
 * the database, and for a restoration the backup. Each step that is done is told in a line. Effects.
 */
import { readFileSync } from 'node:fs';
import { BackupReader } from '../../store/backup-format.ts';
import { openDatabase } from '../../store/database.ts';
import { restoreBackup } from '../../store/restore.ts';

const [work = '', path = '', backup = ''] = process.argv.slice(2);
const say = (line: string): void => void process.stdout.write(`${line}\n`);

switch (work) {
  case 'compact': {
    const database = openDatabase(path);
    say('begun');
    let revision = Math.max(...database.loadRevisions().values());
    for (;;) {
      database.giveBack(16);
      const json = JSON.stringify({ value: ++revision });
      database.commit([{ storageKey: 'configmaps', key: 'default/counter', revision, json }]);
      say(String(revision));
      if (database.sizes().freeBytes < 200_000) break;
    }
    database.close();
    say('done');
    break;
  }
  case 'restore': {
    const reader = new BackupReader();
    for (const line of readFileSync(backup, 'utf8').trimEnd().split('\n')) reader.line(line);
    const whole = reader.finish();
    say('begun');
    restoreBackup(path, whole, 0);
    say('done');
    break;
  }
  default:
    throw new TypeError(`there is no ${work}`);
}
