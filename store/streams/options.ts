/** Query parameters of exec, attach and portforward, as core/v1 PodExecOptions and its kin. Pure. */
import { isTrue, type Query, textOf } from '../requests.ts';
import { badRequest } from '../status-error.ts';

export interface CommandOptions {
  /** As the client named it; undefined: the only one there is. */
  readonly container: string | undefined;
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly tty: boolean;
}

export interface ExecOptions extends CommandOptions {
  /** Program and arguments, at least the program. */
  readonly command: readonly string[];
}

const maxWords = 4_096;

/** Throws StatusError 400. */
export function parseExecOptions(query: Query): ExecOptions {
  const command = query.getAll('command');
  const [program] = command;
  if (program === undefined) throw badRequest('command: Required value: name the program to run, and its arguments');
  if (program === '') throw badRequest('command: Invalid value: "": the program has no name');
  if (command.length > maxWords) throw badRequest(`command: Too many: ${command.length}: at most ${maxWords} words`);
  if (command.some((word) => word.includes('\0'))) throw badRequest('command: Invalid value: a word holds a zero byte');
  return { ...parseAttachOptions(query), command };
}

/** Throws StatusError 400. */
export function parseAttachOptions(query: Query): CommandOptions {
  const [stdin, stdout, stderr, tty] = ['stdin', 'stdout', 'stderr', 'tty'].map((name) => isTrue(query, name));
  const options = {
    container: textOf(query, 'container'),
    stdin: stdin === true,
    stdout: stdout === true,
    // A terminal has one output. client-node's own example asks for both; the kubelet leaves stderr out, and so do we.
    stderr: stderr === true && tty !== true,
    tty: tty === true,
  };
  if (!options.stdin && !options.stdout && !options.stderr) {
    throw badRequest('you must specify at least 1 of stdin, stdout, stderr');
  }
  return options;
}

const maxPorts = 100;

/** The ports of a port-forward over a WebSocket, in the order of their channels. Throws StatusError 400. */
export function parseForwardPorts(query: Query): readonly number[] {
  const texts = [...query.getAll('ports'), ...query.getAll('port')].flatMap((text) => text.split(','));
  if (texts.length === 0) throw badRequest('ports: Required value: name the ports of the container to connect to');
  if (texts.length > maxPorts) throw badRequest(`ports: Too many: ${texts.length}: at most ${maxPorts}`);
  return texts.map((text) => {
    const port = parsePort(text);
    if (port === undefined) {
      throw badRequest(`ports: Invalid value: ${JSON.stringify(text.slice(0, 100))}: must be a number from 1 to 65535`);
    }
    return port;
  });
}

/** undefined: it is none. */
export function parsePort(text: string): number | undefined {
  const port = /^\d{1,5}$/u.test(text) ? Number(text) : 0;
  return port >= 1 && port <= 65_535 ? port : undefined;
}
