/** Debian's docker-compose 1.29, the one in Python: WordPress with MariaDB, on a network and with a volume of their own. */
import assert from 'node:assert/strict';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { compose } from '../tools.ts';
import { Book } from './book.ts';
import { type DockerEngine, startChosenEngine } from './engines.ts';

const project = `
version: '3.7'
services:
  db:
    image: mysql:5
    environment:
      MYSQL_ROOT_PASSWORD: ch2demo
    volumes:
      - data:/var/lib/mysql
    networks:
      back: { aliases: [database] }
  site:
    image: wordpress:4
    depends_on: [db]
    environment:
      WORDPRESS_DB_HOST: database
      WORDPRESS_DB_PASSWORD: ch2demo
    ports:
      - '80'
    read_only: true
    restart: unless-stopped
    volumes:
      - /run/apache2
      - /run/lock/apache2
    networks: [back]
    labels:
      com.example.Tier: front
volumes:
  data: {}
networks:
  back: {}
`;

describe('docker-compose', function () {
  this.timeout(300_000);
  let engine: DockerEngine | undefined;
  let book: Book;

  before(async () => {
    engine = await startChosenEngine();
    book = await Book.open(engine.socketPath);
    await book.load({
      'busybox:latest': 'localhost/busybox:latest',
      'mysql:5': 'localhost/mariadb:latest',
      'wordpress:4': 'localhost/wordpress:latest',
    });
    const dir = join(book.env.TMP ?? '', 'shop');
    await mkdir(dir);
    await writeFile(join(dir, 'docker-compose.yml'), project);
    const { program, args, env } = compose();
    const script = `#!/bin/sh\ncd ${dir}\nPYTHONPATH='${env.PYTHONPATH}' exec ${program} ${args.join(' ')} "$@"\n`;
    await mkdir(join(dir, 'bin'));
    await writeFile(join(dir, 'bin/docker-compose'), script);
    await chmod(join(dir, 'bin/docker-compose'), 0o755);
    book.env.PATH = `${join(dir, 'bin')}${delimiter}${book.env.PATH}`;
  });
  after(async () => {
    await book?.close();
    await engine?.close();
  });

  const install = async (): Promise<void> => {
    const form = new URLSearchParams({
      ...{ weblog_title: 'The shop', user_name: 'owner', admin_email: 'owner@example.com', blog_public: '0' },
      ...{ admin_password: 'of-the-test', admin_password2: 'of-the-test', pw_weak: '1' },
    });
    assert.match(await book.visit('shop_site_1', '/wp-admin/install.php?step=2', form.toString()), /Success!/);
  };

  it('brings up a network, a volume and both services, the database first', async () => {
    const { code, stderr } = await book.sh('docker-compose up -d');
    assert.equal(code, 0, stderr);
    assert.match(stderr, /Creating network "shop_back"[\s\S]*Creating volume "shop_data"/);
    assert.match(stderr, /Creating shop_db_1 [\s\S]*Creating shop_site_1 /);
    assert.match(await book.ok("docker network ls --format '{{.Name}} {{.Driver}}'"), /^shop_back bridge$/m);
    assert.match(await book.ok('docker volume ls --quiet'), /^shop_data$/m);
  });
  it('lists them', async () => {
    const listed = await book.shows('docker-compose ps', /shop_site_1 .* Up /);
    assert.match(listed, /shop_db_1 +\/entrypoint\.sh mariadbd +Up +3306\/tcp/);
    assert.match(listed, /shop_site_1 +\/entrypoint\.sh apac.*Up +0\.0\.0\.0:\d+->80\/tcp/);
    assert.equal((await book.ok('docker-compose ps -q')).split('\n').length, 2);
  });
  it('lets them find one another by service name and alias', async () => {
    await book.shows('docker-compose logs --no-color site', /^site_1 +\| .*resuming normal operations/m);
    const ip = await book.inspect('shop_db_1', '{{.NetworkSettings.Networks.shop_back.IPAddress}}');
    assert.match(ip, /^\d+\.\d+\.\d+\.\d+$/);
    for (const name of ['db', 'database', 'shop_db_1'])
      assert.equal(await book.ok(`docker-compose exec -T site php -r 'echo gethostbyname("${name}");'`), ip);
  });
  it('makes a site that can be installed and visited', async () => {
    await install();
    assert.match(await book.visit('shop_site_1'), /<title>The shop/);
    assert.match(await book.ok('docker-compose port site 80'), /^0\.0\.0\.0:\d+$/);
  });
  it('does nothing when it is up already', async () => {
    const before = await book.ok('docker-compose ps -q');
    assert.match((await book.sh('docker-compose up -d')).stderr, /shop_db_1 is up-to-date/);
    assert.equal(await book.ok('docker-compose ps -q'), before);
  });
  it('runs programs in a service, with their exit codes', async () => {
    assert.equal((await book.sh('docker-compose exec -T site sh -c "exit 5"')).code, 5);
    assert.match(await book.ok('docker-compose top db'), /mariadbd/);
    assert.equal(await book.ok(`docker-compose exec -T -e GREETING=hello db sh -c 'echo $GREETING'`), 'hello');
  });
  it('starts a service again, and keeps what is asked for', async () => {
    const startedAt = await book.inspect('shop_site_1', '{{.State.StartedAt}}');
    assert.equal((await book.sh('docker-compose restart site')).code, 0);
    assert.notEqual(await book.inspect('shop_site_1', '{{.State.StartedAt}}'), startedAt);
    await book.shows('docker logs shop_site_1', /(resuming normal operations[\s\S]*){2}/);
    assert.match(await book.visit('shop_site_1'), /<title>The shop/);
  });
  it('makes a service anew when its description changes, with the data of before', async () => {
    const before = await book.inspect('shop_db_1', '{{.Id}}');
    await writeFile(
      join(book.env.TMP ?? '', 'shop/docker-compose.yml'),
      project.replace('MYSQL_ROOT_PASSWORD: ch2demo', 'MYSQL_ROOT_PASSWORD: ch2demo\n      MORE: settings'),
    );
    const { code, stderr } = await book.sh('docker-compose up -d');
    assert.equal(code, 0, stderr);
    assert.notEqual(await book.inspect('shop_db_1', '{{.Id}}'), before);
    await book.shows('docker logs shop_db_1', /ready for connections/);
    assert.match(await book.visit('shop_site_1'), /<title>The shop/);
  });
  it('scales a service', async () => {
    assert.equal((await book.sh('docker-compose up -d --scale site=2')).code, 0);
    assert.equal((await book.ok('docker-compose ps -q site')).split('\n').length, 2);
    assert.equal((await book.sh('docker-compose up -d --scale site=1')).code, 0);
    assert.equal((await book.ok('docker-compose ps -q site')).split('\n').length, 1);
  });
  it('stops and takes down all of it, with its volumes', async () => {
    assert.equal((await book.sh('docker-compose stop')).code, 0);
    assert.equal(await book.ok('docker ps -q'), '');
    const { code, stderr } = await book.sh('docker-compose down -v');
    assert.equal(code, 0, stderr);
    assert.equal(await book.ok('docker ps -aq'), '');
    assert.doesNotMatch(await book.ok('docker volume ls -q'), /shop/);
    assert.doesNotMatch(await book.ok("docker network ls --format '{{.Name}}'"), /shop/);
  });
});
