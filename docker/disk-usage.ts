/** `docker system df`: what images, containers and volumes take of the disk. Effects: reads whole trees. */
import { volumeNameOf } from '../crds/index.ts';
import { summarize } from './containers.ts';
import { badParameter } from './docker-error.ts';
import type { Gateway } from './gateway-parts.ts';
import { createImageLookup } from './image-lookup.ts';
import { imageUsers } from './image-users.ts';
import { formatImageSummary, sumLayers } from './image-view.ts';
import { describeAll } from './images.ts';
import { viewOf } from './parts.ts';
import type { Call, Route } from './route.ts';

const types = ['container', 'image', 'volume', 'build-cache'];

export function diskUsageRoutes(gateway: Gateway): readonly Route[] {
  return [{ method: 'GET', path: '/system/df', handle: (call) => diskUsage(gateway, call) }];
}

async function diskUsage(gateway: Gateway, call: Call): Promise<void> {
  const asked = call.query.getAll('type').filter((type) => type !== '');
  const unknown = asked.find((type) => !types.includes(type));
  if (unknown !== undefined) throw badParameter(`unknown object type: ${unknown}`);
  const isAsked = (type: string): boolean => asked.length === 0 || asked.includes(type);
  call.json(200, {
    ...(isAsked('image') ? await imageUsage(gateway, call) : { LayersSize: 0, Images: null }),
    Containers: isAsked('container') ? await containerUsage(gateway, call) : null,
    Volumes: isAsked('volume') ? await volumeUsage(gateway, call) : null,
    // Nothing is built here, so nothing of it is kept.
    BuildCache: isAsked('build-cache') ? [] : null,
    ...(call.version < 42 ? { BuilderSize: 0 } : {}),
  });
}

async function imageUsage({ runtime, objects, now }: Gateway, { version }: Call): Promise<object> {
  const images = await describeAll(runtime.images);
  const { sharedBytes, totalBytes } = sumLayers(images);
  const users = imageUsers(objects.list(), now());
  return {
    LayersSize: totalBytes,
    Images: images.map((image) =>
      formatImageSummary(image, {
        version,
        sharedBytes: sharedBytes.get(image.id),
        containers: users.filter(({ imageID }) => imageID === image.id).length,
      }),
    ),
  };
}

async function containerUsage(gateway: Gateway, call: Call): Promise<readonly object[]> {
  const images = createImageLookup(gateway.runtime);
  const view = await viewOf(gateway);
  return summarize(gateway, { objects: gateway.objects.list(), images, view, withSizes: true }, call.signal);
}

async function volumeUsage({ runtime, namespace }: Gateway, call: Call): Promise<readonly object[]> {
  const prefix = volumeNameOf(namespace, '');
  const volumes = await runtime.volumes.list();
  return Promise.all(
    volumes.map(async ({ name, labels, createdAtMs, path, usedBy }) => ({
      Name: name.startsWith(prefix) ? name.slice(prefix.length) : name,
      Driver: 'local',
      Mountpoint: path,
      CreatedAt: new Date(createdAtMs).toISOString(),
      Labels: labels,
      Options: null,
      Scope: 'local',
      UsageData: { RefCount: usedBy.length, Size: await runtime.volumes.usage(name, call.signal) },
    })),
  );
}
