/** What the crash tests do to images: an archive and a registry's repository hold one and the same. Effects: those of the runtime. */
import assert from 'node:assert/strict';
import { createReadStream, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { ImageInfo } from '../../runtime/index.ts';
import type { Scenario, World } from './scenarios.ts';

const never = new AbortController().signal;
/** What the registry has. */
export const repository = 'library/crash:1';
const imported = 'docker.io/library/imported:1';
const further = 'docker.io/library/further:1';

function registryName({ registry }: World): string {
  return `${registry}/${repository}`;
}

function pushedName({ registry }: World): string {
  return `${registry}/library/pushed:1`;
}

/** The images of the scenarios, which all have the same content. */
async function found({ runtime, imageID }: World): Promise<readonly ImageInfo[]> {
  return (await runtime.images.list()).filter(({ id }) => id !== imageID);
}

async function pull(world: World): Promise<void> {
  const { runtime, registry = '' } = world;
  const credentials = [{ registry, username: 'name', password: 'of no use' }];
  await runtime.images.ensure(registryName(world), 'if-not-present', never, { credentials });
}

async function importImage({ runtime, archive }: World): Promise<void> {
  await runtime.images.importArchive(createReadStream(archive), { name: imported }, never);
}

interface Given {
  /** Names of the image afterwards; undefined: it is not there. */
  readonly names: (world: World) => readonly string[] | undefined;
  prepare(world: World): Promise<unknown>;
  run(world: World): Promise<unknown>;
}

function scenario(name: string, { names, prepare, run }: Given): Scenario {
  return {
    name,
    run,
    goesOnWith: undefined,
    async prepare(world) {
      await prepare(world);
    },
    /** What is there at all is there whole. */
    async checkFound(world) {
      for (const { names: known } of await found(world))
        for (const one of known) await world.runtime.images.ensure(one, 'never', never);
    },
    async check(world) {
      const wanted = names(world);
      const images = await found(world);
      assert.deepEqual(
        images.map((image) => [...image.names].sort()),
        wanted === undefined ? [] : [[...wanted].sort()],
        name,
      );
      for (const one of wanted ?? []) await world.runtime.images.ensure(one, 'never', never);
    },
  };
}

const nothing = async (): Promise<void> => {};

export const imageScenarios: readonly Scenario[] = [
  scenario('pull an image', { names: (world) => [registryName(world)], prepare: nothing, run: pull }),
  scenario('fetch an image of an archive', {
    names: ({ archive }) => [`docker-archive:${archive}`],
    prepare: nothing,
    run: ({ runtime, archive }) => runtime.images.ensure(`docker-archive:${archive}`, 'if-not-present', never),
  }),
  scenario('import an image', { names: () => [imported], prepare: nothing, run: importImage }),
  scenario('export an image', {
    names: () => [imported],
    prepare: importImage,
    async run({ runtime, workDir }) {
      for (const format of ['docker-archive', 'oci-archive'] as const) {
        const target = join(workDir, `${format}.tar`);
        await runtime.images.exportArchive([imported], { format, target }, never);
        rmSync(target);
      }
    },
  }),
  scenario('take a name from an image', {
    names: () => [imported],
    async prepare(world) {
      await importImage(world);
      await world.runtime.images.importArchive(world.archive, { name: further }, never);
    },
    run: ({ runtime }) => runtime.images.remove(further),
  }),
  scenario('give an image a further name', {
    names: () => [further, imported],
    prepare: importImage,
    run: ({ runtime }) => runtime.images.tag(imported, further),
  }),
  scenario('leave an image without names', {
    names: () => [],
    prepare: importImage,
    run: ({ runtime }) => runtime.images.untag(imported),
  }),
  scenario('push an image', {
    names: (world) => [pushedName(world)],
    prepare: (world) => world.runtime.images.importArchive(world.archive, { name: pushedName(world) }, never),
    run: (world) => world.runtime.images.push(pushedName(world), {}, never),
  }),
  scenario('remove an image', {
    names: () => undefined,
    prepare: importImage,
    run: ({ runtime }) => runtime.images.remove(imported),
  }),
  scenario('collect unused images', {
    names: () => undefined,
    prepare: importImage,
    run: ({ runtime, imageID }) =>
      runtime.images.collect(
        {
          wanted: [{ reference: imageID }],
          policy: {
            ...{ minimumAgeMs: 0, maximumAgeMs: 0, highThresholdPercent: 100, lowThresholdPercent: 100 },
            isDiskFull: false,
          },
        },
        never,
      ),
  }),
];

/** As before the first of them. */
export async function cleanUpImages(world: World): Promise<void> {
  for (const { id } of await found(world)) await world.runtime.images.remove(id);
}
