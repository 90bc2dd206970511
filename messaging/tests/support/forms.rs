//! CloudEvents in forms of the AMQP binding that we do not write.

use anyhow::{Context as _, Result, anyhow, ensure};
use bytes::Bytes;
use lapin::{
    BasicProperties, Channel, Confirmation,
    options::BasicPublishOptions,
    types::{AMQPValue, FieldTable},
};
use messaging::{
    broker::{Broker as _, Inflow},
    envelope::Envelope,
    topology::Topology,
};
use uuid::Uuid;
use world::RabbitMq;

use super::{
    given::{KIND, consumer, mesh, receive},
    rabbit::{broker, raw},
};

const ID: Uuid = Uuid::from_u128(0x0197_b0c4_0000_7000_8000_0000_0000_0000);
/// 2026-01-31T12:00:00.25Z, in milliseconds.
const MILLIS: i64 = 1_769_860_800_250;
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const PROTOBUF: &str = "application/protobuf";

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

/// Binary mode, with this between the names of the binding and of the attribute.
fn binary(separator: char, time: AMQPValue) -> BasicProperties {
    let mut headers = FieldTable::default();
    for (name, value) in [
        ("id", text(&ID.to_string())),
        ("specversion", text("1.0")),
        ("source", text("/shop")),
        ("type", text(KIND)),
        ("time", time),
        ("partitionkey", text("alice")),
        ("traceparent", text(TRACE)),
    ] {
        headers.insert(format!("cloudEvents{separator}{name}").into(), value);
    }
    BasicProperties::default().with_content_type(PROTOBUF.into()).with_headers(headers)
}

fn structured(content_type: &str) -> BasicProperties {
    BasicProperties::default().with_content_type(content_type.into())
}

/// As `to_structured_event` of cloudevents 2.2.0 (PyPI) writes it, with these members instead of its data.
fn event(data: &str) -> String {
    format!(
        "{{\"id\": \"{ID}\", \"specversion\": \"1.0\", \"source\": \"/shop\", \"type\": \"{KIND}\", \
         \"time\": \"2026-01-31T12:00:00.250000Z\", \"partitionkey\": \"alice\", \"traceparent\": \"{TRACE}\"{data}}}"
    )
}

const DATA: &str = ", \"datacontenttype\": \"application/protobuf\", \"data_base64\": \"AP8AAQ==\"";

async fn arrived(
    channel: &Channel,
    topology: &Topology,
    inflow: &mut dyn Inflow,
    body: &[u8],
    properties: BasicProperties,
) -> Result<Result<Envelope, String>> {
    let (exchange, route) = (topology.exchange.as_str(), topology.routing_key(KIND, "alice"));
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let published = channel.basic_publish(exchange.into(), route.as_str().into(), options, body, properties);
    ensure!(published.await?.await? == Confirmation::Ack(None));
    let delivery = receive(inflow, 1).await?.pop().context("nothing received")?;
    inflow.ack_through(delivery.tag).await?;
    Ok(delivery.message.map_err(|undecodable| undecodable.reason))
}

pub(crate) async fn binary_mode_with_either_prefix_and_json_are_read() -> Result<()> {
    let server = RabbitMq::shared().await?;
    let topology = mesh("forms", 1);
    let mut inflow = broker(&server, &topology)?.subscribe(&consumer("reader"), 0, 10).await?;
    let (_connection, channel) = raw(&server).await?;
    let sent = Bytes::from_static(&[0, 0xff, 0, 1]);
    let seconds = u64::try_from(MILLIS / 1_000)?;
    let (whole, json) = (MILLIS / 1_000 * 1_000, event(DATA));
    let empty = event(", \"datacontenttype\": \"application/protobuf\", \"data\": null");
    for (body, properties, payload, millis) in [
        // What `to_binary_event` of cloudevents 2.2.0 (PyPI) makes, as pika 1.4.4 writes it.
        (&*sent, binary('_', AMQPValue::LongLongInt(MILLIS)), sent.clone(), MILLIS),
        (&*sent, binary('_', AMQPValue::LongInt(250)), sent.clone(), 250),
        (&*sent, binary(':', AMQPValue::Timestamp(seconds)), sent.clone(), whole),
        (&*sent, binary('_', text("2026-01-31T14:00:00.25+02:00")), sent.clone(), MILLIS),
        (&*sent, binary(':', text("2026-01-31T12:00:00.25Z")), sent.clone(), MILLIS),
        (json.as_bytes(), structured("application/cloudevents+json"), sent.clone(), MILLIS),
        (json.as_bytes(), structured("Application/CloudEvents+JSON; charset=utf-8"), sent.clone(), MILLIS),
        (empty.as_bytes(), structured("application/cloudevents+json"), Bytes::new(), MILLIS),
    ] {
        let expected = Envelope {
            id: ID,
            kind: KIND.into(),
            key: "alice".into(),
            source: "/shop".into(),
            payload,
            traceparent: Some(TRACE.into()),
            tracestate: None,
            subject: None,
            token_id: None,
            create_time: millis * 1_000,
        };
        let message = arrived(&channel, &topology, &mut *inflow, body, properties.clone()).await?;
        let message = message.map_err(|reason| anyhow!("{reason}: {properties:?}"))?;
        ensure!(message == expected, "{properties:?}: {message:?}");
    }
    Ok(())
}

pub(crate) async fn what_no_form_allows_is_kept_with_the_reason() -> Result<()> {
    let server = RabbitMq::shared().await?;
    let topology = mesh("formless", 1);
    let mut inflow = broker(&server, &topology)?.subscribe(&consumer("reader"), 0, 10).await?;
    let (_connection, channel) = raw(&server).await?;
    let json = || structured("application/cloudevents+json");
    for (body, properties, reason) in [
        (String::new(), binary('_', AMQPValue::Boolean(true)), "time is no time"),
        (String::new(), binary('_', AMQPValue::LongLongInt(i64::MAX)), "time is out of range"),
        (String::new(), binary(':', AMQPValue::Timestamp(u64::MAX)), "time is out of range"),
        (String::new(), binary('-', text("2026-01-31T12:00:00Z")), "specversion is missing"),
        ("[]".to_owned(), json(), "no JSON object"),
        (event(""), json(), "the datacontenttype is absent, not application/protobuf"),
        (event(", \"datacontenttype\": \"application/json\", \"data\": {}"), json(), "application/json"),
        (event(", \"datacontenttype\": \"application/protobuf\", \"data\": \"a\""), json(), "not as data"),
        (
            event(", \"datacontenttype\": \"application/protobuf\", \"data_base64\": \"a\""),
            json(),
            "data_base64",
        ),
        (event(DATA).replace("\"alice\"", "7"), json(), "partitionkey is no text"),
        (
            format!("[{}]", event(DATA)),
            structured("application/cloudevents-batch+json"),
            "batch+json\", neither application/protobuf",
        ),
    ] {
        let message = arrived(&channel, &topology, &mut *inflow, body.as_bytes(), properties).await?;
        let refused = message.err().with_context(|| format!("{body} was taken"))?;
        ensure!(refused.contains(reason), "{refused}, not {reason}");
    }
    Ok(())
}
