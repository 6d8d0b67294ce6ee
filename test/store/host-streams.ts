/** A StreamSource whose containers are this machine: processes and ports of the test's own. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { Readable } from 'node:stream';
import type { OpenSession, StreamSource } from '../../store/index.ts';

export interface HostStreams extends StreamSource {
  /** Sessions that were closed before their process had ended. */
  readonly cut: readonly string[];
  /** Terminal sizes that came, the first one included. */
  readonly sizes: readonly string[];
  /** Archives that were unpacked: their bytes. */
  readonly archives: readonly Buffer[];
  running: number;
}

export function createHostStreams(overrides: Partial<StreamSource> = {}): HostStreams {
  const cut: string[] = [];
  const sizes: string[] = [];
  const archives: Buffer[] = [];
  const run = (command: readonly string[], hasStdin: boolean, hasTerminal: boolean): OpenSession => {
    return async (size) => {
      if (size !== undefined) sizes.push(`first ${size.columns}x${size.rows}`);
      const [program = '', ...args] = command;
      const child = spawn(program, args, { stdio: 'pipe' });
      await once(child, 'spawn');
      source.running++;
      const ended = once(child, 'close').then(([code, signal]: (number | string | null)[]) => {
        source.running--;
        return typeof code === 'number' ? code : signal === null ? -1 : 137;
      });
      let isOver = false;
      void ended.then(() => {
        isOver = true;
      });
      if (!hasStdin) child.stdin.end();
      return {
        stdin: hasStdin ? child.stdin : undefined,
        stdout: child.stdout,
        stderr: hasTerminal ? undefined : child.stderr,
        resize: async ({ columns, rows }) => {
          sizes.push(`${columns}x${rows}`);
        },
        exit: ended,
        close: async () => {
          if (isOver) return;
          cut.push(command.join(' '));
          child.kill('SIGKILL');
        },
      };
    };
  };
  const source: HostStreams = {
    cut,
    sizes,
    archives,
    running: 0,
    log: async () => Readable.from([Buffer.from('a log\n')]),
    exec: async (_target, { command, stdin, tty }) => run(command, stdin, tty),
    attach: async (_target, { stdin, tty }) => run(['cat'], stdin, tty),
    portForward: async () => async (port) => {
      const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
      await once(socket, 'connect');
      return socket;
    },
    stats: async ({ name }) => ({ kind: 'ContainerStats', name }),
    readArchive: async (_target, path) => Readable.from([Buffer.from(`tar of ${path}`)]),
    writeArchive: async (_target, _path, archive) => {
      archives.push(Buffer.concat(await archive.toArray()));
    },
    ...overrides,
  };
  return source;
}
