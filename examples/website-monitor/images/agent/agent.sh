#!/bin/sh
# Tests the web server insideweb once a second. When it goes down, tells the mailer insidemailer, once, and goes on
# testing; while the mailer cannot be reached either, it tries again every second.
trap 'exit 0' TERM INT

is_up() {
  printf 'GET / HTTP/1.0\r\nHost: insideweb\r\n\r\n' | timeout 2 nc -w 1 insideweb 80 2>/dev/null |
    head -n 1 | grep -q '^HTTP/1\.[01] 200 '
}

alert() {
  echo 'To: admin@work Message: The service is down!' | timeout 5 nc -w 4 insidemailer 33333 >/dev/null 2>&1
}

told=no
while :; do
  if is_up; then
    echo 'System up.'
    told=no
  else
    echo 'System down.'
    if [ "$told" = no ]; then
      if alert; then
        told=yes
        echo 'Alert sent to the mailer.'
      else
        echo 'The mailer cannot be reached; trying again.'
      fi
    fi
  fi
  # In the background, because a shell runs its traps only between commands.
  sleep 1 &
  wait $!
done
