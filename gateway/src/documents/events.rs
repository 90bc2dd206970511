//! AsyncAPI 3.0 of the events: who publishes and who consumes them, as the topology says it, and what they hold, as the contracts do.

use ordermesh::{
    EVENTS_EXCHANGE,
    topology::{CONSUMERS, PUBLISHERS},
};
use prost_reflect::{DescriptorPool, MessageDescriptor};
use serde_json::{Map, Value, json};

/// The version of the [AMQP bindings](https://github.com/asyncapi/bindings/tree/master/amqp).
const BINDING: &str = "0.3.0";

/// Of every payload.
const CONTENT_TYPE: &str = "application/protobuf";

const DESCRIPTION: &str = "What the services publish, as CloudEvents in binary mode with a payload of protobuf.\n\n\
    To get events, bind a queue of your own to the exchange, by `KIND.*` where the routing key is the kind, a dot and the number of the partition. \
    Each event comes at least once: know it by its id. Those of one partition key keep their order. `docs/NEIGHBOURS.md` has what clients of other \
    languages do to them.";

/// The document, where the descriptors have all events: those of others are nobody's here.
pub(super) fn document(pool: &DescriptorPool) -> Option<Value> {
    let (mut channels, mut messages) = (Map::new(), Map::new());
    for publisher in PUBLISHERS {
        for kind in publisher.kinds {
            let message = pool.get_message_by_name(kind)?;
            channels.insert((*kind).to_owned(), channel(&message));
            messages.insert((*kind).to_owned(), self::message(&message, publisher.name)?);
        }
    }
    Some(json!({
        "asyncapi": "3.0.0",
        "id": "urn:ordermesh:events",
        "info": {
            "title": "ordermesh events",
            "version": env!("CARGO_PKG_VERSION"),
            "description": DESCRIPTION,
            "license": { "name": "MIT" },
        },
        "defaultContentType": CONTENT_TYPE,
        "servers": { "broker": {
            "host": "{broker}",
            "protocol": "amqp",
            "protocolVersion": "0-9-1",
            "description": "RabbitMQ. There is nothing to connect to where the broker is within the process.",
            "variables": { "broker": { "default": "127.0.0.1:5672", "description": "The host of `AMQP_URL`." } },
        } },
        "channels": channels,
        "operations": operations(),
        "components": { "messages": messages, "messageTraits": { "cloudEvent": cloud_event() } },
    }))
}

/// Who publishes what, and who consumes it.
fn operations() -> Map<String, Value> {
    let mut operations = Map::new();
    let mut operation = |name: &str, does: &str, kind: &str, mut operation: Value| {
        let short = kind.rsplit('.').next().unwrap_or(kind);
        operation["title"] = format!("{name} {does} {short}").into();
        operation["channel"] = json!({ "$ref": format!("#/channels/{kind}") });
        operation["bindings"]["amqp"]["bindingVersion"] = BINDING.into();
        operations.insert(format!("{name}-{does}-{short}"), operation);
    };
    for publisher in PUBLISHERS {
        for kind in publisher.kinds {
            let persistent = json!({ "action": "send", "bindings": { "amqp": { "deliveryMode": 2 } } });
            operation(publisher.name, "publishes", kind, persistent);
        }
    }
    for consumer in CONSUMERS {
        let queues = format!(
            "By queues of its own: `{EVENTS_EXCHANGE}.{}.` and the number of the partition.",
            consumer.name
        );
        for kind in consumer.kinds {
            let acknowledged = json!({ "action": "receive", "description": queues, "bindings": { "amqp": { "ack": true } } });
            operation(consumer.name, "consumes", kind, acknowledged);
        }
    }
    operations
}

/// Where the events of a kind are published to.
fn channel(message: &MessageDescriptor) -> Value {
    let kind = message.full_name();
    json!({
        "address": format!("{kind}.{{partition}}"),
        "title": message.name(),
        "parameters": { "partition": {
            "description": "The number of the partition, from 0. All events of one partition key are in the same one.",
            "default": "0",
        } },
        "messages": { message.name(): { "$ref": format!("#/components/messages/{kind}") } },
        "bindings": { "amqp": {
            "is": "routingKey",
            "exchange": { "name": EVENTS_EXCHANGE, "type": "topic", "durable": true, "autoDelete": false },
            "bindingVersion": BINDING,
        } },
    })
}

fn message(message: &MessageDescriptor, publisher: &str) -> Option<Value> {
    let kind = message.full_name();
    let own = |value: String| json!({ "type": "string", "const": value });
    Some(json!({
        "name": kind,
        "title": message.name(),
        "description": transcode::comment(message),
        "contentType": CONTENT_TYPE,
        "traits": [{ "$ref": "#/components/messageTraits/cloudEvent" }],
        "headers": {
            "type": "object",
            "properties": {
                "cloudEvents:type": own(kind.to_owned()),
                "cloudEvents:source": own(format!("/ordermesh/{publisher}")),
            },
        },
        "payload": {
            "schemaFormat": "application/vnd.google.protobuf;version=3",
            "schema": transcode::source(message)?,
        },
        "bindings": { "amqp": { "messageType": kind, "bindingVersion": BINDING } },
    }))
}

/// What every event has beside its payload (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/amqp-protocol-binding.md>).
fn cloud_event() -> Value {
    let text = |description: &str| json!({ "type": "string", "description": description });
    json!({
        "headers": {
            "type": "object",
            "required": [
                "cloudEvents:specversion",
                "cloudEvents:id",
                "cloudEvents:source",
                "cloudEvents:type",
                "cloudEvents:time",
                "cloudEvents:partitionkey",
            ],
            "properties": {
                "cloudEvents:specversion": { "type": "string", "const": "1.0" },
                "cloudEvents:id": { "type": "string", "format": "uuid", "description": "UUIDv7. The same with each delivery of the event." },
                "cloudEvents:source": text("Who has published it."),
                "cloudEvents:type": text("The kind: the full name of the payload's message."),
                "cloudEvents:time": { "type": "string", "format": "date-time", "description": "When it was written." },
                "cloudEvents:partitionkey": text("The user whose order or account it is about: events of one user keep their order."),
                "cloudEvents:authtype": { "type": "string", "const": "app_user", "description": "Only beside `authid`." },
                "cloudEvents:authid": text("On whose behalf it was written: the claim `sub` of a token, where callers have tokens."),
                "cloudEvents:authclaims": text("The claim `jti` of that token, as JSON: only beside `authid`."),
                "traceparent": text("The W3C trace context of the request that caused it."),
                "tracestate": text("What tracing systems add to that."),
            },
        },
    })
}
