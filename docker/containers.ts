/** Containers: create, list, inspect, update, remove, prune. Effects; what they mean is in the pure files that they call. */
import { type Container, containerIDOf } from '../crds/index.ts';
import { ContainerNotFoundError, type ImageInfo } from '../runtime/index.ts';
import { chooseContainers, type ListContext, listFilters } from './container-list.ts';
import { stateOf } from './container-state.ts';
import { imageOfRequest, parseCreateRequest, parseRestartPolicy, type SpecDraft } from './create-request.ts';
import { createdMs, labelsOf } from './docker-config.ts';
import { badParameter, conflict, DockerError, notFound } from './docker-error.ts';
import { attributesOf } from './event-rules.ts';
import { readFields } from './fields.ts';
import { matchesLabels, parseFilters } from './filters.ts';
import type { Gateway } from './gateway-parts.ts';
import { createImageLookup, type ImageLookup } from './image-lookup.ts';
import { formatInspect, formatSummary } from './inspect.ts';
import { nameConflict } from './lifecycle.ts';
import { dockerNameOf, generateName, isDockerName } from './names.ts';
import { createParts, type View, viewOf } from './parts.ts';
import { removeContainer } from './removal.ts';
import { parseResources } from './resources-spec.ts';
import { booleanOf, type Call, type Route } from './route.ts';

const nameAttempts = 10;

export function containerRoutes(gateway: Gateway): readonly Route[] {
  const found = (call: Call): Container => gateway.find(call.params.id ?? '');
  return [
    { method: 'POST', path: '/containers/create', handle: (call) => create(gateway, call) },
    { method: 'GET', path: '/containers/json', handle: (call) => list(gateway, call) },
    { method: 'POST', path: '/containers/prune', handle: (call) => prune(gateway, call) },
    { method: 'GET', path: '/containers/{id}/json', handle: (call) => inspect(gateway, found(call), call) },
    { method: 'POST', path: '/containers/{id}/update', handle: (call) => update(gateway, found(call), call) },
    {
      method: 'DELETE',
      path: '/containers/{id}',
      handle: async (call) => {
        if (booleanOf(call.query, 'link'))
          throw badParameter(
            'link: a link cannot be taken from a container that exists; remove the container and create it without',
          );
        const withVolumes = booleanOf(call.query, 'v');
        await removeContainer(
          gateway,
          found(call),
          { isForced: booleanOf(call.query, 'force'), withVolumes },
          call.signal,
        );
        call.empty(204);
      },
    },
  ];
}

async function create(gateway: Gateway, call: Call): Promise<void> {
  const { objects, runtime, namespace, now, random } = gateway;
  const body = await call.body();
  const given = call.query.get('name')?.replace(/^\//, '') ?? '';
  if (given !== '' && !isDockerName(given))
    throw badParameter(`Invalid container name (${given}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`);
  const reference = imageOfRequest(body);
  const platform = call.query.get('platform') ?? '';
  const image = await createImageLookup(runtime).find(reference, platform === '' ? undefined : platform);
  if (image === undefined) throw notFound(`No such image: ${withTag(reference)}`);
  for (let attempt = 0; ; attempt += 1) {
    const name = given === '' ? generateName(random, attempt) : given;
    const holder = objects.list().find((one) => dockerNameOf(one, namespace) === name);
    if (holder !== undefined) {
      if (given !== '') throw nameConflict(name, holder);
      if (attempt < nameAttempts) continue;
    }
    const parts = await createParts(gateway, { body, name, image: image.info });
    const draft = parseCreateRequest(body, {
      name,
      image: image.reference,
      imageCommand: [...image.info.config.entrypoint, ...image.info.config.cmd],
      imageEnv: image.info.config.env,
      platform: platform === '' ? undefined : platform,
      nowMs: now(),
      linkTarget: (target) => linkTarget(gateway, target),
      parts: parts.read,
    });
    await parts.prepare();
    try {
      const object = await objects.create(namespace, draft, call.signal);
      return call.json(201, { Id: containerIDOf(object), Warnings: parts.warnings });
    } catch (error) {
      const isTaken = error instanceof DockerError && error.status === 409;
      if (isTaken && given === '' && attempt < nameAttempts) continue;
      const other = isTaken ? objects.list().find((one) => dockerNameOf(one, namespace) === name) : undefined;
      throw other === undefined ? error : nameConflict(name, other);
    }
  }
}

function linkTarget({ find, namespace }: Gateway, reference: string): string {
  let target: Container;
  try {
    target = find(reference);
  } catch (error) {
    if (!(error instanceof DockerError)) throw error;
    throw badParameter(`could not get container for ${reference}: ${error.message}`);
  }
  const { metadata } = target;
  if (metadata.namespace === namespace) return metadata.name;
  throw badParameter(
    `Links: ${reference} is of namespace "${metadata.namespace}"; only containers of "${namespace}" can be linked to`,
  );
}

/** As docker names an image that it does not have. */
function withTag(reference: string): string {
  return /@|:[^/]*$/.test(reference) ? reference : `${reference}:latest`;
}

async function list(gateway: Gateway, call: Call): Promise<void> {
  const { objects, namespace, now, runtime } = gateway;
  const filters = parseFilters(call.query, listFilters);
  const limit = Number(call.query.get('limit') ?? '0');
  if (!Number.isInteger(limit)) throw badParameter('limit: give a whole number');
  const images = createImageLookup(runtime);
  const ancestors = new Map<string, string>();
  for (const reference of filters.get('ancestor') ?? []) {
    const image = await images.find(reference, undefined);
    if (image !== undefined) ancestors.set(reference, image.info.id);
  }
  const view = await viewOf(gateway);
  const context: ListContext = {
    namespace,
    nowMs: now(),
    imageIDOf: (reference) => ancestors.get(reference),
    networksOf: view.networkNames,
    volumesOf: view.volumeNames,
    find: gateway.find,
  };
  const options = { all: booleanOf(call.query, 'all'), limit: limit > 0 ? limit : undefined, filters };
  const chosen = chooseContainers(objects.list(), options, context);
  call.json(
    200,
    await summarize(gateway, { objects: chosen, images, view, withSizes: booleanOf(call.query, 'size') }, call.signal),
  );
}

export interface Summarized {
  readonly objects: readonly Container[];
  readonly images: ImageLookup;
  readonly view: View;
  /** Reads what each has written. */
  readonly withSizes: boolean;
}

/** Lines of `docker ps`. */
export async function summarize(
  gateway: Gateway,
  { objects, images, view, withSizes }: Summarized,
  signal: AbortSignal,
): Promise<readonly object[]> {
  const { namespace, now } = gateway;
  return Promise.all(
    objects.map(async (object) => {
      const image = await images.of(object);
      const summary = formatSummary({ object, image, namespace, nowMs: now(), ...view.summary(object, image) });
      return withSizes ? { ...summary, ...(await sizesOf(gateway, object, image, signal)) } : summary;
    }),
  );
}

/** SizeRootFs is what the container sees: its image, and what it wrote. */
async function sizesOf(
  { runtime }: Gateway,
  object: Container,
  image: ImageInfo | undefined,
  signal: AbortSignal,
): Promise<{ readonly SizeRw: number; readonly SizeRootFs: number }> {
  const SizeRw = await runtime.containers.usage(containerIDOf(object), signal).catch((error: unknown) => {
    if (error instanceof ContainerNotFoundError) return 0; // it has none yet, or none any more
    throw error;
  });
  return { SizeRw, SizeRootFs: SizeRw + (image?.sizeBytes ?? 0) };
}

async function inspect(gateway: Gateway, object: Container, call: Call): Promise<void> {
  const { objects, namespace, now, runtime } = gateway;
  const image = await createImageLookup(runtime).of(object);
  const view = await viewOf(gateway);
  const details = await view.details(object, image);
  const sizes = booleanOf(call.query, 'size') ? await sizesOf(gateway, object, image, call.signal) : {};
  call.json(200, {
    ...formatInspect({
      object,
      image,
      namespace,
      nowMs: now(),
      execIDs: gateway.execIDsOf(containerIDOf(object)),
      nameOfLink: (name) => {
        const target = objects.find(object.metadata.namespace, name);
        return target === undefined ? name : dockerNameOf(target, namespace);
      },
      ...details,
    }),
    ...sizes,
  });
}

async function update(gateway: Gateway, object: Container, call: Call): Promise<void> {
  const problems: string[] = [];
  const fields = readFields(await call.body(), '', problems);
  const policy = fields.raw('RestartPolicy') === undefined ? {} : policyOf(fields);
  const { shmSize: _fixed, ...resources } = parseResources(fields);
  for (const name of [
    'BlkioWeight',
    'BlkioWeightDevice',
    'Devices',
    'DeviceRequests',
    'Ulimits',
    'Init',
    'CpuCount',
    'CpuPercent',
    'IOMaximumIOps',
    'IOMaximumBandwidth',
    'DeviceCgroupRules',
    'BlkioDeviceReadBps',
    'BlkioDeviceWriteBps',
    'BlkioDeviceReadIOps',
    'BlkioDeviceWriteIOps',
  ])
    fields.refuse(name, [], 'it cannot be changed');
  fields.finish();
  if (problems.length > 0) throw badParameter(problems.join('; '));
  if (
    object.spec.ttlSecondsAfterFinished === 0 &&
    policy.restartPolicy !== undefined &&
    policy.restartPolicy !== 'Never'
  )
    throw conflict('Restart policy cannot be updated because AutoRemove is enabled for the container');
  if (stateOf(object, gateway.now()).name === 'removing')
    throw conflict(
      `Cannot update container ${containerIDOf(object)}: Container is marked for removal and cannot be "update".`,
    );
  await gateway.objects.patch(object, { spec: { ...policy, ...resources } }, call.signal);
  gateway.events.emit({
    Type: 'container',
    Action: 'update',
    Actor: { ID: containerIDOf(object), Attributes: attributesOf(object, gateway.namespace) },
  });
  call.json(200, { Warnings: null });
}

function policyOf(
  fields: ReturnType<typeof readFields>,
): Pick<SpecDraft, 'restartPolicy'> & { readonly restart?: object } {
  const policy = fields.object('RestartPolicy');
  // An update of limits alone sends an empty one.
  if (policy.text('Name') === undefined) return {};
  const { restartPolicy, restart } = parseRestartPolicy(policy);
  return { restartPolicy, restart: { maxRetries: restart?.maxRetries ?? null } };
}

/** It has ended for good, or was never started; one that waits to start is not left over. */
function isLeftOver(object: Container, nowMs: number): boolean {
  const { name } = stateOf(object, nowMs);
  const { metadata, spec, status } = object;
  if (spec.desiredState === 'Stopped') return name === 'exited' || name === 'created';
  return name === 'exited' && (status?.observedGeneration ?? 0) >= metadata.generation;
}

async function prune(gateway: Gateway, call: Call): Promise<void> {
  const { objects, now } = gateway;
  const filters = parseFilters(call.query, ['until', 'label', 'label!']);
  const untilMs = parseUntil(filters.get('until')?.[0], now());
  const chosen = objects.list().filter((object) => {
    const labels = labelsOf(object);
    return (
      isLeftOver(object, now()) &&
      (untilMs === undefined || createdMs(object) < untilMs) &&
      matchesLabels(filters, labels) &&
      !(filters.get('label!') ?? []).some((one) => matchesLabels(new Map([['label', [one]]]), labels))
    );
  });
  const deleted: string[] = [];
  for (const { metadata } of chosen) {
    // Removing the others took its time: one that somebody started meanwhile stays.
    const object = objects.get(metadata.uid);
    if (object === undefined || !isLeftOver(object, now())) continue;
    await removeContainer(gateway, object, { isForced: false, withVolumes: false }, call.signal);
    deleted.push(containerIDOf(object));
  }
  call.json(200, { ContainersDeleted: deleted.length === 0 ? null : deleted, SpaceReclaimed: 0 });
}

/** A time of RFC 3339, seconds since 1970, or a duration before now (24h, 1h30m). Throws DockerError. */
export function parseUntil(text: string | undefined, nowMs: number): number | undefined {
  if (text === undefined || text === '') return undefined;
  if (/^\d{1,12}(\.\d+)?$/.test(text)) return Number(text) * 1000;
  const units: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1000 };
  if (/^(\d+(\.\d+)?[hms])+$/.test(text)) {
    const ms = [...text.matchAll(/([\d.]+)([hms])/g)].reduce(
      (sum, [, number, unit]) => sum + Number(number) * (units[unit ?? ''] ?? 0),
      0,
    );
    return nowMs - ms;
  }
  const ms = Date.parse(text);
  if (Number.isNaN(ms)) throw badParameter(`until: "${text}" is not a time; write it like 24h or 2026-11-24T00:00:00Z`);
  return ms;
}

export type { ImageLookup };
