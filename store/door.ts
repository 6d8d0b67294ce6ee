/**
 * What every request passes, whatever it asks for: who it is from, whether there is room for it, deadlines for what is half
 * sent or not read, and the note of it in the audit log. Effects.
 */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Access, Caller } from './access/index.ts';
import type { AuditLog } from './audit-log.ts';
import type { ClientLimits, Limits, Load } from './client-limits.ts';
import type { ResourcePath } from './request-path.ts';
import type { Query } from './requests.ts';
import { StatusError } from './status-error.ts';

export interface DoorDeps {
  readonly access: Access;
  readonly audit: AuditLog;
  readonly clients: ClientLimits;
  readonly limits: Limits;
  readonly now: () => number;
}

export interface Knock {
  readonly pathname: string;
  /** undefined: the request is for no resource. */
  readonly path: ResourcePath | undefined;
  readonly query: Query;
  readonly load: Load;
}

interface Visit {
  readonly id: string;
  /** Noted at the beginning: a request whose connection has ended has no socket any more. */
  readonly sourceIp: string | undefined;
  readonly beganMs: number;
  caller: Caller | undefined;
  end: () => void;
}

const idRule = /^[-\w.]{1,64}$/u;

export class Door {
  readonly #deps: DoorDeps;
  readonly #visits = new WeakMap<IncomingMessage, Visit>();

  constructor(deps: DoorDeps) {
    this.#deps = deps;
  }

  /** Lets the request in, and sees its answer out. Throws StatusError 400, 401, 403 or 429. */
  enter(request: IncomingMessage, response: ServerResponse, knock: Knock): Caller {
    const visit = this.#begin(request);
    response.setHeader('Audit-Id', visit.id);
    response.once('close', () => {
      visit.end();
      this.#note(request, visit, response.statusCode);
    });
    response.once('prefinish', () => this.#expectReader(request, response));
    return this.#admit(request, visit, knock);
  }

  /** Lets in one that wants another protocol; `leave` is to be called at its end. Throws as enter() does. */
  enterUpgrade(request: IncomingMessage, knock: Knock): () => void {
    const visit = this.#begin(request);
    this.#admit(request, visit, knock);
    return visit.end;
  }

  /** One that wants another protocol was answered. */
  answeredUpgrade(request: IncomingMessage, code: number): void {
    this.#note(request, this.#visits.get(request) ?? this.#begin(request), code);
  }

  caller(request: IncomingMessage): Caller | undefined {
    return this.#visits.get(request)?.caller;
  }

  /** Gives the body a deadline; call what it returns when the body is there. `fail` is called when it is not. */
  expectBody(fail: (error: StatusError) => void): () => void {
    const { bodyMs } = this.#deps.limits;
    const message = `the body of the request did not arrive within ${bodyMs / 1000} s`;
    const timer = setTimeout(() => fail(new StatusError(408, 'Timeout', message)), bodyMs);
    return () => clearTimeout(timer);
  }

  #begin(request: IncomingMessage): Visit {
    const given = request.headers['audit-id'];
    const id = typeof given === 'string' && idRule.test(given) ? given : randomUUID();
    const sourceIp = socketOf(request)?.remoteAddress;
    const visit: Visit = { id, sourceIp, beganMs: this.#deps.now(), caller: undefined, end: () => {} };
    this.#visits.set(request, visit);
    return visit;
  }

  #admit(request: IncomingMessage, visit: Visit, { pathname, path, query, load }: Knock): Caller {
    const { access, clients } = this.#deps;
    const caller = access.enter(request, pathname, path, query);
    visit.caller = caller;
    visit.end = clients.enter(caller.realUser, load);
    return caller;
  }

  /** An answer that nobody takes holds its memory: the connection is cut. */
  #expectReader(request: IncomingMessage, response: ServerResponse): void {
    const socket = socketOf(request);
    if (socket === undefined || response.writableFinished || socket.writableLength === 0) return;
    const timer = setTimeout(() => socket.destroy(), this.#deps.limits.readMs);
    response.once('close', () => clearTimeout(timer));
    response.once('finish', () => clearTimeout(timer));
  }

  #note(request: IncomingMessage, { id, sourceIp, beganMs, caller }: Visit, code: number): void {
    const { audit, now } = this.#deps;
    audit.record({
      id,
      method: request.method ?? '',
      url:
        ('originalUrl' in request && typeof request.originalUrl === 'string' ? request.originalUrl : request.url) ?? '',
      caller,
      sourceIp,
      userAgent: request.headers['user-agent'],
      code,
      beganMs,
      endedMs: now(),
    });
  }
}

/** Node takes the socket away from a request whose connection has ended, though its types do not say so. */
function socketOf(request: IncomingMessage): Socket | undefined {
  return (request.socket as Socket | null) ?? undefined;
}
