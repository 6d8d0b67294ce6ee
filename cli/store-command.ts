/**
 * `holdfast store backup`, `restore`, `check` and `rotate-key`: beside a store that runs, or on its data dir while none does.
 * Effects.
 */
import { createReadStream, existsSync } from 'node:fs';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { Readable } from 'node:stream';
import {
  addKey,
  askStore,
  type Backup,
  BackupError,
  BackupReader,
  checkBackup,
  checkOffline,
  DatabaseOpenError,
  databasePathOf,
  MaintenanceError,
  PkiError,
  type Report,
  readKeyRing,
  readOffline,
  restoreBackup,
  textOf,
  writeHostKubeconfig,
} from '../store/index.ts';
import type { Config } from './config.ts';
import { lockInstance } from './instance-lock.ts';
import { type StoreCommand, StoreCommandError } from './store-args.ts';

export interface StoreCommandDeps {
  readonly config: Pick<Config, 'dataDir' | 'secretsKeyFile'>;
  readonly stdin: Readable;
  readonly stdout: NodeJS.WritableStream;
  /** To people: not where a backup may go. */
  readonly say: (line: string) => void;
}

/** Returns the exit code. Throws StoreCommandError, InstanceRunsError, and what the disk throws. */
export async function runStoreCommand(command: StoreCommand, deps: StoreCommandDeps): Promise<number> {
  try {
    return await carryOut(command, deps);
  } catch (error) {
    if (![MaintenanceError, BackupError, DatabaseOpenError].some((known) => error instanceof known)) throw error;
    throw new StoreCommandError(`holdfast store ${command.kind}: ${error instanceof Error ? error.message : ''}`, {
      cause: error,
    });
  }
}

async function carryOut(command: StoreCommand, deps: StoreCommandDeps): Promise<number> {
  switch (command.kind) {
    case 'backup':
      return await backUp(command, deps);
    case 'restore':
      return await restore(command.file, deps);
    case 'check':
      return tell(await check(command.file, deps), deps.say);
    case 'host-kubeconfig':
      deps.say(await writeHostKubeconfigOf(command, deps));
      return 0;
    case 'rotate-key':
      return await rotateKey(deps);
    default:
      throw new TypeError(`unknown command: ${JSON.stringify(command satisfies never)}`);
  }
}

/** Beside a store that runs, or while none does: it reads the authority's key, and the daemon renews the file. */
async function writeHostKubeconfigOf(
  { host, server }: Extract<StoreCommand, { kind: 'host-kubeconfig' }>,
  { config }: StoreCommandDeps,
): Promise<string> {
  try {
    return await writeHostKubeconfig(config.dataDir, { host, url: server, nowMs: Date.now() });
  } catch (error) {
    if (!(error instanceof PkiError)) throw error;
    throw new StoreCommandError(`holdfast store host-kubeconfig: ${error.message}`, { cause: error });
  }
}

const databaseOf = ({ config }: StoreCommandDeps): string => databasePathOf(config.dataDir);
const keyFileOf = ({ config }: StoreCommandDeps): string =>
  config.secretsKeyFile ?? join(config.dataDir, 'secrets.key');

async function backUp(
  { file, isSalvage }: Extract<StoreCommand, { kind: 'backup' }>,
  deps: StoreCommandDeps,
): Promise<number> {
  const running = await askStore(deps.config.dataDir, 'GET', '/backup');
  if (running !== undefined) {
    await write(file, running, deps);
    return 0;
  }
  return await locked(deps, async () => {
    const { lines, problems } = readOffline(databaseOf(deps), Date.now());
    const whole = isSalvage ? lines : refuseProblems(lines, problems);
    await write(file, whole, deps);
    for (const problem of problems) deps.say(problem);
    return problems.length === 0 ? 0 : 1;
  });
}

function* refuseProblems(lines: Iterable<string>, problems: readonly string[]): Iterable<string> {
  for (const line of lines) {
    if (problems.length > 0) {
      throw new StoreCommandError(`the database is damaged: ${problems.join('; ')}; with --salvage the rest is saved`);
    }
    yield line;
  }
}

/** Beside itself first: what has the name of the backup is whole, and was read again as it went by. */
async function write(file: string, parts: AsyncIterable<unknown> | Iterable<string>, deps: StoreCommandDeps) {
  const reader = new LineReader();
  if (file === '-') {
    for await (const part of parts) {
      reader.take(String(part));
      if (!deps.stdout.write(String(part))) await new Promise((go) => deps.stdout.once('drain', go));
    }
    return describe(reader.finish(), 'standard output', deps);
  }
  const path = resolve(file);
  const partial = `${path}.partial`;
  let handle: FileHandle | undefined;
  try {
    handle = await open(partial, 'w', 0o600);
    for await (const part of parts) {
      reader.take(String(part));
      await handle.writeFile(String(part));
    }
    const backup = reader.finish();
    await handle.sync();
    await handle.close();
    await rename(partial, path);
    const folder = await open(dirname(path), 'r');
    await folder.sync();
    await folder.close();
    describe(backup, path, deps);
  } catch (error) {
    await handle?.close().catch(() => undefined); // it may be closed already
    await rm(partial, { force: true });
    if (!(error instanceof Error) || !('code' in error)) throw error;
    throw new StoreCommandError(`the backup could not be written to ${path}: ${error.message}; nothing is left of it`, {
      cause: error,
    });
  }
}

function describe(backup: Backup, where: string, { config, say }: StoreCommandDeps): void {
  const { rows, damaged, end } = backup;
  say(`${rows.length} objects at revision ${end.revision}: ${where}`);
  for (const { storageKey, key } of damaged) say(`${storageKey} ${key} is damaged, in the backup as on disk`);
  if (end.secretKeys.length === 0) return;
  const keyFile = config.secretsKeyFile ?? join(config.dataDir, 'secrets.key');
  say(
    `its Secrets are encrypted (key ${end.secretKeys.join(', ')}): to restore it elsewhere, ${keyFile} is needed too`,
  );
}

/** Takes a stream apart into lines. */
class LineReader {
  readonly #reader = new BackupReader();
  #rest = '';

  take(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) this.#reader.line(line);
  }

  finish(): Backup {
    if (this.#rest !== '') throw new BackupError('it ends within a line: it was cut short');
    return this.#reader.finish();
  }
}

async function read(file: string, stdin: Readable): Promise<Backup> {
  const reader = new LineReader();
  const input = file === '-' ? stdin : createReadStream(resolve(file));
  try {
    input.setEncoding('utf8');
    for await (const part of input) reader.take(String(part));
    return reader.finish();
  } catch (error) {
    if (error instanceof BackupError) throw new StoreCommandError(`${file} is no whole backup: ${error.message}`);
    throw new StoreCommandError(`${file} cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
}

async function restore(file: string, deps: StoreCommandDeps): Promise<number> {
  const { say } = deps;
  return await locked(deps, async () => {
    const backup = await read(file, deps.stdin);
    const { former, revision } = restoreBackup(databaseOf(deps), backup, Date.now());
    say(`${backup.rows.length} objects of ${backup.header.takenAt} are restored; the store goes on at ${revision}`);
    if (former !== undefined) say(`the former database is ${former}; remove it when it is not needed any more`);
    const keys = readKeyRing(keyFileOf(deps));
    const lacking = backup.end.secretKeys.filter((id) => !keys.ids.includes(id));
    if (lacking.length === 0) return 0;
    say(`Secrets cannot be read until ${keyFileOf(deps)} holds the key ${lacking.join(', ')}: add it as a line`);
    return 1;
  });
}

async function check(file: string | undefined, deps: StoreCommandDeps): Promise<Report> {
  if (file !== undefined) return checkBackup(await read(file, deps.stdin), readKeyRing(keyFileOf(deps)));
  const running = await askStore(deps.config.dataDir, 'GET', '/check');
  if (running !== undefined) return JSON.parse(await textOf(running)) as Report; // as the store of this version writes it
  if (!existsSync(databaseOf(deps))) throw new StoreCommandError(`there is no store in ${deps.config.dataDir}`);
  return await locked(deps, async () => checkOffline(databaseOf(deps), keyFileOf(deps), Date.now()));
}

function tell({ rows, revision, findings, findingsInAll }: Report, say: (line: string) => void): number {
  for (const { about, problem, fix } of findings) say(`${about}: ${problem}; ${fix}`);
  if (findingsInAll > findings.length) say(`and ${findingsInAll - findings.length} more`);
  say(
    `${rows} objects at revision ${revision}: ${findingsInAll === 0 ? 'all is well' : `${findingsInAll} found wrong`}`,
  );
  return findingsInAll === 0 ? 0 : 1;
}

async function rotateKey(deps: StoreCommandDeps): Promise<number> {
  const { say } = deps;
  const keyFile = keyFileOf(deps);
  // Who holds the database changes the file: a key that is in use must never be lost from it.
  const running = await askStore(deps.config.dataDir, 'POST', '/rotate-key');
  const id = running === undefined ? await locked(deps, async () => addKey(keyFile).ids[0]) : await textOf(running);
  say(`the key ${id} is the first in ${keyFile}`);
  say(
    running === undefined
      ? 'the store encrypts its Secrets with it when it starts'
      : 'the store encrypts its Secrets with it in the background',
  );
  say('keep the older keys in that file as long as there are backups that need them (holdfast store check FILE)');
  return 0;
}

/** While no daemon works on the data dir. */
async function locked<T>({ config }: StoreCommandDeps, run: () => Promise<T>): Promise<T> {
  const lock = await lockInstance(config.dataDir);
  try {
    return await run();
  } finally {
    await lock.close();
  }
}
