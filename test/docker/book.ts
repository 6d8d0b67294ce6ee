/**
 * A reader of the book at a shell of theirs: the commands as the book prints them, run by sh with the real docker command
 * against one engine. Effects: what the commands do, and a folder of its own, which close() removes.
 */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { freePort } from '../addresses.ts';
import { type CommandResult, run } from '../instance.ts';
import { Terminal } from '../terminal.ts';
import { docker } from '../tools.ts';
import { until } from '../until.ts';
import { dockerArchive } from './images.ts';

export class Book {
  /** What the shell knows: the book's CID and the like. */
  readonly env: Record<string, string>;
  /** How long a command is run again until it shows what is wanted. */
  deadlineMs = 90_000;
  readonly #dir: string;
  readonly #terminals: Terminal[] = [];

  private constructor(dir: string, socketPath: string, freePorts: readonly number[]) {
    this.#dir = dir;
    this.env = {
      PATH: [dirname(docker()), process.env.PATH ?? '/usr/bin:/bin'].join(delimiter),
      DOCKER_HOST: `unix://${socketPath}`,
      DOCKER_CONFIG: join(dir, 'config'),
      // A stack of Docker's own settings on this machine is not what is tested.
      DOCKER_CONTEXT: '',
      TMP: dir,
      PORT: String(freePorts[0]),
    };
  }

  static async open(socketPath: string): Promise<Book> {
    const dir = await mkdtemp(join(tmpdir(), 'holdfast-book-'));
    await mkdir(join(dir, 'config'));
    return new Book(dir, socketPath, [await freePort()]);
  }

  /** Loads the images of the examples and gives them the book's names: what the book calls it → the example's image. */
  async load(images: Readonly<Record<string, string>>): Promise<void> {
    for (const [bookName, name] of Object.entries(images)) {
      const archive = await dockerArchive(name);
      assert.equal(await this.ok(`docker load -i ${archive}`), `Loaded image: ${name}`);
      await this.ok(`docker tag ${name} ${bookName}`);
    }
  }

  /** Runs a script to its end, whatever that is. */
  async sh(script: string, deadlineMs = 120_000): Promise<CommandResult> {
    return await run('sh', ['-c', script], { env: this.env, cwd: this.#dir }, deadlineMs);
  }

  /** What a script prints on its standard output, without the white space at its ends. Throws if it fails. */
  async ok(script: string): Promise<string> {
    const { code, stdout, stderr } = await this.sh(script);
    assert.equal(code, 0, `${script}\nended with ${code}: ${stderr}`);
    return stdout.trim();
  }

  /** What a script that must fail says on its standard error. */
  async fails(script: string): Promise<string> {
    const { code, stdout, stderr } = await this.sh(script);
    assert.notEqual(code, 0, `${script}\nended well: ${stdout}`);
    return stderr.trim();
  }

  /** Runs a script until what it prints on either output is as wanted. */
  async shows(script: string, wanted: RegExp): Promise<string> {
    let last = '';
    await until(
      async () => {
        const { stdout, stderr } = await this.sh(script);
        last = stdout + stderr;
        return wanted.test(last);
      },
      `${wanted}`,
      this.deadlineMs,
    ).catch((cause: unknown) => {
      throw new Error(`${script}\ndoes not show ${wanted}, but:\n${last}`, { cause });
    });
    return last;
  }

  /** One field of `docker inspect`. */
  async inspect(container: string, format: string): Promise<string> {
    return await this.ok(`docker inspect --format '${format}' ${container}`);
  }

  /** The answer of a published port, from wherever the engine publishes it. */
  async visit(container: string, path = '/', post?: string): Promise<string> {
    const address = `127.0.0.1:$(docker port ${container} 80 | head -n 1 | sed 's/.*://')`;
    const data = post === undefined ? '' : `--post-data '${post}'`;
    return await this.ok(
      `docker run --rm --network host busybox:latest wget -q -O - ${data} "http://${address}${path}"`,
    );
  }

  /** A real terminal in which the docker command talks to the engine. */
  async terminal(): Promise<Terminal> {
    const terminal = await Terminal.open();
    this.#terminals.push(terminal);
    const settings = join(this.#dir, 'settings');
    const names = ['PATH', 'DOCKER_HOST', 'DOCKER_CONFIG'];
    await writeFile(settings, names.map((name) => `export ${name}='${this.env[name] ?? ''}'\n`).join(''));
    await terminal.type(`. ${settings}; cd ${this.#dir}; clear; echo ready`);
    // What is typed before the shell prompts is shown twice.
    await terminal.shows(/^ready\s+host>$/m);
    return terminal;
  }

  async close(): Promise<void> {
    for (const terminal of this.#terminals) await terminal.close();
    await rm(this.#dir, { recursive: true, force: true });
  }
}

/** One thing that the book says, and how it shows. The checks of a script build on one another. */
export interface Check {
  /** A sentence that is true when it passes. */
  readonly it: string;
  readonly run: (book: Book) => Promise<void>;
}

export interface Section {
  readonly title: string;
  readonly checks: readonly Check[];
}
