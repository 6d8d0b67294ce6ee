/**
 * What the LAMP image is made of: supervisord, Apache with PHP, and MariaDB of Debian's packages, and the files of
 * images/ beside this one. Effects: writes below the root folder that it is given, and downloads packages.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fillDebianRoot, linkPhpModule } from '../debian-root.ts';
import type { ImageRecipe } from '../image-recipe.ts';
import { mariadbPackages, mariadbSource, mariadbUser, trimMariadb } from '../mariadb-packages.ts';

const sourceDir = join(import.meta.dirname, 'images');
/** Path in the image → file of ours. */
const files = {
  'etc/lamp/apache2.conf': join(sourceDir, 'apache2.conf'),
  'etc/lamp/php.ini': join(sourceDir, 'php.ini'),
  'etc/lamp/init.sql': join(sourceDir, 'init.sql'),
  'etc/supervisor/supervisord.conf': join(sourceDir, 'supervisord.conf'),
  'usr/local/bin/run-apache': join(sourceDir, 'run-apache.sh'),
  'usr/local/bin/run-mariadb': join(sourceDir, 'run-mariadb.sh'),
  'var/www/html/index.php': join(sourceDir, 'index.php'),
};

export const lampImages: readonly ImageRecipe[] = [
  {
    name: 'localhost/lamp:latest',
    sources: [...Object.values(files), mariadbSource],
    settings: {
      cmd: ['/usr/bin/supervisord', '-n', '-c', '/etc/supervisor/supervisord.conf'],
      env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'PYTHONDONTWRITEBYTECODE=1'],
      exposedPorts: ['80/tcp'],
    },
    async fill(rootDir, context) {
      await fillDebianRoot(
        rootDir,
        {
          packages: ['supervisor', 'apache2-bin', 'libapache2-mod-php', 'php-mysql', ...mariadbPackages],
          wanted:
            /^(?:lib(?!perl|aprutil1-dbd|debian|ldap-common)|zlib1g|php\d[\d.]*-(?:common|mysql)|mariadb-common|media-types|tzdata|python3(?!-distutils))/,
          users: [mariadbUser],
          dirs: ['run/mysqld', 'var/lib/mysql', 'var/log/supervisor'],
          files,
        },
        context,
      );
      await linkPhpModule(rootDir);
      await trimMariadb(rootDir);
      await rm(join(rootDir, 'usr/lib/python3.11/test'), { recursive: true, force: true });
    },
  },
];
