#!/bin/sh
# Takes messages on TCP port 33333 and "mails" them: each goes to the log. Stays up whatever a client does.
# PID 1 ignores signals that it has no handler for, so the traps are what makes it stop at once.
trap 'kill "$listener" 2>/dev/null; exit 0' TERM INT

# The clients' handlers write here: their own standard output is the connection.
exec 3>&1
echo 'CH2 Example Mailer has started.'
nc -ll -p 33333 -e /usr/local/bin/receive &
listener=$!
wait "$listener"
echo 'The listener ended.' >&2
exit 1
