/**
 * A controller that can be killed, within this process, before each thing that it does to the host or to the store: from
 * then on nothing that it does has an effect. Its checkpoint is kept as it was in that moment. Effects: copies a folder.
 */
import { cpSync, existsSync } from 'node:fs';
import type { ApiAccess } from '../../client/index.ts';
import type { Runtime } from '../../runtime/index.ts';
import type { Rig } from './rig.ts';

const changing = ['create', 'start', 'update', 'signal', 'pause', 'resume', 'remove'] as const;

export class Mortal {
  readonly #rig: Rig;
  #life = 0;
  #isDead = false;
  #killAt = Infinity;
  /** What was done since it was told when to die. */
  #done: string[] = [];

  constructor(rig: Rig) {
    this.#rig = rig;
  }

  get isDead(): boolean {
    return this.#isDead;
  }
  get done(): readonly string[] {
    return this.#done;
  }

  /** The next controller of the rig is as any other. */
  release(): void {
    this.#killAt = Infinity;
    this.#rig.controllerRuntime = (runtime) => runtime;
    this.#rig.controllerAccess = undefined;
    this.#rig.checkpointName = 'controller';
  }

  /** Dies before the `count`th effect from now on. */
  dieAt(count: number): void {
    this.#done = [];
    this.#killAt = count;
  }

  /** Begins the next controller; the one before must be dead, or idle. `checkpoint`: as it was at its death, or with all that it knew then. */
  async begin(checkpoint: 'as it was' | 'written'): Promise<void> {
    const rig = this.#rig;
    await rig.stopController();
    const from = this.#isDead && checkpoint === 'as it was' ? this.#copy() : rig.checkpointDir;
    this.#life += 1;
    rig.checkpointName = `controller-${this.#life}`;
    if (existsSync(from)) cpSync(from, rig.checkpointDir, { recursive: true });
    this.#isDead = false;
    this.#killAt = Infinity;
    const life = this.#life;
    rig.controllerRuntime = (runtime) => this.#mortalRuntime(runtime, life);
    rig.controllerAccess = this.#mortalAccess(rig.access, life);
    await rig.startController();
  }

  #copy(): string {
    return `${this.#rig.checkpointDir}-at-death`;
  }

  #act(what: string, life: number): void {
    if (life === this.#life && !this.#isDead) {
      this.#done.push(what);
      if (this.#done.length < this.#killAt) return;
      this.#isDead = true;
      if (existsSync(this.#rig.checkpointDir))
        cpSync(this.#rig.checkpointDir, this.#copy(), { recursive: true, force: true });
    }
    throw new Error(`killed before: ${what}`);
  }

  #mortalRuntime(runtime: Runtime, life: number): Runtime {
    const { containers } = runtime;
    const mortal: Record<string, unknown> = {};
    for (const name of changing) {
      // Each is a method of this interface, called with what it is given.
      const call = containers[name] as (...args: unknown[]) => Promise<unknown>;
      mortal[name] = async (...args: unknown[]) => {
        this.#act(name, life);
        return await call.apply(containers, args);
      };
    }
    return { ...runtime, containers: { ...containers, ...mortal } };
  }

  #mortalAccess(access: ApiAccess, life: number): ApiAccess {
    return {
      getCurrentCluster: () => access.getCurrentCluster(),
      applySecurityAuthentication: async (context) => {
        const [method, url] = [String(context.getHttpMethod()), context.getUrl()];
        if (method !== 'GET') this.#act(`${method} ${new URL(url).pathname}`, life);
        await access.applySecurityAuthentication(context);
      },
    };
  }
}
