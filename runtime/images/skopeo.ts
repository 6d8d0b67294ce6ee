/**
 * Runs skopeo and containers-storage as processes. Effects only.
 * A run has a deadline, dies with this process (setpriv --pdeathsig) and with its signal, together with its children,
 * and is ended when neither bytes came nor went for a while: skopeo itself waits for a silent registry for ever.
 */
import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';

export interface ToolRun {
  readonly command: 'skopeo' | 'containers-storage' | 'sync' | 'umount' | 'tar';
  readonly args: readonly string[];
  readonly deadlineMs: number;
  /** Undefined: only the deadline counts. */
  readonly stallMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Whether `stdout` is wanted; at most 4 MiB, which a manifest never has. */
  readonly keepsOutput?: boolean | undefined;
  /** Hears each line of `stdout`. */
  readonly onLine?: ((line: string) => void) | undefined;
  /** What it reads from `stdin`; undefined: nothing. */
  readonly input?: string | undefined;
}

export type ToolResult =
  | { readonly kind: 'success'; readonly stdout: string }
  /** The program ended with a code other than 0, or of a signal of others; `stderr` is the end of what it printed. */
  | { readonly kind: 'failed'; readonly stderr: string }
  /** The program is not on this host. */
  | { readonly kind: 'missing'; readonly program: string }
  | { readonly kind: 'stalled'; readonly afterMs: number }
  | { readonly kind: 'too-slow'; readonly afterMs: number };

const keptStderrBytes = 16_384;
/** Source: registries refuse larger manifests. */
const keptStdoutBytes = 4 * 2 ** 20;

/** Throws the signal's reason after an abort, and the system's error when the program cannot be started. */
export async function runTool(run: ToolRun): Promise<ToolResult> {
  run.signal?.throwIfAborted();
  // A group of its own (detached), so that the unpacking child is killed with it.
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', run.command, ...run.args], {
    stdio: [
      run.input === undefined ? 'ignore' : 'pipe',
      run.keepsOutput === true || run.onLine !== undefined ? 'pipe' : 'ignore',
      'pipe',
    ],
    detached: true,
  });
  child.stdin?.on('error', () => {}); // it ended without reading: its code and its words tell why
  child.stdin?.end(run.input);
  let ended: Extract<ToolResult, { kind: 'stalled' | 'too-slow' }> | { readonly kind: 'aborted' } | undefined;
  const end = (reason: NonNullable<typeof ended>) => {
    ended ??= reason;
    killGroup(child.pid);
  };
  const output: Buffer[] = [];
  let outputBytes = 0;
  child.stdout?.on('data', (chunk: Buffer) => {
    outputBytes += chunk.length;
    if (run.keepsOutput === true && outputBytes <= keptStdoutBytes) output.push(chunk);
  });
  if (run.onLine !== undefined && child.stdout !== null)
    createInterface({ input: child.stdout }).on('line', run.onLine);
  let stderr = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    stderr = (stderr + chunk.toString('utf8')).slice(-keptStderrBytes);
  });
  const onAbort = () => end({ kind: 'aborted' });
  run.signal?.addEventListener('abort', onAbort, { once: true });
  const deadline = setTimeout(() => end({ kind: 'too-slow', afterMs: run.deadlineMs }), run.deadlineMs);
  const stallMs = run.stallMs;
  const watch =
    stallMs === undefined || child.pid === undefined
      ? undefined
      : watchProgress(child.pid, stallMs, () => end({ kind: 'stalled', afterMs: stallMs }));
  try {
    const code = await new Promise<number | null>((resolve, reject) => {
      child.on('error', reject);
      child.on('close', resolve);
    });
    if (ended?.kind === 'aborted') throw run.signal?.reason;
    if (ended !== undefined) return ended;
    if (code === 0) return { kind: 'success', stdout: Buffer.concat(output).toString('utf8') };
    if (stderr.startsWith('setpriv: failed to execute')) return { kind: 'missing', program: run.command };
    return { kind: 'failed', stderr };
  } finally {
    clearTimeout(deadline);
    clearInterval(watch);
    run.signal?.removeEventListener('abort', onAbort);
  }
}

/** Reads and writes of a process, sockets included, stand in /proc/PID/io: their sum grows while it gets on. */
function watchProgress(pid: number, stallMs: number, onStall: () => void): NodeJS.Timeout {
  let last = '';
  let sinceMs = performance.now();
  return setInterval(
    async () => {
      const now = await readFile(`/proc/${pid}/io`, 'utf8').catch(() => last); // it has just ended
      if (now !== last) {
        last = now;
        sinceMs = performance.now();
      } else if (performance.now() - sinceMs >= stallMs) onStall();
    },
    Math.max(50, stallMs / 10),
  );
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It has ended in this moment.
  }
}
