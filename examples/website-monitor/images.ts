/**
 * What the images of the website monitor are made of: Debian's packages and the files of images/ beside this one.
 * Effects: writes below the root folder that it is given, and downloads packages for web.
 */
import { chmod, copyFile, mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeBusyboxRoot } from '../busybox-root.ts';
import { unpackPackages } from '../debian-packages.ts';
import type { ImageSettings } from '../image-archive.ts';

/** What a recipe may use. */
export interface RecipeContext {
  readonly cacheDir: string;
  readonly signal: AbortSignal;
}

export interface ImageRecipe {
  /** Fully qualified, as the spec documents name it. */
  readonly name: string;
  /** Files of this project that go into it: a change of one makes the image anew. */
  readonly sources: readonly string[];
  readonly settings: ImageSettings;
  /** Fills the root folder, which is there and empty. */
  fill(rootDir: string, context: RecipeContext): Promise<void>;
}

const sourceDir = join(import.meta.dirname, 'images');
const nginxConfig = join(sourceDir, 'web', 'nginx.conf');
const mailerScript = join(sourceDir, 'mailer', 'mailer.sh');
const receiveScript = join(sourceDir, 'mailer', 'receive.sh');
const agentScript = join(sourceDir, 'agent', 'agent.sh');
const path = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export const websiteMonitorImages: readonly ImageRecipe[] = [
  {
    name: 'localhost/busybox:latest',
    sources: [],
    settings: { cmd: ['sh'], env: [path] },
    fill: (rootDir) => writeBusyboxRoot(rootDir),
  },
  {
    name: 'localhost/mailer:latest',
    sources: [mailerScript, receiveScript],
    settings: { cmd: ['/usr/local/bin/mailer'], env: [path], exposedPorts: ['33333/tcp'] },
    async fill(rootDir) {
      await writeBusyboxRoot(rootDir);
      await copyScript(mailerScript, rootDir, 'mailer');
      await copyScript(receiveScript, rootDir, 'receive');
    },
  },
  {
    name: 'localhost/agent:latest',
    sources: [agentScript],
    settings: { cmd: ['/usr/local/bin/agent'], env: [path] },
    async fill(rootDir) {
      await writeBusyboxRoot(rootDir);
      await copyScript(agentScript, rootDir, 'agent');
    },
  },
  {
    name: 'localhost/nginx:latest',
    sources: [nginxConfig],
    // SIGQUIT lets NGINX finish the requests that it is answering.
    settings: {
      cmd: ['nginx', '-g', 'daemon off;'],
      env: [path],
      exposedPorts: ['80/tcp'],
      stopSignal: 'SIGQUIT',
    },
    fill: fillNginx,
  },
];

async function fillNginx(rootDir: string, { cacheDir, signal }: RecipeContext): Promise<void> {
  // Packages of Debian 13 expect these links, those of Debian 12 do not mind.
  for (const dir of ['bin', 'sbin', 'lib', 'lib64']) {
    await mkdir(join(rootDir, 'usr', dir), { recursive: true });
    await symlink(`usr/${dir}`, join(rootDir, dir));
  }
  // Libraries only: the packages that merely set a machine up are of no use without an init.
  const wanted = /^(?:lib(?!nginx-)|zlib1g)/;
  await unpackPackages({ packages: ['nginx', 'nginx-common'], wanted, cacheDir, rootDir, signal });
  for (const dir of ['doc', 'man', 'locale', 'lintian', 'bug', 'apport', 'vim', 'i18n', 'gcc', 'gdb']) {
    await rm(join(rootDir, 'usr', 'share', dir), { recursive: true, force: true });
  }
  for (const dir of ['etc/init.d', 'etc/ufw', 'etc/logrotate.d', 'etc/nginx/modules-enabled', 'usr/lib/systemd']) {
    await rm(join(rootDir, dir), { recursive: true, force: true });
  }
  await writeBusyboxRoot(rootDir);
  await copyFile(nginxConfig, join(rootDir, 'etc', 'nginx', 'nginx.conf'));
  for (const dir of ['var/lib/nginx', 'var/log/nginx']) await mkdir(join(rootDir, dir), { recursive: true });
  await writeFile(join(rootDir, 'etc', 'nsswitch.conf'), 'passwd: files\ngroup: files\nhosts: files dns\n');
}

async function copyScript(source: string, rootDir: string, name: string): Promise<void> {
  const target = join(rootDir, 'usr', 'local', 'bin', name);
  await mkdir(join(rootDir, 'usr', 'local', 'bin'), { recursive: true });
  await copyFile(source, target);
  await chmod(target, 0o755);
}
