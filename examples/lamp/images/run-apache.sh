#!/bin/sh
# Becomes Apache. When its first process was killed, the others go on serving and hold the port: they are ended first.
killall -9 apache2 2>/dev/null
exec /usr/sbin/apache2 -D FOREGROUND -f /etc/lamp/apache2.conf
