/**
 * Sees every change that a program makes to its host, one step before it is made: Node's own functions that write, and
 * what is sent to child processes, are wrapped before anything else is loaded. So the list of steps comes from the
 * code as it runs, and none can be forgotten. Effects: patches Node's modules; for programs that tests start, only.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import childProcess from 'node:child_process';
import fs from 'node:fs';
import promises, { type FileHandle } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import net from 'node:net';
import { basename } from 'node:path';
import type { Writable } from 'node:stream';

export interface Step {
  /** E.g. "rename D/containers/ID/record.json.*.new D/containers/ID/record.json". */
  readonly name: string;
  /** Lines of ours that lead to it, FILE:LINE. */
  readonly sites: readonly string[];
  /** It finds things as it would make them. */
  readonly isIdle: boolean;
}

/** Folders and files by the short names that they have in the names of steps. */
export type Places = Readonly<Record<string, string>>;

/** Steps that are taken within, or that follow from it, are told from others by what it holds. */
export const context = new AsyncLocalStorage<string>();

/** Pure: the same text for the same thing in every run. */
export function normalise(text: string, places: Places): string {
  let short = text;
  for (const [name, place] of Object.entries(places)) short = short.replaceAll(place, name);
  // One of the hierarchies of version 1.
  short = short.replaceAll(/\/sys\/fs\/cgroup\/[a-z_,]+\//g, 'CGROUP/');
  return short
    .replaceAll(/holdfast-tmp\/[0-9]+-[A-Za-z0-9]{6}/g, 'holdfast-tmp/*')
    .replaceAll(/[0-9a-f]{64}/g, 'ID')
    .replaceAll(/\bfd[0-9a-f]{2}(?::[0-9a-f]{0,4}){2,7}/g, 'IP6')
    .replaceAll(/\b(?:[0-9]{1,3}\.){3}[0-9]{1,3}\b/g, 'IP')
    .replaceAll(/[0-9a-f]{8,}/g, '*')
    .replaceAll(/[0-9]{3,}/g, 'N');
}

const changing = [
  ...['mkdir', 'mkdtemp', 'writeFile', 'appendFile', 'rename', 'rm', 'rmdir', 'unlink', 'symlink', 'link', 'chown'],
  ...['lchown', 'chmod', 'truncate', 'utimes', 'lutimes', 'cp', 'copyFile'],
] as const;
const changingOfHandle = [
  'write',
  'writev',
  'writeFile',
  'appendFile',
  'truncate',
  'datasync',
  'sync',
  'chmod',
  'chown',
];

type Call = (this: unknown, ...args: unknown[]) => unknown;
type Functions = Record<string, Call>;

const here = new URL(import.meta.url).pathname;
const root = new URL('../../', import.meta.url).pathname;

function sitesOf(stack: string): string[] {
  return stack
    .split('\n')
    .flatMap((line) => /(?:file:\/\/)?(\/[^():]+\.ts):([0-9]+):[0-9]+\)?$/.exec(line)?.slice(1, 3).join(':') ?? [])
    .filter((site) => !site.startsWith(here) && site.startsWith(root))
    .map((site) => site.slice(root.length));
}

/**
 * Calls `onStep` before each change, and before what might have been one. Called once, before whatever makes changes is imported.
 */
export async function watchSteps(places: Places, onStep: (step: Step) => void): Promise<void> {
  Error.stackTraceLimit = 40;
  const step = (what: string, ...things: readonly unknown[]): void => tell('changing', what, ...things);
  const tell = (how: 'idle' | 'changing', what: string, ...things: readonly unknown[]): void => {
    const texts = things.filter((thing) => typeof thing === 'string').map((text) => text.slice(0, 400));
    const name = normalise([what, ...texts].join(' '), places);
    onStep({ name, sites: sitesOf(new Error(name).stack ?? ''), isIdle: how === 'idle' });
  };
  const wrap = (
    functions: Functions,
    name: string,
    before: (self: unknown, args: readonly unknown[]) => void,
  ): void => {
    const original = functions[name];
    if (original === undefined) throw new TypeError(`Node has no function ${name}`);
    functions[name] = function (this: unknown, ...args: unknown[]): unknown {
      before(this, args);
      return original.apply(this, args);
    };
  };
  const paths = (name: string, args: readonly unknown[]): readonly unknown[] =>
    /^(?:rename|symlink|link|cp|copyFile)/.test(name) ? args.slice(0, 2) : args.slice(0, 1);

  // The modules are plain objects of functions.
  const ofPromises = promises as unknown as Functions;
  const ofFs = fs as unknown as Functions;
  for (const name of changing) {
    const before = (_: unknown, args: readonly unknown[]): void => {
      tell(isIdle(name, args) ? 'idle' : 'changing', name, ...paths(name, args));
    };
    wrap(ofPromises, name, before);
    wrap(ofFs, `${name}Sync`, before);
  }
  const pathOfHandle = new WeakMap<object, string>();
  const open = promises.open;
  promises.open = async (...args: Parameters<typeof open>): Promise<FileHandle> => {
    if (isWriting(args[1])) step('open', args[0]);
    const handle = await open(...args);
    pathOfHandle.set(handle, String(args[0]));
    return handle;
  };
  const pathOfNumber = new Map<unknown, unknown>();
  const openSync = fs.openSync;
  fs.openSync = (...args: Parameters<typeof openSync>): number => {
    if (isWriting(args[1])) step('open', args[0]);
    const fd = openSync(...args);
    pathOfNumber.set(fd, args[0]);
    return fd;
  };
  wrap(ofFs, 'createWriteStream', (_, args) => step('createWriteStream', args[0]));
  wrap(ofFs, 'writeSync', (_, [fd]) => step('write', pathOfNumber.get(fd) ?? 'a file'));
  const sample = await open('/dev/null');
  const handles = Object.getPrototypeOf(sample) as Functions; // FileHandle's methods
  await sample.close();
  for (const name of changingOfHandle) {
    wrap(handles, name, (self, _) => step(name, pathOfHandle.get(self as object) ?? 'a file')); // a handle is an object
  }
  const spawn = childProcess.spawn as unknown as Call;
  childProcess.spawn = function (this: unknown, ...args: unknown[]) {
    const words = Array.isArray(args[1]) ? args[1].map(String) : [];
    const program = basename(String(args[0]));
    const of = /^(?:perl|conmon|setpriv)$/.test(program)
      ? (words.find((word) => /\.pl$|^(?:skopeo|containers-storage|sync|umount|tar)$/.test(word)) ?? '')
      : '';
    const what = [program, of === '' ? words.slice(0, 8).join(' ') : basename(of)].join(' ').trim();
    step('spawn', what);
    const child = spawn.apply(this, args) as childProcess.ChildProcess;
    if (child.stdin === null) step('spawned', what);
    else watchInput(child.stdin, (text) => step('tell', what, text));
    return child;
  } as typeof childProcess.spawn;
  // A relay becomes what is written to it.
  wrap(net.Socket.prototype as unknown as Functions, 'write', (_, [text]) => {
    if (typeof text === 'string' && text.startsWith('control control monitor ')) step('spawn', 'conmon');
    // It waits for this before it makes anything.
    if (text === '0') step('tell', 'conmon', 'to create the container');
  });
  syncBuiltinESMExports();
}

function watchInput(stdin: Writable, tell: (text: string) => void): void {
  for (const name of ['write', 'end'] as const) {
    const original = stdin[name] as unknown as Call;
    const told = function (this: unknown, ...args: unknown[]): unknown {
      const text = typeof args[0] === 'string' ? args[0] : '';
      // A request to the helper for system calls begins with a number.
      if (text !== '')
        tell(
          text
            .replace(/^[0-9]+\t/, '')
            .replaceAll(/\s+/g, ' ')
            .slice(0, 160),
        );
      return original.apply(this, args);
    };
    Object.assign(stdin, { [name]: told });
  }
}

const exists = fs.existsSync;

/** Removes what is not there, or makes what is: no change. */
function isIdle(name: string, [path, options]: readonly unknown[]): boolean {
  if (typeof path !== 'string') return false;
  if (/^(?:rm|rmdir|unlink)$/.test(name)) return !exists(path);
  return name === 'mkdir' && typeof options === 'object' && exists(path);
}

function isWriting(flags: unknown): boolean {
  if (typeof flags === 'number') return (flags & (fs.constants.O_WRONLY | fs.constants.O_RDWR)) !== 0;
  return typeof flags === 'string' && flags !== 'r';
}
