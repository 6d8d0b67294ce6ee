/**
 * Carries out one probe or hook: a program in the container, an HTTP request or a TCP connection from this host, a wait. It
 * ends at its deadline whatever the other side does. Effects. Source of the rules: the kubelet's probe/http, probe/tcp, probe/exec.
 */
import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { connect, isIP } from 'node:net';
import type { Readable } from 'node:stream';
import { setTimeout as wait } from 'node:timers/promises';
import { ContainerNotFoundError, ContainerNotRunningError, type Runtime, StartError } from '../runtime/index.ts';
import type { ProbeOutcome } from './health.ts';
import { hideSecrets } from './hide-secrets.ts';
import { type Action, formatUrl } from './probe-spec.ts';

export interface ActionDeps {
  readonly exec: Runtime['containers']['exec'];
}

export interface ActionRequest {
  readonly action: Action;
  readonly containerID: string;
  /** Of the container; undefined while it has none. */
  readonly ip: string | undefined;
  readonly timeoutMs: number;
  /** Values that are told to nobody: hidden before a text is cut, or half of one would be left. */
  readonly secrets: readonly string[];
}

/** As much of an answer or an output is read; the kubelet reads as much. */
const maxAnswerBytes = 10_240;
/** As much of it is told. */
const maxMessageLength = 512;
/** Go's net/http, and so the kubelet, follows as many. */
const maxRedirects = 10;
const redirectCodes = new Set([301, 302, 303, 307, 308]);
/** What this host lacks: nothing is learnt about the container. */
const hostTroubles = new Set(['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM', 'EADDRNOTAVAIL']);

/** Never throws. When the signal aborts, the outcome is unknown. */
export async function runAction(request: ActionRequest, deps: ActionDeps, signal: AbortSignal): Promise<ProbeOutcome> {
  const { action, timeoutMs, secrets } = request;
  const deadline = startDeadline(timeoutMs, signal);
  try {
    return await carryOut(request, deps, deadline.signal);
  } catch (error) {
    if (signal.aborted) return { result: 'unknown', message: 'it was given up' };
    if (deadline.signal.aborted)
      return { result: 'failure', message: `${describeAction(action)}: no answer within ${timeoutMs / 1000}s` };
    const { code, message } = error as NodeJS.ErrnoException;
    const text = clip(hideSecrets(message ?? String(error), secrets));
    return {
      result: hostTroubles.has(code ?? '') ? 'unknown' : 'failure',
      message: `${describeAction(action)}: ${text}`,
    };
  } finally {
    deadline.end();
  }
}

/** For people; without what a command's arguments or headers may hold. */
export function describeAction(action: Action): string {
  switch (action.kind) {
    case 'exec':
      return `command "${action.command[0] ?? ''}"`;
    case 'http':
      return `GET ${action.scheme}://${action.host ?? ''}:${action.port}${action.path.split('?')[0]}`;
    case 'tcp':
      return `connection to ${action.host ?? ''}:${action.port}`;
    case 'sleep':
      return `sleep of ${action.ms / 1000}s`;
    default:
      throw new TypeError(`unknown action: ${JSON.stringify(action satisfies never)}`);
  }
}

/** Aborts after so long, or with the other one. An answer that came while this process could not look at it counts. */
function startDeadline(ms: number, other: AbortSignal): { readonly signal: AbortSignal; end(): void } {
  const controller = new AbortController();
  const abort = (): void => controller.abort(new Error('the deadline has passed'));
  // What arrived meanwhile is read in the turn of the loop that follows.
  const timer = setTimeout(() => setImmediate(() => setImmediate(abort)), Math.min(ms, 0x7fff_ffff));
  other.addEventListener('abort', abort, { once: true });
  if (other.aborted) abort();
  return {
    signal: controller.signal,
    end: () => {
      clearTimeout(timer);
      other.removeEventListener('abort', abort);
    },
  };
}

async function carryOut(request: ActionRequest, deps: ActionDeps, signal: AbortSignal): Promise<ProbeOutcome> {
  const { action, ip } = request;
  switch (action.kind) {
    case 'exec':
      return await runCommand(action.command, request, deps, signal);
    case 'http':
    case 'tcp': {
      const host = action.host ?? ip;
      if (host === undefined) return { result: 'failure', message: 'the container has no address; give a host' };
      return action.kind === 'tcp' ? await openConnection(host, action.port, signal) : await get(action, host, signal);
    }
    case 'sleep':
      await wait(action.ms, undefined, { signal });
      return { result: 'success', message: '' };
    default:
      throw new TypeError(`unknown action: ${JSON.stringify(action satisfies never)}`);
  }
}

async function runCommand(
  command: readonly string[],
  { containerID: id, secrets }: Pick<ActionRequest, 'containerID' | 'secrets'>,
  deps: ActionDeps,
  signal: AbortSignal,
): Promise<ProbeOutcome> {
  const tellable = (text: string): string => clip(hideSecrets(text, secrets));
  try {
    const opening = deps.exec(id, { args: command, hasTerminal: false, hasStdin: false }, signal);
    const session = await Promise.race([opening, rejection(signal)]).catch((error: unknown) => {
      opening.then((late) => late.close()).catch(() => {}); // nobody waits for it any more
      throw error;
    });
    // Killed, should it not have ended; the answer does not wait for that.
    const end = (): void => void session.close().catch(() => {}); // its relay is gone, and it with that
    signal.addEventListener('abort', end, { once: true });
    if (signal.aborted) end();
    try {
      const streams = [session.stdout, session.stderr].flatMap((stream) => stream ?? []);
      const texts = Promise.all(streams.map(readStart));
      const code = await Promise.race([session.exit, rejection(signal)]);
      const output = (await Promise.race([texts, rejection(signal)])).join('').trim();
      if (code === 0) return { result: 'success', message: tellable(output) };
      const what = `exit code ${code}`;
      return { result: 'failure', message: output === '' ? what : `${what}: ${tellable(output)}` };
    } finally {
      signal.removeEventListener('abort', end);
    }
  } catch (error) {
    if (signal.aborted) throw error;
    const text = tellable(error instanceof Error ? error.message : String(error));
    // A program that cannot be run is the container's fault, all else this host's.
    if (error instanceof StartError) return { result: 'failure', message: text };
    const hasEnded = error instanceof ContainerNotRunningError || error instanceof ContainerNotFoundError;
    return { result: 'unknown', message: hasEnded ? 'the container does not run' : text };
  }
}

/** The first of what it gives; all of it is read. */
async function readStart(stream: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      if (bytes < maxAnswerBytes) chunks.push(chunk.subarray(0, maxAnswerBytes - bytes));
      bytes += chunk.length;
    }
  } catch {
    // What came before it broke is told all the same; how the program ended counts.
  }
  return Buffer.concat(chunks).toString('utf8');
}

function openConnection(host: string, port: number, signal: AbortSignal): Promise<ProbeOutcome> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port });
    const end = (): void => void socket.destroy(new Error('the deadline has passed'));
    signal.addEventListener('abort', end, { once: true });
    socket.once('close', () => signal.removeEventListener('abort', end));
    socket.on('error', reject);
    socket.once('connect', () => {
      socket.destroy();
      resolve({ result: 'success', message: '' });
    });
  });
}

/** Redirects are followed on the same host only, so that no container can have this host ask somebody else. */
async function get(
  action: Extract<Action, { kind: 'http' }>,
  host: string,
  signal: AbortSignal,
): Promise<ProbeOutcome> {
  const { scheme, port, path, headers } = action;
  let url = new URL(formatUrl(scheme, host, port, path));
  for (let redirects = 0; ; redirects += 1) {
    const { code, location } = await getOnce(url, headers, signal);
    if (location === undefined || !redirectCodes.has(code)) {
      const isFine = code >= 200 && code < 400;
      const message = isFine ? `HTTP status ${code}` : `HTTP probe failed with statuscode: ${code}`;
      return { result: isFine ? 'success' : 'failure', message };
    }
    const next = URL.canParse(location, url) ? new URL(location, url) : undefined;
    const isNear = next?.hostname === url.hostname && (next.protocol === 'http:' || next.protocol === 'https:');
    if (next === undefined || !isNear)
      return { result: 'warning', message: `Probe terminated redirects: ${code} leads to another host` };
    if (redirects >= maxRedirects) return { result: 'failure', message: `stopped after ${maxRedirects} redirects` };
    url = next;
  }
}

function getOnce(
  url: URL,
  given: Extract<Action, { kind: 'http' }>['headers'],
  signal: AbortSignal,
): Promise<{ code: number; location: string | undefined }> {
  const headers: Record<string, string | string[]> = {
    'user-agent': 'kube-probe/holdfast',
    accept: '*/*',
    connection: 'close',
  };
  for (const name of new Set(given.map((header) => header.name.toLowerCase()))) {
    const values = given.filter((header) => header.name.toLowerCase() === name).map(({ value }) => value);
    headers[name] = values.length === 1 ? (values[0] ?? '') : values;
  }
  return new Promise((resolve, reject) => {
    // The other side may be anything: a certificate proves nothing here, and there is no proxy to the host's own bridge.
    const host = url.hostname.replace(/^\[|\]$/g, '');
    const isSecure = url.protocol === 'https:';
    const options = { host, port: url.port === '' ? (isSecure ? 443 : 80) : url.port, path: url.pathname + url.search };
    const common = { ...options, method: 'GET', headers, agent: false, signal } as const;
    const answered = (response: IncomingMessage): void => {
      let bytes = 0;
      const done = (): void => {
        resolve({ code: response.statusCode ?? 0, location: response.headers.location });
        request.destroy();
      };
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes >= maxAnswerBytes) done();
      });
      response.once('end', done);
      response.on('error', reject);
    };
    const request: ClientRequest = isSecure
      ? httpsRequest({ ...common, rejectUnauthorized: false, servername: isIP(host) === 0 ? host : '' }, answered)
      : httpRequest(common, answered);
    request.on('error', reject);
    request.end();
  });
}

function rejection(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    if (signal.aborted) reject(signal.reason);
    else signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}

function clip(text: string): string {
  return text.length <= maxMessageLength ? text : `${text.slice(0, maxMessageLength - 1)}…`;
}
