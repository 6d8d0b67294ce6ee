/**
 * A small init as process 1 of a container: tini, which hands signals on to the program and reaps what it leaves behind.
 * Effects: looks for it on the host.
 */
import { existsSync } from 'node:fs';
import { ContainerConfigError } from './interface.ts';
import type { OciMount } from './kernel-mounts.ts';

/** Debian's package tini. It needs no libraries, so that it runs in every image. */
const program = '/usr/bin/tini-static';
/** In the container, at its root, where no volume can be mounted over it. */
const target = '/.holdfast-init';

export interface InitProcess {
  readonly args: readonly string[];
  readonly mount: OciMount;
}

/** Throws ContainerConfigError if the host has none. */
export function provideInit(
  args: readonly string[],
  { isFirstProcess }: { readonly isFirstProcess: boolean },
): InitProcess {
  if (!existsSync(program))
    throw new ContainerConfigError('hasInit', `this host has no ${program}; install the package tini`);
  return {
    // Among the processes of the host it has to ask for orphans.
    args: [target, ...(isFirstProcess ? [] : ['-s']), '--', ...args],
    mount: {
      destination: target,
      type: 'bind',
      source: program,
      options: ['bind', 'ro', 'nosuid', 'nodev', 'rprivate'],
    },
  };
}
