/** What a request of `docker exec` means for the runtime, and how its failures are told. Pure. */
import { ContainerConfigError, type ExecRequest, StartError } from '../runtime/index.ts';
import { badParameter, type DockerError } from './docker-error.ts';
import { readFields } from './fields.ts';
import { parseDetachKeys } from './stream-frames.ts';

export interface ParsedExec {
  readonly request: ExecRequest;
  readonly wants: { readonly stdin: boolean; readonly stdout: boolean; readonly stderr: boolean };
  readonly detachKeys: Buffer;
}

/** Throws DockerError naming the field. */
export function parseExec(body: unknown): ParsedExec {
  const problems: string[] = [];
  const fields = readFields(body, '', problems);
  const args = fields.texts('Cmd') ?? [];
  const keys = fields.text('DetachKeys') ?? null;
  const workingDir = fields.text('WorkingDir');
  const user = fields.text('User');
  const isPrivileged = fields.flag('Privileged');
  const env = (fields.texts('Env') ?? []).flatMap((entry) => {
    const at = entry.indexOf('=');
    // A name alone is one that the client has no value for.
    return at < 0 ? [] : [{ name: entry.slice(0, at), value: entry.slice(at + 1) }];
  });
  const hasTerminal = fields.flag('Tty');
  const wants = {
    stdin: fields.flag('AttachStdin'),
    stdout: fields.flag('AttachStdout'),
    stderr: fields.flag('AttachStderr'),
  };
  const size = parseConsoleSize(fields.raw('ConsoleSize'), problems);
  // Old clients repeat these here; the start says what counts.
  for (const name of ['Detach', 'Container']) fields.raw(name);
  fields.finish();
  if (problems.length > 0) throw badParameter(problems.join('; '));
  if (args.length === 0) throw badParameter('No exec command specified');
  return {
    request: {
      ...{ args, env, hasTerminal, hasStdin: wants.stdin, isPrivileged },
      ...(user === undefined ? {} : { user }),
      ...(workingDir === undefined ? {} : { workingDir }),
      ...(size === undefined ? {} : { size }),
    },
    wants,
    detachKeys: parseDetachKeys(keys),
  };
}

export interface ParsedStart {
  readonly isDetached: boolean;
  readonly size: ExecRequest['size'];
}

/** Throws DockerError. Tty is that of the request before; what is said of it here is not looked at, as with Docker. */
export function parseExecStart(body: unknown): ParsedStart {
  const problems: string[] = [];
  const fields = readFields(body, '', problems);
  const isDetached = fields.flag('Detach');
  fields.flag('Tty');
  const size = parseConsoleSize(fields.raw('ConsoleSize'), problems);
  if (problems.length > 0) throw badParameter(problems.join('; '));
  return { isDetached, size };
}

/** [height, width] */
function parseConsoleSize(value: unknown, problems: string[]): ExecRequest['size'] {
  if (value === undefined) return undefined;
  const [rows, columns]: readonly unknown[] = Array.isArray(value) && value.length === 2 ? value : [];
  if (typeof rows === 'number' && typeof columns === 'number')
    return rows === 0 && columns === 0 ? undefined : { rows, columns };
  problems.push('ConsoleSize: must be a list of two numbers, height and width');
  return undefined;
}

/** What a failed start is to those who asked for it. Texts: moby daemon/exec.go and runc's, which Docker hands on. */
export interface FailedExec {
  readonly message: string;
  /** undefined: it says nothing about the command. */
  readonly exitCode: number | undefined;
}

export function explainFailedExec(
  error: unknown,
  { args: [program = ''], user = '' }: Pick<ExecRequest, 'args' | 'user'>,
): FailedExec {
  const oci = (what: string): string =>
    `OCI runtime exec failed: exec failed: unable to start container process: ${what}: unknown`;
  if (error instanceof StartError) {
    const { exitCode } = error;
    if (exitCode === 127) {
      const why = program.includes('/')
        ? `stat ${program}: no such file or directory`
        : 'executable file not found in $PATH';
      return { message: oci(`exec: ${JSON.stringify(program)}: ${why}`), exitCode };
    }
    if (/permission denied/i.test(error.message))
      return { message: oci(`exec: ${JSON.stringify(program)}: permission denied`), exitCode };
    return { message: oci(error.message), exitCode };
  }
  if (error instanceof ContainerConfigError) {
    const isGroup = error.message.includes('group');
    const missing = `unable to find user ${user}: no matching entries in ${isGroup ? 'group' : 'passwd'} file`;
    const message = error.field === 'user' ? missing : oci(error.message);
    return { message, exitCode: 126 };
  }
  return { message: error instanceof Error ? error.message : String(error), exitCode: undefined };
}

/** The error of a start that nobody is attached to. */
export function failedStart({ message }: FailedExec): DockerError {
  return badParameter(message);
}
