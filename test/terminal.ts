/** A terminal of its own for what runs only in one: tmux without its user's settings, on a socket of its own. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { tmux, tmuxEnvironment } from './tools.ts';
import { until } from './until.ts';

const exec = promisify(execFile);

export class Terminal {
  readonly #dir: string;

  private constructor(dir: string) {
    this.#dir = dir;
  }

  /** Starts a shell in a terminal of 100 by 30. */
  static async open(): Promise<Terminal> {
    const terminal = new Terminal(await mkdtemp(join(tmpdir(), 'holdfast-terminal-')));
    try {
      await terminal.#tmux('new-session', '-d', '-x', '100', '-y', '30', "env PS1='host> ' sh");
      await terminal.shows(/host>$/m);
      return terminal;
    } catch (error) {
      await terminal.close();
      throw error;
    }
  }

  async #tmux(...args: readonly string[]): Promise<string> {
    const { stdout } = await exec(tmux(), ['-S', join(this.#dir, 'socket'), '-f', '/dev/null', ...args], {
      env: { ...process.env, ...tmuxEnvironment(), TERM: 'xterm', TMUX: '' },
    });
    return stdout;
  }

  /** Types a line and Enter. */
  async type(line: string): Promise<void> {
    await this.#tmux('send-keys', '-l', line);
    await this.#tmux('send-keys', 'Enter');
  }

  /** Types a line again and again, until what it prints is as wanted. */
  async typeUntil(line: string, wanted: RegExp): Promise<void> {
    await until(async () => {
      await this.type(line);
      return wanted.test(await this.screen());
    }, `${wanted}`);
  }

  /** Presses a key by tmux's name for it: C-c. */
  async press(key: string): Promise<void> {
    await this.#tmux('send-keys', key);
  }

  async resize(columns: number, rows: number): Promise<void> {
    await this.#tmux('resize-window', '-x', String(columns), '-y', String(rows));
  }

  /** What is on the screen, without the lines that are empty at its end. */
  async screen(): Promise<string> {
    return (await this.#tmux('capture-pane', '-p', '-J')).trimEnd();
  }

  async shows(wanted: RegExp): Promise<void> {
    let screen = '';
    try {
      await until(async () => {
        screen = await this.screen();
        return wanted.test(screen);
      }, String(wanted));
    } catch (error) {
      throw new Error(`the terminal does not show ${wanted}, but:\n${screen}`, { cause: error });
    }
  }

  async close(): Promise<void> {
    await this.#tmux('kill-server').catch(() => {}); // it is gone already
    await rm(this.#dir, { recursive: true, force: true });
  }
}
