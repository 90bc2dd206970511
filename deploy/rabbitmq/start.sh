#!/bin/sh
# The broker in its container, and its users once it is up.
set -eu
(until rabbitmqctl --quiet await_startup --timeout 60; do sleep 1; done; sh "$(dirname "$0")/users.sh") &
exec docker-entrypoint.sh rabbitmq-server
