/** Arguments that skopeo is given for more than one task. Pure. */
import type { Platform } from './platform.ts';

/** Without it storage mounts its folder over itself, and leaves that behind. */
export const storageOptions = 'overlay.skip_mount_home=true';

/** What stands between "containers-storage:" and a name, or "@" and an id. */
export function storageLocation({ root, runRoot }: { readonly root: string; readonly runRoot: string }): string {
  return `[overlay@${root}+${runRoot}:${storageOptions}]`;
}

/** `hasPolicy`: whether the host has rules on signatures, which hold then. */
export function hostOptions(host: {
  readonly registriesConf: string | undefined;
  readonly hasPolicy: boolean;
}): readonly string[] {
  return [
    ...(host.registriesConf === undefined ? [] : ['--registries-conf', host.registriesConf]),
    ...(host.hasPolicy ? [] : ['--insecure-policy']),
  ];
}

export function platformOptions({ os, architecture, variant }: Platform): readonly string[] {
  return [
    ...['--override-os', os, '--override-arch', architecture],
    ...(variant === undefined ? [] : ['--override-variant', variant]),
  ];
}
