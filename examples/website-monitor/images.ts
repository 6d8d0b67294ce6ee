/**
 * What the images of the website monitor are made of: Debian's packages and the files of images/ beside this one.
 * Effects: writes below the root folder that it is given, and downloads packages for web.
 */
import { chmod, copyFile, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { writeBusyboxRoot } from '../busybox-root.ts';
import { fillDebianRoot } from '../debian-root.ts';
import type { ImageRecipe, RecipeContext } from '../image-recipe.ts';

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

async function fillNginx(rootDir: string, context: RecipeContext): Promise<void> {
  await fillDebianRoot(
    rootDir,
    {
      packages: ['nginx', 'nginx-common'],
      wanted: /^(?:lib(?!nginx-)|zlib1g)/,
      files: { 'etc/nginx/nginx.conf': nginxConfig },
      dirs: ['var/lib/nginx', 'var/log/nginx'],
    },
    context,
  );
  await rm(join(rootDir, 'etc', 'nginx', 'modules-enabled'), { recursive: true, force: true });
}

async function copyScript(source: string, rootDir: string, name: string): Promise<void> {
  const target = join(rootDir, 'usr', 'local', 'bin', name);
  await mkdir(join(rootDir, 'usr', 'local', 'bin'), { recursive: true });
  await copyFile(source, target);
  await chmod(target, 0o755);
}
