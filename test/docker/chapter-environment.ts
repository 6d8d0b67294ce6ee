/** 'Docker in Action', chapter 2, section 2.5: read-only roots, environment, and a site for each client. */
import assert from 'node:assert/strict';
import { chmod, writeFile } from 'node:fs/promises';
import type { Book, Section } from './book.ts';

/** The book's script, to be run with a client's id: a site with a database of its own, and an agent that watches it. */
const provisioningScript = `#!/bin/sh
set -e
if [ -z "$CLIENT_ID" ]; then
  echo "Client ID not set"
  exit 1
fi
WP_CID=$(docker create --link wpdb:mysql --name wp_$CLIENT_ID -p 80 -v /run/lock/apache2/ -v /run/apache2/ \\
  -e WORDPRESS_DB_NAME=$CLIENT_ID --read-only wordpress:4)
docker start $WP_CID
AGENT_CID=$(docker create --name agent_$CLIENT_ID --link $WP_CID:insideweb --link wpmailer:insidemailer \\
  dockerinaction/ch2_agent)
docker start $AGENT_CID
`;

/** Goes through WordPress's installer as the owner of a site would. */
async function install(book: Book, container: string, title: string): Promise<void> {
  const form = new URLSearchParams({
    ...{ weblog_title: title, user_name: 'owner', admin_email: 'owner@example.com', blog_public: '0' },
    ...{ admin_password: 'of-the-test', admin_password2: 'of-the-test', pw_weak: '1' },
  });
  await book.shows(`docker logs ${container} 2>&1`, /resuming normal operations/);
  assert.match(await book.visit(container, '/wp-admin/install.php?step=2', form.toString()), /Success!/);
}

export const environments: Section = {
  title: '2.5 Programs that do not know their environment',
  checks: [
    {
      it: 'runs WordPress with a read-only root, which ends at once',
      run: async (book) => {
        await book.ok('docker run -d --name wp --read-only wordpress:4');
        await book.shows('docker inspect --format "{{.State.Running}}" wp', /^false$/m);
        assert.equal(await book.inspect('wp', '{{.HostConfig.ReadonlyRootfs}} {{.State.ExitCode}}'), 'true 1');
      },
    },
    {
      it: 'tells in its log what it misses',
      run: async (book) => {
        const { stderr } = await book.sh('docker logs wp');
        assert.match(stderr, /^error: missing WORDPRESS_DB_HOST and MYSQL_PORT_3306_TCP environment variables$/m);
      },
    },
    {
      it: 'runs the database with its password in the environment',
      run: async (book) => {
        await book.ok('docker run -d --name wpdb -e MYSQL_ROOT_PASSWORD=ch2demo mysql:5');
        await book.shows('docker logs wpdb', /mariadbd: ready for connections/);
      },
    },
    {
      it: 'fails to run WordPress that may not write a lock file',
      run: async (book) => {
        await book.ok('docker run -d --name wp2 --link wpdb:mysql -p 80 --read-only wordpress:4');
        await book.shows('docker logs wp2', /Read-only file system/);
        await book.shows('docker inspect --format "{{.State.Running}}" wp2', /^false$/m);
      },
    },
    {
      it: 'runs it with volumes as the exceptions to its read-only root',
      run: async (book) => {
        await book.ok(
          'docker run -d --name wp3 --link wpdb:mysql -p 80 -v /run/lock/apache2/ -v /run/apache2/ --read-only wordpress:4',
        );
        await book.shows('docker logs wp3', /resuming normal operations/);
        assert.equal(await book.inspect('wp3', '{{.State.Running}}'), 'true');
        const mounts = await book.inspect(
          'wp3',
          '{{range .Mounts}}{{.Type}} {{.Destination}} {{.RW}}{{println}}{{end}}',
        );
        assert.deepEqual(mounts.split('\n').sort(), ['volume /run/apache2 true', 'volume /run/lock/apache2 true']);
        assert.match(await book.fails('docker exec wp3 touch /etc/x'), /Read-only file system/);
      },
    },
    {
      it: 'tells the program about its database by the variables and the host name of the link',
      run: async (book) => {
        const env = await book.ok('docker exec wp3 env');
        const ip = await book.inspect('wpdb', '{{.NetworkSettings.IPAddress}}');
        assert.match(ip, /^\d+\.\d+\.\d+\.\d+$/);
        assert.ok(env.includes(`MYSQL_PORT_3306_TCP=tcp://${ip}:3306`), env);
        assert.match(env, /^MYSQL_NAME=\/wp3\/mysql$/m);
        assert.match(env, /^MYSQL_ENV_MYSQL_ROOT_PASSWORD=ch2demo$/m);
        assert.match(
          await book.ok('docker exec wp3 cat /etc/hosts'),
          new RegExp(`^${ip}\\s+mysql\\b.*\\bwpdb\\b`, 'm'),
        );
      },
    },
    {
      it: 'publishes its port 80 on a free port of the host',
      run: async (book) => {
        assert.match(await book.ok('docker port wp3'), /^80\/tcp -> 0\.0\.0\.0:\d+$/m);
        assert.match(await book.ok('docker ps --filter name=wp3'), /0\.0\.0\.0:\d+->80\/tcp/);
        assert.match(await book.visit('wp3', '/wp-admin/install.php'), /<title>WordPress[^<]*Installation<\/title>/);
      },
    },
    {
      it: 'gives a program a variable',
      run: async (book) => {
        const env = await book.ok('docker run --env MY_ENVIRONMENT_VAR="this is a test" busybox:latest env');
        assert.match(env, /^MY_ENVIRONMENT_VAR=this is a test$/m);
        assert.match(env, /^HOSTNAME=[0-9a-f]{12}$/m);
      },
    },
    {
      it: "lets a value given stand before the image's, and takes it as it is written",
      run: async (book) => {
        const env = await book.ok(`docker run --env PATH=/bin:/mine --env 'PRICE=$(HOME) $$5 %s' busybox:latest env`);
        assert.match(env, /^PATH=\/bin:\/mine$/m);
        assert.match(env, /^PRICE=\$\(HOME\) \$\$5 %s$/m);
      },
    },
    {
      it: 'creates WordPress for a database elsewhere',
      run: async (book) => {
        book.env.CID = await book.ok(
          'docker create --env WORDPRESS_DB_HOST=db.example.com --env WORDPRESS_DB_USER=site_admin --env WORDPRESS_DB_PASSWORD=MeowMix42 wordpress:4',
        );
        const env = await book.inspect('$CID', '{{range .Config.Env}}{{println .}}{{end}}'.replaceAll("'", ''));
        for (const line of ['HOST=db.example.com', 'USER=site_admin', 'PASSWORD=MeowMix42'])
          assert.match(env, new RegExp(`^WORDPRESS_DB_${line}$`, 'm'));
      },
    },
    {
      it: 'creates sites that share a database server, each with a database of its own',
      run: async (book) => {
        for (const client of ['client_a', 'client_b']) {
          const id = await book.ok(`docker create --link wpdb:mysql -e WORDPRESS_DB_NAME=${client} wordpress:4`);
          assert.match(await book.inspect(id, '{{.Config.Env}}'), new RegExp(`WORDPRESS_DB_NAME=${client}\\b`));
        }
      },
    },
    {
      it: 'refuses to provision a site without the id of a client',
      run: async (book) => {
        const script = `${book.env.TMP}/provision`;
        await writeFile(script, provisioningScript);
        await chmod(script, 0o755);
        const { code, stdout } = await book.sh('$TMP/provision');
        assert.deepEqual([code, stdout], [1, 'Client ID not set\n']);
      },
    },
    {
      it: 'provisions a site for each of two clients',
      run: async (book) => {
        await book.ok('docker run -d --name wpmailer dockerinaction/ch2_mailer');
        for (const client of ['alice', 'bob']) {
          await book.ok(`CLIENT_ID=${client} $TMP/provision`);
          await install(book, `wp_${client}`, `The site of ${client}`);
        }
      },
    },
    {
      it: 'keeps the data of clients in databases of their own',
      run: async (book) => {
        for (const client of ['alice', 'bob'])
          assert.match(await book.visit(`wp_${client}`), new RegExp(`<title>The site of ${client}`));
        const databases = await book.ok(
          'docker exec wpdb mariadb -uroot -pch2demo --socket /run/mysqld/mysqld.sock -Ne "SHOW DATABASES"',
        );
        assert.match(databases, /^alice$/m);
        assert.match(databases, /^bob$/m);
      },
    },
    {
      it: 'has an agent watch each site',
      run: async (book) => {
        // On a busy machine the page may come later than the agent waits for it.
        for (const client of ['alice', 'bob'])
          await book.shows(`docker logs wp_${client}`, /^\S+ "GET \/ HTTP\/1\.0" 200 /m);
      },
    },
    {
      it: 'destroys a site and makes it anew without losing its data',
      run: async (book) => {
        await book.ok('docker rm -vf agent_alice wp_alice');
        await book.ok('CLIENT_ID=alice $TMP/provision');
        await book.shows('docker logs wp_alice', /resuming normal operations/);
        assert.match(await book.visit('wp_alice'), /<title>The site of alice/);
      },
    },
  ],
};
