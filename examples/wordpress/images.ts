/**
 * What the images of WordPress and its database are made of: Debian's packages and the files of images/ beside this
 * one. Effects: writes below the root folder that it is given, and downloads packages.
 */
import { chmod, readdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { fillDebianRoot, linkPhpModule } from '../debian-root.ts';
import type { ImageRecipe } from '../image-recipe.ts';
import { mariadbPackages, mariadbSource, mariadbUser, mariadbWanted, trimMariadb } from '../mariadb-packages.ts';

const sourceDir = join(import.meta.dirname, 'images');
const path = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** Path in the image → file of ours. */
const mariadbFiles = { 'entrypoint.sh': join(sourceDir, 'mariadb', 'entrypoint.sh') };
const wordpressFiles = {
  'entrypoint.sh': join(sourceDir, 'wordpress', 'entrypoint.sh'),
  'etc/wordpress/apache2.conf': join(sourceDir, 'wordpress', 'apache2.conf'),
  'etc/wordpress/php.ini': join(sourceDir, 'wordpress', 'php.ini'),
  'etc/wordpress/make-database.php': join(sourceDir, 'wordpress', 'make-database.php'),
  'usr/share/wordpress/wp-config.php': join(sourceDir, 'wordpress', 'wp-config.php'),
};

export const wordpressImages: readonly ImageRecipe[] = [
  {
    name: 'localhost/mariadb:latest',
    sources: [...Object.values(mariadbFiles), mariadbSource],
    settings: {
      entrypoint: ['/entrypoint.sh'],
      cmd: ['mariadbd'],
      env: [path],
      exposedPorts: ['3306/tcp'],
      volumes: ['/var/lib/mysql', '/run/mysqld'],
    },
    async fill(rootDir, context) {
      await fillDebianRoot(
        rootDir,
        {
          packages: mariadbPackages,
          wanted: mariadbWanted,
          users: [mariadbUser],
          dirs: ['run/mysqld', 'var/lib/mysql'],
          files: mariadbFiles,
        },
        context,
      );
      await chmod(join(rootDir, 'entrypoint.sh'), 0o755);
      await trimMariadb(rootDir);
    },
  },
  {
    name: 'localhost/wordpress:latest',
    sources: Object.values(wordpressFiles),
    settings: {
      entrypoint: ['/entrypoint.sh'],
      cmd: ['apache2', '-D', 'FOREGROUND', '-f', '/etc/wordpress/apache2.conf'],
      env: [path],
      exposedPorts: ['80/tcp'],
      // Apache takes SIGTERM for "at once" and SIGWINCH for "when all requests are answered".
      stopSignal: 'SIGWINCH',
    },
    async fill(rootDir, context) {
      await fillDebianRoot(
        rootDir,
        {
          packages: [
            'wordpress',
            'wordpress-theme-twentytwentythree',
            'apache2-bin',
            'libapache2-mod-php',
            'php-mysql',
            'php-cli',
          ],
          wanted:
            /^(?:lib(?!perl|aprutil1-dbd|debian|ldap-common|js-jquery)|zlib1g|php\d[\d.]*-(?:common|mysql|cli)|php-getid3|mariadb-common|media-types|tzdata)/,
          dirs: ['run/apache2', 'run/lock/apache2'],
          files: wordpressFiles,
        },
        context,
      );
      await chmod(join(rootDir, 'entrypoint.sh'), 0o755);
      await linkPhpModule(rootDir);
      const programs = await readdir(join(rootDir, 'usr', 'bin'));
      const php = programs.find((name) => /^php\d+\.\d+$/.test(name));
      if (php === undefined) throw new Error('no php among the programs of php-cli');
      await symlink(php, join(rootDir, 'usr', 'bin', 'php'));
    },
  },
];
