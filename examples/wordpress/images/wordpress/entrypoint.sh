#!/bin/sh
# Checks that there is a database to talk to, makes this site's own in it, and becomes Apache. From the environment:
#   WORDPRESS_DB_HOST       or a link whose alias is mysql
#   WORDPRESS_DB_PASSWORD   must be given, unless the link tells the database's MYSQL_ROOT_PASSWORD
#   WORDPRESS_DB_USER       by default root
#   WORDPRESS_DB_NAME       by default wordpress
#   WORDPRESS_URL           by default whatever it is asked for
set -eu
if [ -z "${WORDPRESS_DB_HOST:-}" ] && [ -z "${MYSQL_PORT_3306_TCP:-}" ]; then
  echo 'error: missing WORDPRESS_DB_HOST and MYSQL_PORT_3306_TCP environment variables' >&2
  echo '  Link to a database with the alias mysql, or give WORDPRESS_DB_HOST.' >&2
  exit 1
fi
export WORDPRESS_DB_PASSWORD="${WORDPRESS_DB_PASSWORD:-${MYSQL_ENV_MYSQL_ROOT_PASSWORD:-}}"
if [ -z "$WORDPRESS_DB_PASSWORD" ]; then
  echo 'error: missing WORDPRESS_DB_PASSWORD environment variable; give it from a Secret' >&2
  exit 1
fi
if [ "${1:-}" = apache2 ]; then
  # A link's alias follows its address; the variable of the link is the address of this start only.
  export WORDPRESS_DB_HOST="${WORDPRESS_DB_HOST:-mysql}"
  php -c /etc/wordpress/php.ini /etc/wordpress/make-database.php
fi
exec "$@"
