/** The state of a container in Docker's words, from its object. Pure. */
import type { Container } from '../crds/index.ts';
import { dockerConfigOf } from './docker-config.ts';
import { type Health, healthOf } from './healthcheck.ts';
import { formatDuration } from './human-time.ts';

export const stateNames = ['created', 'running', 'paused', 'restarting', 'removing', 'exited', 'dead'] as const;
export type StateName = (typeof stateNames)[number];

export interface State {
  readonly name: StateName;
  readonly health: Health;
  /** Of the last run that ended; 0 while it runs, and before it ever did. */
  readonly exitCode: number;
  readonly isOomKilled: boolean;
  readonly pid: number;
  /** What went wrong, for people; '' if nothing did. */
  readonly error: string;
  readonly startedAt: string | undefined;
  readonly finishedAt: string | undefined;
}

export function stateOf(object: Container, nowMs: number): State {
  const { status } = object;
  const name = nameOf(object);
  const isUp = name === 'running' || name === 'paused';
  const last = status?.lastTermination;
  const startPeriod = startPeriodOf(object);
  return {
    name,
    health: healthOf(object.spec, status, { startPeriodSeconds: startPeriod, nowMs }),
    exitCode: isUp ? 0 : (status?.exitCode ?? last?.exitCode ?? 0),
    isOomKilled: !isUp && last?.reason === 'OOMKilled',
    pid: isUp ? (status?.pid ?? 0) : 0,
    error: !isUp && last?.reason === 'StartError' ? (last.message ?? '') : '',
    startedAt: status?.startedAt ?? last?.startedAt,
    finishedAt: status?.finishedAt ?? last?.finishedAt,
  };
}

function nameOf({ metadata, status }: Container): StateName {
  if (metadata.deletionTimestamp !== undefined) return 'removing';
  switch (status?.state) {
    case 'Running':
      return 'running';
    case 'Paused':
      return 'paused';
    case 'Restarting':
      return 'restarting';
    case 'Exited':
      return 'exited';
    default:
      return 'created';
  }
}

/** As Docker's IsRunning: a paused or restarting one counts. */
export function isUp({ name }: Pick<State, 'name'>): boolean {
  return name === 'running' || name === 'paused' || name === 'restarting';
}

function startPeriodOf(object: Container): number {
  const check = dockerConfigOf(object).Config.Healthcheck;
  const period = typeof check === 'object' && check !== null && 'StartPeriod' in check ? check.StartPeriod : 0;
  return typeof period === 'number' ? period / 1e9 : 0;
}

/** What `docker ps` shows in STATUS. Source: moby container/state.go, String. */
export function formatStatus(state: State, nowMs: number): string {
  const since = (time: string | undefined): string => formatDuration(Math.max(0, nowMs - Date.parse(time ?? '')));
  switch (state.name) {
    case 'paused':
      return `Up ${since(state.startedAt)} (Paused)`;
    case 'restarting':
      return `Restarting (${state.exitCode}) ${since(state.finishedAt)} ago`;
    case 'running': {
      const health =
        state.health === 'none' ? '' : ` (${state.health === 'starting' ? 'health: starting' : state.health})`;
      return `Up ${since(state.startedAt)}${health}`;
    }
    case 'removing':
      return 'Removal In Progress';
    case 'dead':
      return 'Dead';
    case 'created':
      return 'Created';
    case 'exited':
      return state.finishedAt === undefined ? 'Created' : `Exited (${state.exitCode}) ${since(state.finishedAt)} ago`;
    default:
      throw new TypeError(`unknown state: ${state.name satisfies never}`);
  }
}

const never = '0001-01-01T00:00:00Z';

/** The member State of inspect. */
export function formatState(state: State): object {
  const { name, health } = state;
  return {
    Status: name,
    Running: isUp(state),
    Paused: name === 'paused',
    Restarting: name === 'restarting',
    OOMKilled: state.isOomKilled,
    Dead: false,
    Pid: state.pid,
    ExitCode: state.exitCode,
    Error: state.error,
    StartedAt: state.startedAt ?? never,
    FinishedAt: state.finishedAt ?? never,
    ...(health === 'none'
      ? {}
      : { Health: { Status: health, FailingStreak: health === 'unhealthy' ? 1 : 0, Log: [] } }),
  };
}
