#!/bin/sh
# Becomes the database server; makes its files first if the volume has none. From the environment:
#   MYSQL_ROOT_PASSWORD   must be given
#   MYSQL_DATABASE        a database to make, if it is not there
#   MYSQL_USER, MYSQL_PASSWORD   an account for it
#   MYSQL_USER_DATABASES  a pattern (client\_%) of the databases that the account may make and use besides
# Passwords and grants are brought to this at every start, so a changed Secret counts after a restart.
set -eu
if [ -z "${MYSQL_ROOT_PASSWORD:-}" ]; then
  echo 'error: missing MYSQL_ROOT_PASSWORD environment variable; give it from a Secret' >&2
  exit 1
fi
if [ "${1:-}" != mariadbd ]; then exec "$@"; fi
shift

home=/var/lib/mysql
chown mysql:mysql "$home" /run/mysqld
if [ ! -d "$home/db" ]; then
  echo 'making a new database'
  rm -rf "$home/new"
  mkdir -p "$home/new"
  chown mysql:mysql "$home/new"
  mariadb-install-db --user=mysql --datadir="$home/new" --skip-test-db --auth-root-authentication-method=normal >/dev/null
  # The name is given when all is there: an installation that was cut short is begun anew.
  mv "$home/new" "$home/db"
fi

# quoted TEXT: as an SQL string.
quoted() { printf "'%s'" "$(printf %s "$1" | sed "s/[\\\\']/\\\\&/g")"; }
# name TEXT: as an SQL identifier.
name() { printf '`%s`' "$(printf %s "$1" | sed 's/`/``/g')"; }

umask 077
init=/run/mysqld/init.sql
{
  for host in localhost %; do
    echo "CREATE USER IF NOT EXISTS root@'$host';"
    echo "ALTER USER root@'$host' IDENTIFIED BY $(quoted "$MYSQL_ROOT_PASSWORD");"
    echo "GRANT ALL ON *.* TO root@'$host' WITH GRANT OPTION;"
  done
  if [ -n "${MYSQL_DATABASE:-}" ]; then echo "CREATE DATABASE IF NOT EXISTS $(name "$MYSQL_DATABASE");"; fi
  if [ -n "${MYSQL_USER:-}" ] && [ -n "${MYSQL_PASSWORD:-}" ]; then
    account="$(quoted "$MYSQL_USER")@'%'"
    echo "CREATE USER IF NOT EXISTS $account;"
    echo "ALTER USER $account IDENTIFIED BY $(quoted "$MYSQL_PASSWORD");"
    if [ -n "${MYSQL_DATABASE:-}" ]; then echo "GRANT ALL ON $(name "$MYSQL_DATABASE").* TO $account;"; fi
    if [ -n "${MYSQL_USER_DATABASES:-}" ]; then echo "GRANT ALL ON $(name "$MYSQL_USER_DATABASES").* TO $account;"; fi
  fi
} >"$init"
chown mysql:mysql "$init"
# The server and its children need none of them.
unset MYSQL_ROOT_PASSWORD MYSQL_PASSWORD
exec mariadbd --user=mysql --datadir="$home/db" --socket=/run/mysqld/mysqld.sock --init-file="$init" \
  --bind-address='*' --skip-name-resolve --innodb-buffer-pool-size=32M --performance-schema=OFF "$@"
