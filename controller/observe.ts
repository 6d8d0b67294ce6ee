/** Looks at what else a container's step depends on: the containers it links to, the circle it may be in. Effects: reads only. */
import type { Container } from '../crds/index.ts';
import type { Runtime } from '../runtime/index.ts';
import { containerIDOf, type Desired, type Mutable } from './desired.ts';
import { type Dependency, findCycle, linkEnv, linkHosts } from './links.ts';

/** The present objects by key. */
export interface Objects {
  object(key: string): Container | undefined;
}

/** The desired state, with its problem if the dependencies run in a circle that this container is part of. */
export function checkCycle(object: Container, desired: Desired, { object: find }: Objects): Desired {
  if (desired.problem !== undefined || desired.dependsOn.length === 0) return desired;
  const { namespace, name } = object.metadata;
  // Whoever merely depends on one in a circle waits for it; only those in it are at fault.
  const cycle = findCycle(name, (one) => namesOf(one === name ? object : find(`${namespace}/${one}`)));
  if (cycle === undefined) return desired;
  const message = `spec.links and spec.dependsOn: ${cycle.join(' → ')} is a circle, so none of them could ever start; remove one of these`;
  return { ...desired, problem: { reason: 'DependencyCycle', message } };
}

function namesOf(object: Container | undefined): string[] {
  return [...(object?.spec.links ?? []), ...(object?.spec.dependsOn ?? [])].map(({ name }) => name);
}

/** One for each name in desired.dependsOn. */
export async function observeDependencies(
  object: Container,
  desired: Desired,
  { view, runtime }: { readonly view: Objects; readonly runtime: Runtime },
): Promise<Dependency[]> {
  return await Promise.all(
    desired.dependsOn.map(async (name): Promise<Dependency> => {
      const target = view.object(`${object.metadata.namespace}/${name}`);
      const unknown: Dependency = { name, state: target === undefined ? 'missing' : 'waiting', ports: [], env: [] };
      if (target === undefined) return unknown;
      const container = await runtime.containers.inspect(containerIDOf(target.metadata.uid));
      if (container === undefined) return unknown;
      const { state, ip } = container;
      const isLinked = desired.links.some((link) => link.name === name);
      const imageConfig = isLinked ? (await runtime.images.inspect(container.imageID))?.config : undefined;
      const hasStarted = state.kind === 'running' && (!isLinked || ip !== undefined);
      const hasCompleted = state.kind === 'exited' && state.exit.code === 0;
      return {
        name,
        state: hasStarted ? 'running' : hasCompleted ? 'completed' : 'waiting',
        ip,
        hostname: target.spec.hostname ?? name,
        ports: (target.spec.ports ?? []).map((port) => ({
          port: port.containerPort,
          protocol: port.protocol === 'UDP' ? 'udp' : 'tcp',
        })),
        env: target.spec.env ?? [],
        imageConfig,
      };
    }),
  );
}

/** What can change in place, as it should be; undefined while a link's target has no address, so that the old one is kept. Pure. */
export function mutableOf(
  desired: Desired,
  object: Container,
  dependencies: readonly Dependency[],
): Mutable | undefined {
  const { env, limits, log } = desired.config;
  const hasNoAddress = ({ name }: { readonly name: string }): boolean =>
    dependencies.find((one) => one.name === name)?.ip === undefined;
  if (desired.links.some(hasNoAddress)) return undefined;
  return {
    hosts: linkHosts(desired.links, dependencies),
    env: [...linkEnv(object.metadata.name, desired.links, dependencies), ...env],
    limits,
    log,
  };
}
