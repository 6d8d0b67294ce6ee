/** `docker network`: list, inspect, create, connect, disconnect, remove, prune. Effects; the rules are in network-rules.ts. */
import { callApi } from '../client/index.ts';
import { apiVersion, type Container, containerIDOf, defaultNetworkName, networkPlural } from '../crds/index.ts';
import { isUp, stateOf } from './container-state.ts';
import { parseUntil } from './containers.ts';
import { badParameter, DockerError } from './docker-error.ts';
import { hasLabelOf, matchesLabels, parseFilters } from './filters.ts';
import type { Gateway } from './gateway-parts.ts';
import { dockerNameOf, objectNameFor } from './names.ts';
import {
  createNetworkLookup,
  type FoundNetwork,
  type NetworkLookup,
  networkIDOf,
  parseNetwork,
} from './network-lookup.ts';
import {
  chooseNetworks,
  forbidden,
  formatNetwork,
  formatNetworkMember,
  isOn,
  joined,
  left,
  networkFilters,
  networkLabels,
  parseConnect,
  parseDisconnect,
  parseNetworkRequest,
} from './network-rules.ts';
import type { SpecNetwork } from './network-spec.ts';
import { toDockerError } from './objects.ts';
import { viewOf } from './parts.ts';
import type { Answer } from './ports-spec.ts';
import type { Call, Route } from './route.ts';

/** How long a container that runs may take to be where it is to be. */
const moveDeadlineMs = 20_000;

export function networkRoutes(gateway: Gateway): readonly Route[] {
  const startedAt = new Date(gateway.now()).toISOString();
  const moves = createQueue();
  const lookUp = ({ signal }: Call): Promise<NetworkLookup> => createNetworkLookup(gateway, { objects: 'all', signal });
  const found = async (call: Call): Promise<FoundNetwork> => (await lookUp(call)).find(call.params.id ?? '');
  return [
    {
      method: 'GET',
      path: '/networks',
      handle: async (call) => list(gateway, { startedAt, ...(await lookUp(call)) }, call),
    },
    {
      method: 'GET',
      path: '/networks/{id}',
      handle: async (call) => inspect(gateway, { startedAt, ...(await lookUp(call)) }, call),
    },
    { method: 'POST', path: '/networks/create', handle: async (call) => create(gateway, await lookUp(call), call) },
    { method: 'POST', path: '/networks/prune', handle: async (call) => prune(gateway, await lookUp(call), call) },
    {
      method: 'POST',
      path: '/networks/{id}/connect',
      handle: async (call) => {
        const network = await found(call);
        const { container, aliases, links } = parseConnect(await call.body(), network);
        await moves(containerIDOf(gateway.find(container)), async () => {
          const object = gateway.find(container);
          const name = dockerNameOf(object, gateway.namespace);
          if (links.length > 0 && isUp(stateOf(object, gateway.now())))
            throw badParameter('EndpointConfig.Links: a container gets its links before it is started');
          const more = links.map((link) => ({ ...link, name: gateway.find(link.name).metadata.name }));
          const networks = joined(object, network, { aliases, dockerName: name });
          await move(gateway, object, { networks, links: more }, call);
          emit(gateway, 'connect', network, { container: containerIDOf(object) });
        });
        call.empty(200);
      },
    },
    {
      method: 'POST',
      path: '/networks/{id}/disconnect',
      handle: async (call) => {
        const network = await found(call);
        const { container } = parseDisconnect(await call.body());
        await moves(containerIDOf(gateway.find(container)), async () => {
          const object = gateway.find(container);
          await move(gateway, object, { networks: left(object, network), links: [] }, call);
          emit(gateway, 'disconnect', network, { container: containerIDOf(object) });
        });
        call.empty(200);
      },
    },
    {
      method: 'DELETE',
      path: '/networks/{id}',
      handle: async (call) => {
        await remove(gateway, await found(call), call.signal);
        call.empty(204);
      },
    },
  ];
}

interface Seen extends NetworkLookup {
  readonly startedAt: string;
}

function usersOf({ objects }: Gateway, network: FoundNetwork): readonly Container[] {
  return objects.list().filter((object) => isOn(object, network));
}

function runningUsersOf(gateway: Gateway, network: FoundNetwork): readonly Container[] {
  return usersOf(gateway, network).filter((object) => isUp(stateOf(object, gateway.now())));
}

async function list(gateway: Gateway, { all, facts, startedAt }: Seen, call: Call): Promise<void> {
  const filters = parseFilters(call.query, networkFilters);
  const chosen = chooseNetworks(all, filters, (network) => usersOf(gateway, network).length > 0);
  call.json(
    200,
    chosen.map((network) => formatNetwork(network, { facts, startedAt, containers: {} })),
  );
}

async function inspect(gateway: Gateway, { find, facts, startedAt }: Seen, call: Call): Promise<void> {
  const network = find(call.params.id ?? '');
  const view = await viewOf(gateway);
  const containers: Record<string, Answer> = {};
  for (const object of runningUsersOf(gateway, network)) {
    const endpoint = await view.endpoint(object, network.name);
    const name = dockerNameOf(object, gateway.namespace);
    if (endpoint !== undefined) containers[containerIDOf(object)] = formatNetworkMember(name, endpoint);
  }
  call.json(200, formatNetwork(network, { facts, startedAt, containers }));
}

function pathOf(namespace: string, name = ''): string {
  return `/apis/${apiVersion}/namespaces/${namespace}/${networkPlural}${name === '' ? '' : `/${name}`}`;
}

async function create(gateway: Gateway, { all, facts }: NetworkLookup, call: Call): Promise<void> {
  const { access, namespace } = gateway;
  const { name, object } = parseNetworkRequest(await call.body(), { all, hasIPv6: facts.gateway6 !== undefined });
  let answer: unknown;
  try {
    answer = await callApi(access, { method: 'POST', path: pathOf(namespace), body: object, signal: call.signal });
  } catch (error) {
    const known = toDockerError(error);
    const isTaken = known instanceof DockerError && known.status === 409;
    throw isTaken ? new DockerError(409, `network with name ${name} already exists`, { cause: error }) : known;
  }
  const made = parseNetwork(answer);
  if (made === undefined) throw new DockerError(502, 'the API server answered with a body that is no Network');
  const id = networkIDOf(made);
  emit(gateway, 'create', { objectName: objectNameFor(name), name, id, object: made });
  call.json(201, { Id: id, Warning: '' });
}

async function remove(gateway: Gateway, network: FoundNetwork, signal: AbortSignal): Promise<void> {
  const { object, name, id } = network;
  if (object === undefined) throw forbidden(`${name} is a pre-defined network and cannot be removed`);
  if (runningUsersOf(gateway, network).length > 0)
    throw forbidden(`error while removing network: network ${name} id ${id} has active endpoints`);
  const { namespace, name: objectName, uid } = object.metadata;
  const body = { apiVersion: 'v1', kind: 'DeleteOptions', preconditions: { uid } };
  try {
    await callApi(gateway.access, { method: 'DELETE', path: pathOf(namespace, objectName), body, signal });
  } catch (error) {
    throw toDockerError(error);
  }
  emit(gateway, 'destroy', network);
}

async function prune(gateway: Gateway, { all }: NetworkLookup, call: Call): Promise<void> {
  const filters = parseFilters(call.query, ['until', 'label', 'label!']);
  const untilMs = parseUntil(filters.get('until')?.[0], gateway.now());
  const deleted: string[] = [];
  for (const network of all) {
    const { object, name } = network;
    const labels = networkLabels(network);
    if (object === undefined || object.metadata.namespace !== gateway.namespace) continue;
    if (untilMs !== undefined && Date.parse(object.metadata.creationTimestamp) >= untilMs) continue;
    if (!matchesLabels(filters, labels) || hasLabelOf(filters, labels) || runningUsersOf(gateway, network).length > 0)
      continue;
    await remove(gateway, network, call.signal);
    deleted.push(name);
  }
  call.json(200, { NetworksDeleted: deleted.length === 0 ? null : deleted });
}

/** Returns when one that runs is where it is to be. */
async function move(
  { objects, now }: Gateway,
  object: Container,
  change: { readonly networks: readonly SpecNetwork[]; readonly links: NonNullable<Container['spec']['links']> },
  call: Call,
): Promise<void> {
  const { networks, links } = change;
  const [only] = networks;
  const isPlain = networks.length === 1 && only?.name === defaultNetworkName;
  const spec = {
    networks: isPlain ? null : networks,
    ...(links.length === 0 ? {} : { links: [...(object.spec.links ?? []), ...links] }),
  };
  const patched = await objects.patch(object, { spec }, call.signal);
  if (!isUp(stateOf(patched, now()))) return;
  const { uid, generation } = patched.metadata;
  const deadline = AbortSignal.any([call.signal, AbortSignal.timeout(moveDeadlineMs)]);
  await objects.waitFor(
    uid,
    (one) => one === undefined || (one.status?.observedGeneration ?? 0) >= generation || undefined,
    deadline,
  );
}

function emit(
  { events }: Gateway,
  Action: 'create' | 'destroy' | 'connect' | 'disconnect',
  { id, name }: FoundNetwork,
  more: Readonly<Record<string, string>> = {},
): void {
  events.emit({ Type: 'network', Action, Actor: { ID: id, Attributes: { name, type: 'bridge', ...more } } });
}

/** One change of a container's networks at a time: each is a whole list. */
function createQueue(): (key: string, work: () => Promise<void>) => Promise<void> {
  const last = new Map<string, Promise<void>>();
  return async (key, work) => {
    const before = last.get(key) ?? Promise.resolve();
    const turn = before.then(work);
    const settled = turn.catch(() => {}); // the caller of this turn gets the error
    last.set(key, settled);
    try {
      await turn;
    } finally {
      if (last.get(key) === settled) last.delete(key);
    }
  };
}
