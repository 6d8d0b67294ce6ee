/**
 * The audit log: who asked for what and what came of it, as JSON lines in the form of audit.k8s.io/v1 Event at the level
 * Metadata, so never a word of what an object holds. Written in the background; what does not fit (a full disk, a slow one)
 * is dropped and counted. Rotated by size, so that it never fills the disk. Effects.
 */
import { mkdir, open, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { Counter, type Registry } from 'prom-client';
import { type Caller, hostOf } from './access/index.ts';
import type { JsonObject } from './json.ts';

/** `writes`: and what was refused; `reads`: also reads, but for those of hosts; `all`: those too. */
export type AuditLevel = 'off' | 'writes' | 'reads' | 'all';

export interface AuditOptions {
  readonly level: AuditLevel;
  readonly maxFileBytes: number;
  /** Files beside the one that is written to. */
  readonly maxBackups: number;
}

export const defaultAudit: AuditOptions = { level: 'writes', maxFileBytes: 16 * 1024 * 1024, maxBackups: 4 };

export interface AuditFact {
  readonly id: string;
  readonly method: string;
  readonly url: string;
  /** undefined: it was not let in. */
  readonly caller: Caller | undefined;
  readonly sourceIp: string | undefined;
  readonly userAgent: string | undefined;
  readonly code: number;
  readonly beganMs: number;
  readonly endedMs: number;
}

export interface AuditLog {
  record(fact: AuditFact): void;
  /** Writes what waits. */
  close(): Promise<void>;
}

const maxBufferedBytes = 2 * 1024 * 1024;
const flushMs = 250;
const metricNames = ['apiserver_audit_event_total', 'apiserver_audit_error_total'] as const;
const maxUrlLength = 2_048;
const readingVerbs: ReadonlySet<string> = new Set(['get', 'list', 'watch', 'head', 'options']);

/** Pure. */
export function decideAudit(level: AuditLevel, { caller, code, method }: AuditFact): boolean {
  if (level === 'off') return false;
  if (code === 401 || code === 403 || level === 'all') return true;
  const verb = caller?.attributes.verb ?? method.toLowerCase();
  const subresource = caller?.attributes.isResource === true ? caller.attributes.subresource : '';
  const isRead = readingVerbs.has(verb) && !['exec', 'attach', 'portforward'].includes(subresource);
  if (!isRead) return true;
  return level === 'reads' && (caller === undefined || hostOf(caller.realUser) === undefined);
}

/** As audit.k8s.io/v1 Event. Pure. */
export function formatAuditEvent(fact: AuditFact): JsonObject {
  const { id, caller, code, method } = fact;
  const attributes = caller?.attributes;
  const time = (ms: number): string => new Date(ms).toISOString().replace('Z', '000Z'); // metav1.MicroTime
  const userOf = ({ name, uid, groups }: Caller['user']): JsonObject => ({
    username: name,
    ...(uid === undefined ? {} : { uid }),
    groups,
  });
  const isOther = caller !== undefined && caller.user !== caller.realUser;
  return {
    kind: 'Event',
    apiVersion: 'audit.k8s.io/v1',
    level: 'Metadata',
    auditID: id,
    stage: 'ResponseComplete',
    requestURI: fact.url.slice(0, maxUrlLength),
    verb: attributes?.verb ?? method.toLowerCase(),
    user: caller === undefined ? {} : userOf(caller.realUser),
    ...(isOther ? { impersonatedUser: userOf(caller.user) } : {}),
    sourceIPs: fact.sourceIp === undefined ? [] : [fact.sourceIp],
    ...(fact.userAgent === undefined ? {} : { userAgent: fact.userAgent.slice(0, 256) }),
    ...(attributes?.isResource === true
      ? {
          objectRef: {
            resource: attributes.resource,
            ...(attributes.namespace === '' ? {} : { namespace: attributes.namespace }),
            ...(attributes.name === '' ? {} : { name: attributes.name }),
            ...(attributes.group === '' ? {} : { apiGroup: attributes.group }),
            apiVersion: attributes.version,
            ...(attributes.subresource === '' ? {} : { subresource: attributes.subresource }),
          },
        }
      : {}),
    responseStatus: { metadata: {}, ...(code >= 400 ? { status: 'Failure' } : {}), code },
    requestReceivedTimestamp: time(fact.beganMs),
    stageTimestamp: time(fact.endedMs),
    annotations: {
      'authorization.k8s.io/decision': code === 401 || code === 403 ? 'forbid' : 'allow',
    },
  };
}

export interface AuditDeps {
  readonly dir: string;
  readonly options: AuditOptions;
  readonly metrics: Registry;
  readonly log: Logger;
}

export function startAuditLog({ dir, options, metrics, log }: AuditDeps): AuditLog {
  const counters = {
    written: new Counter({
      name: 'apiserver_audit_event_total',
      help: 'Events written to the audit log.',
      registers: [metrics],
    }),
    dropped: new Counter({
      name: 'apiserver_audit_error_total',
      help: 'Events that the audit log could not take.',
      registers: [metrics],
    }),
  };
  const path = join(dir, 'audit.log');
  let lines: string[] = [];
  let bytes = 0;
  let timer: NodeJS.Timeout | undefined;
  let writing: Promise<void> = Promise.resolve();
  let isFailing = false;
  let isClosed = false;
  const write = async (batch: readonly string[]): Promise<void> => {
    try {
      await append(path, dir, batch.join(''), options);
      counters.written.inc(batch.length);
      isFailing = false;
    } catch (error) {
      counters.dropped.inc(batch.length);
      if (!isFailing)
        log.error({ err: error, path }, 'the audit log cannot be written; events are dropped and counted');
      isFailing = true;
    }
  };
  const flush = (): void => {
    timer = undefined;
    const batch = lines;
    lines = [];
    writing = writing.then(async () => {
      await write(batch);
      bytes -= batch.reduce((sum, line) => sum + line.length, 0);
    });
  };
  return {
    record: (fact) => {
      if (!decideAudit(options.level, fact)) return;
      // Of a request that ends after all else: its folder may be gone by now, and must not come back.
      if (isClosed) return;
      if (bytes > maxBufferedBytes) return counters.dropped.inc();
      const line = `${JSON.stringify(formatAuditEvent(fact))}\n`;
      bytes += line.length;
      lines.push(line);
      timer ??= setTimeout(flush, flushMs).unref();
    },
    close: async () => {
      isClosed = true;
      for (const name of metricNames) metrics.removeSingleMetric(name);
      clearTimeout(timer);
      if (lines.length > 0) flush();
      await writing;
    },
  };
}

function ifMissing(error: unknown): undefined {
  if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
  throw error;
}

/** A crash loses at most what was not written yet: the objects themselves are in the database. */
async function append(
  path: string,
  dir: string,
  text: string,
  { maxFileBytes, maxBackups }: AuditOptions,
): Promise<void> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const present = await stat(path).catch(ifMissing);
  if (present !== undefined && present.size > 0 && present.size + text.length > maxFileBytes) {
    for (let number = maxBackups; number >= 1; number--) {
      const from = number === 1 ? path : `${path}.${number - 1}`;
      await rename(from, `${path}.${number}`).catch(ifMissing);
    }
  }
  const file = await open(
    path,
    maxBackups === 0 && present !== undefined && present.size + text.length > maxFileBytes ? 'w' : 'a',
    0o600,
  );
  try {
    await file.writeFile(text);
  } finally {
    await file.close();
  }
}
