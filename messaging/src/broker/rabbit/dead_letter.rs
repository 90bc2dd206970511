//! A dead letter: why the broker gave a message up, out of the header `x-death` (<https://www.rabbitmq.com/docs/dlx>), and how that
//! travels to the consumer which parks it.

use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable},
};

/// The header with the story, in words: newer brokers read or change those that begin with `x-`.
const STORY: &str = "dead-letter";

/// Its latest death.
pub(super) struct Death {
    /// The queue that it was in.
    pub(super) queue: String,
    reason: String,
    count: i64,
    routing_keys: String,
}

impl Death {
    /// `None` when the broker says nothing of one.
    pub(super) fn of(properties: &BasicProperties) -> Option<Self> {
        let headers = properties.headers().as_ref()?.inner();
        let AMQPValue::FieldArray(deaths) = headers.get("x-death")? else { return None };
        let AMQPValue::FieldTable(death) = deaths.as_slice().first()? else { return None };
        let text = |name: &str| death.inner().get(name).and_then(text);
        let routing_keys = match death.inner().get("routing-keys") {
            Some(AMQPValue::FieldArray(keys)) => keys.as_slice().iter().filter_map(self::text).collect(),
            _ => Vec::new(),
        };
        let count = match death.inner().get("count") {
            Some(AMQPValue::LongLongInt(count)) => *count,
            _ => 1,
        };
        let routing_keys = routing_keys.join(", ");
        Some(Self { queue: text("queue")?, reason: text("reason")?, count, routing_keys })
    }

    /// The policy that removed it, when one did.
    pub(super) fn policy(&self) -> Option<&'static str> {
        match self.reason.as_str() {
            "expired" => Some("message-ttl"),
            "maxlen" => Some("max-length with overflow: drop-head"),
            _ => None,
        }
    }
}

/// Why the broker gave it up, for an operator: what it said the first time, when it has died again on the way.
pub(super) fn story(properties: &BasicProperties, death: Option<&Death>) -> String {
    if let Some(story) = recorded_story(properties) {
        return story;
    }
    let Some(Death { queue, reason, count, routing_keys }) = death else {
        return "dead letter: the broker does not say why".to_owned();
    };
    let why = match reason.as_str() {
        "delivery_limit" => {
            "it was delivered too often without an acknowledgement: its consumer died or lost its connection each time"
        }
        "expired" => "it expired: a policy with message-ttl on the broker removes messages",
        "maxlen" => {
            "its queue was full: a policy with max-length and overflow drop-head on the broker removes messages"
        }
        "rejected" => "a client rejected it",
        _ => "the broker gave it up",
    };
    format!("dead letter: {why} (reason {reason}, queue {queue}, routing key {routing_keys}, count {count})")
}

/// The story of a letter that was sorted.
pub(super) fn recorded_story(properties: &BasicProperties) -> Option<String> {
    properties.headers().as_ref()?.inner().get(STORY).and_then(text)
}

/// What travels on with a letter. Its deaths do not: the broker would count the way as a circle and drop it. Neither does what would
/// make the broker refuse it, or send copies elsewhere.
pub(super) fn with_story(properties: &BasicProperties, story: &str) -> BasicProperties {
    let mut headers = FieldTable::default();
    for (name, value) in properties.headers().iter().flat_map(FieldTable::inner) {
        if !name.as_str().starts_with("x-") && !["CC", "BCC", STORY].contains(&name.as_str()) {
            headers.insert(name.clone(), value.clone());
        }
    }
    headers.insert(STORY.into(), AMQPValue::LongString(story.into()));
    let mut copy = BasicProperties::default().with_headers(headers).with_delivery_mode(2);
    if let Some(content_type) = properties.content_type() {
        copy = copy.with_content_type(content_type.clone());
    }
    if let Some(content_encoding) = properties.content_encoding() {
        copy = copy.with_content_encoding(content_encoding.clone());
    }
    if let Some(correlation_id) = properties.correlation_id() {
        copy = copy.with_correlation_id(correlation_id.clone());
    }
    if let Some(message_id) = properties.message_id() {
        copy = copy.with_message_id(message_id.clone());
    }
    if let Some(kind) = properties.kind() {
        copy = copy.with_type(kind.clone());
    }
    if let Some(app_id) = properties.app_id() {
        copy = copy.with_app_id(app_id.clone());
    }
    if let Some(timestamp) = properties.timestamp() {
        copy = copy.with_timestamp(*timestamp);
    }
    copy
}

fn text(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => Some(text.to_string()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    }
}
