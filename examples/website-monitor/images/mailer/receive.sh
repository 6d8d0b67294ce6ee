#!/bin/sh
# One connection: its first 4 KiB, sent within 10 seconds, are the message. Control characters are left out of the log.
message=$(timeout 10 head -c 4096 | tr '\n' ' ' | tr -d '\000-\037\177')
message=${message% }
[ -n "$message" ] && echo "Sending email: $message" >&3
exit 0
