#!/bin/sh
# A user of the broker for each service, who may publish the kinds of messages that are the service's own, and no others. Harmless when it
# runs again. The passwords come from the environment: ORDERS_AMQP_PASSWORD, PAYMENTS_AMQP_PASSWORD.
set -eu

# What the mesh declares, whoever of its processes comes first. The default exchange is not among it: nobody publishes past the topics.
mesh='^ordermesh\.events(\..*)?$'

# user NAME PASSWORD TOPICS
user() {
    printf '%s\n' "$2" | rabbitmqctl --quiet add_user "$1" 2>/dev/null ||
        printf '%s\n' "$2" | rabbitmqctl --quiet change_password "$1"
    rabbitmqctl --quiet set_permissions -p / "$1" "$mesh" "$mesh" "$mesh"
    # To declare a queue is to bind it, which wants to read its topics.
    rabbitmqctl --quiet set_topic_permissions -p / "$1" ordermesh.events "$3" '.*'
}

user orders "$ORDERS_AMQP_PASSWORD" '^ordermesh\.(orders\.v1\.OrderPlaced|payments\.v1\.(VoidPayment|RestoreDecision))\.[0-9]+$'
user payments "$PAYMENTS_AMQP_PASSWORD" '^ordermesh\.payments\.v1\.PaymentDecided\.[0-9]+$'
