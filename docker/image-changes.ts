/**
 * Instructions of a Dockerfile that change what an image says about running it, as docker import takes them. Pure.
 * Source: Dockerfile reference; moby builder/dockerfile, BuildFromConfig, which takes these words alone.
 */
import { badParameter } from './docker-error.ts';

type Config = Record<string, unknown>;

/** `config` of an OCI image configuration. Throws DockerError, which names the change. */
export function applyChanges(changes: readonly string[]): Readonly<Record<string, unknown>> {
  const config: Config = {};
  for (const line of changes.flatMap((text) => text.split('\n')).filter((text) => text.trim() !== '')) {
    const [, word = '', rest = ''] = /^\s*([A-Za-z]+)(?:\s+(.*\S))?\s*$/.exec(line) ?? [];
    const apply = instructions[word.toUpperCase()];
    if (apply === undefined)
      throw badParameter(`${word === '' ? line.trim() : word.toLowerCase()} is not a valid change command`);
    if (rest === '') throw badParameter(`${word.toUpperCase()} requires at least one argument`);
    apply(config, rest);
  }
  return config;
}

const instructions: Readonly<Record<string, ((config: Config, rest: string) => void) | undefined>> = {
  CMD: (config, rest) => {
    config.Cmd = parseCommand(rest);
  },
  ENTRYPOINT: (config, rest) => {
    config.Entrypoint = parseCommand(rest);
  },
  ENV: (config, rest) => {
    const pairs = parsePairs('ENV', rest);
    const before = Array.isArray(config.Env) ? config.Env : [];
    const names = new Set(pairs.map(([name]) => name));
    const kept = before.filter((entry) => !names.has(String(entry).split('=', 1)[0] ?? ''));
    config.Env = [...kept, ...pairs.map(([name, value]) => `${name}=${value}`)];
  },
  LABEL: (config, rest) => {
    config.Labels = { ...membersOf(config.Labels), ...Object.fromEntries(parsePairs('LABEL', rest)) };
  },
  EXPOSE: (config, rest) => {
    const ports = splitWords(rest).map((word) => {
      const [, port, protocol = 'tcp'] = /^(\d{1,5}(?:-\d{1,5})?)(?:\/(tcp|udp|sctp))?$/i.exec(word) ?? [];
      if (port === undefined) throw badParameter(`EXPOSE: invalid containerPort: ${word}`);
      return [`${port}/${protocol.toLowerCase()}`, {}] as const;
    });
    config.ExposedPorts = { ...membersOf(config.ExposedPorts), ...Object.fromEntries(ports) };
  },
  USER: (config, rest) => {
    config.User = onlyWord('USER', rest);
  },
  WORKDIR: (config, rest) => {
    const path = unquote(rest);
    const before = typeof config.WorkingDir === 'string' ? config.WorkingDir : '';
    config.WorkingDir = path.startsWith('/') ? path : `${before}/${path}`;
  },
  VOLUME: (config, rest) => {
    const paths = parseList(rest) ?? splitWords(rest).map(unquote);
    config.Volumes = { ...membersOf(config.Volumes), ...Object.fromEntries(paths.map((path) => [path, {}])) };
  },
  STOPSIGNAL: (config, rest) => {
    config.StopSignal = onlyWord('STOPSIGNAL', rest);
  },
  SHELL: (config, rest) => {
    config.Shell = parseList(rest) ?? refuse('SHELL requires the arguments to be in JSON form');
  },
  ONBUILD: (config, rest) => {
    config.OnBuild = [...(Array.isArray(config.OnBuild) ? config.OnBuild : []), rest];
  },
  HEALTHCHECK: (config, rest) => {
    config.Healthcheck = parseHealth(rest);
  },
};

function parseCommand(rest: string): readonly string[] {
  return parseList(rest) ?? ['/bin/sh', '-c', rest];
}

/** undefined: it is no list of texts in JSON, so it is a command line. */
function parseList(text: string): readonly string[] | undefined {
  if (!text.startsWith('[')) return undefined;
  try {
    const list: unknown = JSON.parse(text);
    return Array.isArray(list) && list.every((one) => typeof one === 'string') ? list : undefined;
  } catch {
    return undefined; // as Docker takes it
  }
}

/** NAME=value …, or of old: NAME value. */
function parsePairs(word: string, rest: string): readonly (readonly [string, string])[] {
  const words = splitWords(rest);
  if (words[0] !== undefined && !words[0].includes('=')) {
    const [, name = '', value] = /^(\S+)\s+(.*)$/.exec(rest) ?? [];
    if (value === undefined) throw badParameter(`${word} must have two arguments`);
    return [[name, value]];
  }
  return words.map((one) => {
    const at = one.indexOf('=');
    if (at < 1)
      throw badParameter(`Syntax error - can't find = in ${JSON.stringify(one)}. Must be of the form: name=value`);
    return [unquote(one.slice(0, at)), unquote(one.slice(at + 1))];
  });
}

/** At blanks that stand outside of quotes and are not escaped. */
function splitWords(text: string): readonly string[] {
  return text.match(/(?:"(?:\\.|[^"\\])*"|'[^']*'|\\.|[^\s"'\\]|["'\\])+/g) ?? [];
}

function unquote(text: string): string {
  return text.replaceAll(
    /"((?:\\.|[^"\\])*)"|'([^']*)'|\\(.)/g,
    (_, double?: string, single?: string, escaped?: string) =>
      double !== undefined ? double.replaceAll(/\\(["\\$])/g, '$1') : (single ?? escaped ?? ''),
  );
}

function onlyWord(word: string, rest: string): string {
  const [only = '', second] = splitWords(rest);
  return second === undefined ? unquote(only) : refuse(`${word} requires exactly one argument`);
}

const nanosecondsPer: Readonly<Record<string, number>> = { ms: 1e6, s: 1e9, m: 60e9, h: 3600e9 };

/** NONE, or options and CMD. */
function parseHealth(rest: string): object {
  if (rest.toUpperCase() === 'NONE') return { Test: ['NONE'] };
  const [, options = '', command = ''] = /^((?:--\S+\s+)*)CMD\s+(.*)$/i.exec(rest) ?? [];
  if (command === '') refuse('HEALTHCHECK: Unknown type; write NONE or CMD and a command');
  const list = parseList(command);
  const check: Record<string, unknown> = { Test: list === undefined ? ['CMD-SHELL', command] : ['CMD', ...list] };
  for (const option of splitWords(options)) {
    const [, name = '', value = ''] = /^--([a-z-]+)=(.*)$/.exec(option) ?? [];
    const field = { interval: 'Interval', timeout: 'Timeout', 'start-period': 'StartPeriod', retries: 'Retries' }[name];
    if (field === undefined) refuse(`HEALTHCHECK: Unknown flag: ${option}`);
    const [, count, unit] = /^(\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h)?$/.exec(value) ?? [];
    const isCount = field === 'Retries';
    if (count === undefined || isCount !== (unit === undefined)) refuse(`HEALTHCHECK: ${option} has no such value`);
    check[field] = isCount ? Number(count) : Number(count) * (nanosecondsPer[unit ?? ''] ?? 0);
  }
  return check;
}

function membersOf(value: unknown): object {
  return typeof value === 'object' && value !== null ? value : {};
}

function refuse(message: string): never {
  throw badParameter(message);
}
