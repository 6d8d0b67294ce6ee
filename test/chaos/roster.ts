/**
 * The thirty containers of the chaos: 24 that stay and room for six that come and go, with what each must do so that
 * somebody who knows nothing of the controller can see whether it does. Pure.
 *
 * Each has a marker among the arguments of its first process, PREFIX/NAME/VALUE, by which it is found in /proc.
 */
import { join } from 'node:path';

/** How one sees that a container is well. */
export type Duty =
  /** It serves its volume on a port: /birth is written once and must stay the same. */
  | { readonly kind: 'serves'; readonly hostPort: number }
  /** It writes a line with the host's uptime to its log, over and over. */
  | { readonly kind: 'logs' }
  /** It asks the container it is linked to, and writes what it hears to its ledger. */
  | { readonly kind: 'asks'; readonly server: string }
  /** It only runs; with a limit of processes. */
  | { readonly kind: 'idles'; readonly pidsLimit?: number }
  /** It ends each time after a moment and is started again and again. Each start is a line in its ledger. */
  | { readonly kind: 'crashes' }
  /** It runs so many times, each a line in its ledger, and then never again. */
  | { readonly kind: 'finishes'; readonly runs: number }
  /** It never runs. */
  | { readonly kind: 'rests' };

export interface Member {
  readonly name: string;
  readonly duty: Duty;
  readonly spec: Readonly<Record<string, unknown>>;
}

export interface RosterInput {
  readonly image: string;
  /** Before the names in the markers; without a slash. */
  readonly prefix: string;
  /** A folder on the host, in which each container has one for its ledger. */
  readonly ledgersDir: string;
  /** Host ports for those that serve, at least serverCount. */
  readonly hostPorts: readonly number[];
}

export const serverCount = 8;
/** Names of those that come and go. */
export const guestNames: readonly string[] = ['guest-1', 'guest-2', 'guest-3', 'guest-4', 'guest-5', 'guest-6'];

const quickBackoff = { initial: '0s', factor: 2, max: '2s', jitter: 0.1, resetAfter: '5s' };
const serveScript =
  'mkdir -p /data; [ -s /data/birth ] || cat /proc/sys/kernel/random/uuid > /data/birth; exec httpd -f -p 8080 -h /data -r "$0"';
const logScript =
  'trap "exit 0" TERM; pad=$(printf %200s | tr " " .); while :; do read -r up rest < /proc/uptime; echo "$up $pad"; sleep 0.2 & wait $!; done';
// Debian's static busybox crashes where it looks up names, so it reads the file that its link is in, anew each time.
const askScript =
  'trap "exit 0" TERM; while :; do ip=$(sed -n "s/\\tserver .*//p" /etc/hosts); said=$(printf "GET /birth HTTP/1.0\\r\\n\\r\\n" | nc -w 2 "$ip" 8080 | tail -n 1); [ -n "$said" ] && read -r up rest < /proc/uptime && echo "$up $said" > /ledger/new && mv /ledger/new /ledger/heard; sleep 0.5 & wait $!; done';
const idleScript = 'trap "exit 0" TERM; while :; do sleep 1000 & wait $!; done';
const noteRun = 'read -r up rest < /proc/uptime; echo "$up" >> /ledger/runs';
const crashScript = `${noteRun}; sleep 0.3; exit 1`;

export function markerOf(prefix: string, name: string, value: string): string {
  return `${prefix}/${name}/${value}`;
}

/** The first process: a shell that runs the script and carries the marker as $0. */
export function commandOf(script: string, marker: string): readonly string[] {
  return ['sh', '-c', script, marker];
}

export function createRoster(input: RosterInput): readonly Member[] {
  const { image, prefix, ledgersDir, hostPorts } = input;
  const common = { image, imagePullPolicy: 'IfNotPresent', terminationGracePeriodSeconds: 1, backoff: quickBackoff };
  const member = (name: string, duty: Duty, script: string, more: object = {}): Member => ({
    name,
    duty,
    spec: { ...common, command: commandOf(script, markerOf(prefix, name, '0')), ...more },
  });
  const ledger = (name: string) => ({
    volumes: [{ name: 'ledger', hostPath: { path: join(ledgersDir, name), type: 'DirectoryOrCreate' } }],
    volumeMounts: [{ name: 'ledger', mountPath: '/ledger' }],
  });
  const numbered = (count: number): readonly number[] => Array.from({ length: count }, (_, index) => index + 1);

  const servers = hostPorts.slice(0, serverCount).map((hostPort, index) =>
    member(`server-${index + 1}`, { kind: 'serves', hostPort }, serveScript, {
      ports: [{ containerPort: 8080, hostPort }],
      volumes: [{ name: 'data', volume: { name: `server-${index + 1}` } }],
      volumeMounts: [{ name: 'data', mountPath: '/data' }],
      // Two of them are of those that are only started again when they were not stopped.
      ...(index < 2 ? { restartPolicy: 'UnlessStopped' } : {}),
    }),
  );
  const loggers = numbered(3).map((number) =>
    member(`logger-${number}`, { kind: 'logs' }, logScript, { logging: { maxSize: '16Ki', maxFiles: 2 } }),
  );
  const askers = numbered(3).map((number) => {
    const name = `asker-${number}`;
    const server = `server-${number}`;
    const links = { links: [{ name: server, alias: 'server' }], dependsOn: [{ name: `server-${number + 1}` }] };
    return member(name, { kind: 'asks', server }, askScript, { ...links, ...ledger(name) });
  });
  const idlers = numbered(2).map((number) => member(`idler-${number}`, { kind: 'idles' }, idleScript));
  const limited = numbered(2).map((number) => {
    const pidsLimit = 30 + number;
    const resources = { resources: { limits: { pids: pidsLimit, memory: '64Mi' } } };
    return member(`limited-${number}`, { kind: 'idles', pidsLimit }, idleScript, resources);
  });
  const crashers = numbered(2).map((number) => {
    const name = `crasher-${number}`;
    const backoff = { initial: '200ms', factor: 2, max: '1s', jitter: 0.1 };
    return member(name, { kind: 'crashes' }, crashScript, { ...ledger(name), backoff });
  });
  const jobs = [
    member('job-done', { kind: 'finishes', runs: 1 }, `${noteRun}; exit 0`, {
      ...ledger('job-done'),
      restartPolicy: 'Never',
    }),
    member('job-failed', { kind: 'finishes', runs: 1 }, `${noteRun}; exit 3`, {
      ...ledger('job-failed'),
      restartPolicy: 'Never',
    }),
    member('job-third-try', { kind: 'finishes', runs: 3 }, `${noteRun}; [ $(wc -l < /ledger/runs) -ge 3 ]`, {
      ...ledger('job-third-try'),
      restartPolicy: 'OnFailure',
    }),
  ];
  const resting = member('resting', { kind: 'rests' }, idleScript, { desiredState: 'Stopped' });
  return [...servers, ...loggers, ...askers, ...idlers, ...limited, ...crashers, ...jobs, resting];
}

/** What a guest is, chosen by a number from 0 to below 1. Its value is that of the write that made or changed it. */
export function guestSpec(
  { image, prefix }: Pick<RosterInput, 'image' | 'prefix'>,
  { name, value, chance }: { readonly name: string; readonly value: string; readonly chance: number },
): Readonly<Record<string, unknown>> {
  const common = { image, imagePullPolicy: 'IfNotPresent', terminationGracePeriodSeconds: 1, backoff: quickBackoff };
  const marker = markerOf(prefix, name, value);
  if (chance < 0.6) return { ...common, command: commandOf(idleScript, marker) };
  const ports = [{ containerPort: 8080, hostPort: 0 }];
  if (chance < 0.8) return { ...common, command: commandOf(serveScript, marker), ports };
  return { ...common, command: commandOf(idleScript, marker), resources: { limits: { pids: 40 } } };
}
