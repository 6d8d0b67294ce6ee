/** Sessions over a relay: the process of an exec. Effects; whoever opens one closes it. */
import { type ExecRequest, RuntimeOperationError, StartError, type StreamSession } from './interface.ts';
import { createError } from './oci-runtime.ts';
import { type Relay, RelayError } from './relay.ts';

/** Pure: the error for what the OCI runtime said when it could not start the process. */
export function explainExec(request: ExecRequest, error: unknown): unknown {
  if (!(error instanceof RelayError) || error.code === 0) return error;
  const said = [...error.text.matchAll(/"msg"\s*:\s*"((?:[^"\\]|\\.)*)"/g)].map((match) => match[1]).join('; ');
  const text = said === '' ? error.text : said;
  const found = createError(text, request.args);
  return found instanceof StartError ? found : new RuntimeOperationError(error.operation, text, { cause: error });
}

/** `onStray`: the relay was killed and left its process behind. */
export function openExecSession(relay: Relay, hasTerminal: boolean, onStray: () => void): StreamSession {
  const { stdin, stdout, stderr } = relay;
  if (stdout === undefined || stderr === undefined) throw new RuntimeOperationError('exec', 'the relay has no output');
  let isClosed = false;
  const exit = relay.exit.then((code) => {
    if (code !== undefined) return code;
    if (isClosed) throw new RuntimeOperationError('exec', 'the session was closed before the process had ended');
    onStray();
    throw new RuntimeOperationError('exec', 'the relay was killed, so the exit code is not known; run it again');
  });
  exit.catch(() => {}); // for those who do not ask
  if (hasTerminal) stderr.resume();
  return {
    pid: relay.pid,
    stdin,
    stdout,
    stderr: hasTerminal ? undefined : stderr,
    exit,
    resize: async (size) => {
      if (hasTerminal) relay.resize(size);
    },
    async close() {
      isClosed = true;
      await relay.close();
      for (const stream of [stdin, stdout, stderr]) stream?.destroy();
    },
  };
}
