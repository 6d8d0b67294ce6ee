/** dockerd as the bench drives and watches it (test/dockerd.ts starts it). Effects. */
import { readFile } from 'node:fs/promises';
import { type Dockerd, startDockerd as startDaemon } from '../dockerd.ts';
import { execInDocker, openTerminalInDocker } from './dockerd-streams.ts';
import { type BenchImage, benchCommand, createWaits, type Engine } from './engine.ts';
import { createHttpClient, type HttpClient } from './http.ts';
import { descendants, observeProcesses } from './processes.ts';

const apiVersion = '/v1.41';

/** Starts dockerd and loads the image. Throws with the end of its log if it does not start. */
export async function startDockerd(image: BenchImage): Promise<Engine> {
  const daemon = await startDaemon();
  const client = createHttpClient({ kind: 'unix', socketPath: daemon.socketPath });
  const close = async () => {
    client.close();
    await daemon.close();
  };
  try {
    await client.upload(`${apiVersion}/images/load?quiet=1`, await readFile(image.path), 'application/x-tar');
    return await createEngine({ client, daemon, image: image.name, close });
  } catch (cause) {
    await close();
    throw new Error('dockerd does not take the image', { cause });
  }
}

async function createEngine(deps: {
  readonly client: HttpClient;
  readonly daemon: Dockerd;
  readonly image: string;
  readonly close: () => Promise<void>;
}): Promise<Engine> {
  const { client, daemon, image, close } = deps;
  const { socketPath, version, cgroupParent, rootPid } = daemon;
  const streams = { client, socketPath, apiVersion };
  const starts = new Map<string, number>();
  const ended = new Set<string>();
  const waits = createWaits();
  await client.stream(`${apiVersion}/events`, (line) => {
    // Source: Docker Engine API 1.41, GET /events.
    const { Type, Action, Actor } = line as { Type: string; Action: string; Actor: { Attributes: { name?: string } } };
    const name = Actor.Attributes.name;
    if (Type !== 'container' || name === undefined) return;
    if (Action === 'die') ended.add(name);
    else if (Action === 'start') starts.set(name, (starts.get(name) ?? 0) + 1);
    else return;
    waits.changed();
  });
  const started = (name: string): number => starts.get(name) ?? 0;
  return {
    name: `dockerd ${version}`,
    run: async (container) => {
      const before = started(container);
      await client.call('POST', `${apiVersion}/containers/create?name=${container}`, {
        Image: image,
        Cmd: benchCommand,
        HostConfig: { RestartPolicy: { Name: 'always' } },
      });
      await client.call('POST', `${apiVersion}/containers/${container}/start`);
      await waits.until(`the start of ${container} by dockerd`, () => started(container) > before);
    },
    keep: async (processes) => {
      for (const { name, args, pipesDir } of processes) {
        await client.call('POST', `${apiVersion}/containers/create?name=${name}`, {
          Image: image,
          Cmd: ['sh', ...args],
          HostConfig: { RestartPolicy: { Name: 'always' }, Binds: [`${pipesDir}:${pipesDir}`] },
        });
        await client.call('POST', `${apiVersion}/containers/${name}/start`);
      }
    },
    exec: (container, command) => execInDocker(streams, container, command),
    openTerminal: (container) => openTerminalInDocker(streams, container),
    runToEnd: async (container, command) => {
      await client.call('POST', `${apiVersion}/containers/create?name=${container}`, { Image: image, Cmd: command });
      await client.call('POST', `${apiVersion}/containers/${container}/start`);
      await waits.until(`the end of ${container} by dockerd`, () => ended.has(container));
    },
    pidOf: async (container) => {
      const answer = await client.call('GET', `${apiVersion}/containers/${container}/json`);
      return hostPidOf((answer as { State: { Pid: number } }).State.Pid, cgroupParent);
    },
    runsAgain: (container) => {
      const before = started(container);
      return waits.until(`the restart of ${container} by dockerd`, () => started(container) > before);
    },
    remove: async (containers) => {
      await Promise.all(
        containers.map((container) => client.call('DELETE', `${apiVersion}/containers/${container}?force=1&v=1`)),
      );
    },
    processes: async () => {
      const all = await observeProcesses();
      const isMonitor = ({ name }: { name: string }) => name.startsWith('containerd-shim');
      const ours = descendants(all, rootPid, () => false);
      const daemon = descendants(all, rootPid, isMonitor).filter(
        ({ name }) => name === 'dockerd' || name === 'containerd',
      );
      return { daemon: daemon.map(({ pid }) => pid), monitors: ours.filter(isMonitor).map(({ pid }) => pid) };
    },
    close,
  };
}

/** dockerd tells pids of its own namespace: finds the process of our cgroup that has this pid there. */
async function hostPidOf(innerPid: number, cgroupParent: string): Promise<number> {
  for (const { pid } of await observeProcesses()) {
    const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
    // Ours, dockerd's, the container's.
    const [, ...pids] = /^NSpid:(.*)$/m.exec(status)?.[1]?.split('\t').map(Number) ?? [];
    if (pids.length !== 3 || pids[1] !== innerPid) continue;
    const cgroups = await readFile(`/proc/${pid}/cgroup`, 'utf8').catch(() => '');
    if (cgroups.includes(`${cgroupParent}/`)) return pid;
  }
  throw new Error(`no process of this machine has pid ${innerPid} among dockerd's`);
}
