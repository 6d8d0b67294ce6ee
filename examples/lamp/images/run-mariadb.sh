#!/bin/sh
# Makes the database's files if there are none, and becomes the server, which only this container's programs can reach.
set -eu
home=/var/lib/mysql
if [ ! -d "$home/db" ]; then
  echo 'making a new database'
  rm -rf "$home/new"
  mkdir -p "$home/new"
  chown mysql:mysql "$home" "$home/new" /run/mysqld
  mariadb-install-db --user=mysql --datadir="$home/new" --skip-test-db --auth-root-authentication-method=socket >/dev/null
  # The name is given when all is there: an installation that was cut short is begun anew.
  mv "$home/new" "$home/db"
fi
exec mariadbd --user=mysql --datadir="$home/db" --socket=/run/mysqld/mysqld.sock --skip-networking \
  --init-file=/etc/lamp/init.sql --innodb-buffer-pool-size=32M --performance-schema=OFF
