/**
 * The seccomp filters of containers. libseccomp takes 15 ms to compile a profile; crun keeps what it compiled beside
 * the container's state, and takes it back as it is from then on (measured 2026-11: 9 ms instead of 26). So a filter is
 * kept for each profile as it is resolved: what changes the filter, such as a capability, makes another one.
 */
import { mkdir, readFile } from 'node:fs/promises';
import { arch, release } from 'node:os';
import { join } from 'node:path';
import { readJsonObject, replaceFile } from './atomic-file.ts';
import { ContainerConfigError, RuntimeOperationError, type SecurityConfig } from './interface.ts';
import { shortHash } from './layout.ts';
import type { OciRuntime } from './oci-runtime.ts';
import type { SeccompChoice } from './oci-spec.ts';
import { readTextInRoot } from './rooted-path.ts';
import { resolveSeccomp, restrictAsDocker, type Seccomp } from './seccomp.ts';

export interface SeccompFilterDeps {
  /** /usr/share/containers/seccomp.json */
  readonly profileFile: string;
  /** Where profiles of containers' own lie. */
  readonly profilesDir: string;
  /** Below runDir: a filter is good until the kernel changes. */
  readonly cacheDir: string;
  readonly runtime: OciRuntime;
}

/** Which filter a container has; capabilities: the most that its processes may have. */
export interface SeccompWish {
  readonly security: SecurityConfig;
  readonly capabilities: readonly string[];
}

export interface ChosenFilter {
  /** Under which a compiled filter is kept; undefined: it is not. */
  readonly key: string | undefined;
  readonly choice: SeccompChoice;
}

/** Profiles of users come and go; beyond so many the oldest are forgotten. */
const maxKept = 64;

/** A filter is a list of 8-byte instructions, at most 4096 of them (BPF_MAXINSNS). */
function looksLikeFilter(bytes: Buffer): boolean {
  return bytes.length > 0 && bytes.length % 8 === 0 && bytes.length <= 4_096 * 8;
}

export class SeccompFilter {
  readonly #deps: SeccompFilterDeps;
  /** By key. */
  readonly #compiled = new Map<string, SeccompChoice>();
  /** The default profile by the capabilities that it was resolved for. */
  readonly #resolved = new Map<string, Promise<{ readonly key: string; readonly profile: Seccomp }>>();

  constructor(deps: SeccompFilterDeps) {
    this.#deps = deps;
  }

  /**
   * Throws RuntimeOperationError if the default profile is missing: without being asked a container never runs without
   * a filter. Throws ContainerConfigError for a profile of the container's own that cannot be read.
   */
  async choose(wish: SeccompWish): Promise<ChosenFilter> {
    const { seccomp, isPrivileged } = wish.security;
    if (seccomp?.kind === 'unconfined' || (seccomp === undefined && isPrivileged === true)) {
      return { key: undefined, choice: { kind: 'none' } };
    }
    const { key, profile } = seccomp?.kind === 'file' ? await this.#own(seccomp.path, wish) : await this.#default(wish);
    const compiled = this.#compiled.get(key) ?? (await this.#readKept(key));
    return { key, choice: compiled ?? { kind: 'profile', profile } };
  }

  /** After a container was created with a profile: keeps what crun compiled. */
  async learn({ key, choice }: ChosenFilter, ociState: string): Promise<void> {
    if (this.#deps.runtime.name !== 'crun' || key === undefined || choice.kind !== 'profile') return;
    if (this.#compiled.has(key)) return;
    const bytes = await readFile(join(ociState, 'seccomp.bpf')).catch(() => undefined); // another crun: no such file
    if (bytes === undefined || !looksLikeFilter(bytes)) return;
    const bpfBase64 = bytes.toString('base64');
    this.#keep(key, { kind: 'compiled', bpfBase64 });
    await mkdir(this.#deps.cacheDir, { recursive: true, mode: 0o700 });
    await replaceFile(this.#fileOf(key), JSON.stringify({ key, bpfBase64 }), 'volatile');
  }

  #fileOf(key: string): string {
    return join(this.#deps.cacheDir, `${key}.json`);
  }

  #keep(key: string, choice: SeccompChoice): void {
    this.#compiled.set(key, choice);
    for (const oldest of this.#compiled.keys()) {
      if (this.#compiled.size <= maxKept) return;
      this.#compiled.delete(oldest);
    }
  }

  async #readKept(key: string): Promise<SeccompChoice | undefined> {
    const kept = this.#deps.runtime.name === 'crun' ? await readJsonObject(this.#fileOf(key)) : undefined;
    if (kept?.key !== key || typeof kept.bpfBase64 !== 'string') return undefined;
    const choice: SeccompChoice = { kind: 'compiled', bpfBase64: kept.bpfBase64 };
    this.#keep(key, choice);
    return choice;
  }

  #default({ capabilities }: SeccompWish): Promise<{ readonly key: string; readonly profile: Seccomp }> {
    const name = capabilities.join();
    const known = this.#resolved.get(name);
    if (known !== undefined) return known;
    const resolving = this.#resolveDefault(capabilities);
    this.#resolved.set(name, resolving);
    resolving.catch(() => this.#resolved.delete(name)); // the caller has the error; the next one tries again
    return resolving;
  }

  async #resolveDefault(capabilities: readonly string[]): Promise<{ readonly key: string; readonly profile: Seccomp }> {
    const { profileFile } = this.#deps;
    const text = await readFile(profileFile, 'utf8').catch((error: unknown) => {
      throw new RuntimeOperationError(
        'seccomp',
        `the default seccomp profile ${profileFile} cannot be read; install golang-github-containers-common`,
        { cause: error },
      );
    });
    const target = { capabilities, arch: arch(), kernelRelease: release() };
    const profile = restrictAsDocker(resolveSeccomp(JSON.parse(text), target), capabilities);
    return { key: this.#keyOf(profile), profile };
  }

  /** Read anew each time, so that a corrected file counts from the next start. */
  async #own(
    path: string,
    { capabilities }: SeccompWish,
  ): Promise<{ readonly key: string; readonly profile: Seccomp }> {
    const { profilesDir } = this.#deps;
    const field = 'security.seccomp';
    // No link in that folder leads out of it: who names a profile may not have other files of the host read.
    const text = await readTextInRoot(profilesDir, path, field);
    if (text === '') {
      throw new ContainerConfigError(field, `there is no seccomp profile "${path}" in ${profilesDir}; put it there`);
    }
    try {
      const profile = resolveSeccomp(JSON.parse(text), { capabilities, arch: arch(), kernelRelease: release() });
      return { key: this.#keyOf(profile), profile };
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      throw new ContainerConfigError(
        field,
        `the seccomp profile ${join(profilesDir, path)} cannot be used: ${problem}`,
        {
          cause: error,
        },
      );
    }
  }

  #keyOf(profile: Seccomp): string {
    const { runtime } = this.#deps;
    return shortHash(JSON.stringify([profile, runtime.name, runtime.version, release()]));
  }
}
