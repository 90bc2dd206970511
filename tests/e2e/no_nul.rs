//! U+0000 in any text of any request is the caller's error, and the field is named: PostgreSQL cannot even be asked about it.

use anyhow::{Context as _, Result, ensure};
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;
use world::{Postgres, Scratch};

use crate::{
    alone::{self, NO_BROKER},
    limits::refusal,
};

#[tokio::test]
async fn sqlite() -> Result<()> {
    let scratch = Scratch::new("nul")?;
    let url = |service: &str| format!("sqlite:{}", scratch.path().join(service).display());
    refuse(&url("orders.db"), &url("payments.db")).await
}

#[tokio::test]
async fn postgres() -> Result<()> {
    let postgres = Postgres::start().await?;
    refuse(&postgres.fresh_database().await?, &postgres.fresh_database().await?).await
}

async fn refuse(orders_url: &str, payments_url: &str) -> Result<()> {
    for (service, url, contract, least) in [
        ("orders", orders_url, "ordermesh.orders.v1.OrdersService", 15),
        ("payments", payments_url, "ordermesh.payments.v1.PaymentsService", 12),
    ] {
        let mut process = alone::program(service, url, NO_BROKER)?.start()?;
        let address = process.address(&format!("{service}-grpc")).await?;
        let channel = Endpoint::from_shared(format!("http://{address}"))?.connect().await?;
        let texts = of_service(&channel, contract).await?;
        ensure!(texts >= least, "{contract} has {texts} texts");
    }
    Ok(())
}

/// Puts it into every text of the requests of a service; returns how many there are.
async fn of_service(channel: &Channel, contract: &str) -> Result<usize> {
    let pool = DescriptorPool::decode(ordermesh::DESCRIPTOR_SET)?;
    let mut texts = 0;
    for method in pool.get_service_by_name(contract).context("a service")?.methods() {
        for way in ways(&[], &method.input()) {
            let field = way.iter().map(FieldDescriptor::name).collect::<Vec<_>>().join(".");
            let mut values = vec!["a\0b"];
            if field == "filter" {
                // Within a filter that can be read, too.
                values.extend(["request_id = \"a\0b\"", "order_id = \"a\0b\""]);
            }
            for value in values {
                let called = format!("{} with {field} = {value:?}", method.full_name());
                let refused = refusal(channel, &method, &request(&method.input(), &way, value)).await?;
                let status = refused.with_context(|| format!("{called} was taken"))?;
                let named =
                    status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
                let named = named.iter().any(|violation| violation.field == field);
                ensure!(status.code() == Code::InvalidArgument && named, "{called}: {status:?}");
            }
            texts += 1;
        }
    }
    Ok(texts)
}

/// The way to every text of a request, and of the messages in it.
fn ways(way: &[FieldDescriptor], of: &MessageDescriptor) -> Vec<Vec<FieldDescriptor>> {
    let mut found = Vec::new();
    for field in of.fields() {
        let way: Vec<FieldDescriptor> = way.iter().chain([&field]).cloned().collect();
        match field.kind() {
            Kind::String if !is_output(&field) => found.push(way),
            Kind::Message(inner) if inner.full_name().starts_with("ordermesh.") => {
                found.extend(ways(&way, &inner))
            }
            _ => {}
        }
    }
    found
}

/// Whether the service fills it in, and passes over what a request has there.
fn is_output(field: &FieldDescriptor) -> bool {
    /// The number of `google.api.FieldBehavior.OUTPUT_ONLY`.
    const OUTPUT_ONLY: i32 = 3;
    let behavior = field.parent_pool().get_extension_by_name("google.api.field_behavior");
    let behaviors = behavior.map(|behavior| field.options().get_extension(&behavior).into_owned());
    let behaviors = behaviors.as_ref().and_then(Value::as_list).unwrap_or_default();
    behaviors.contains(&Value::EnumNumber(OUTPUT_ONLY))
}

/// A request of a user, with a text at the end of the way.
fn request(of: &MessageDescriptor, way: &[FieldDescriptor], text: &str) -> DynamicMessage {
    let put = |mut message: DynamicMessage, field: &FieldDescriptor, value| {
        message.set_field(field, value);
        message
    };
    let mut request = DynamicMessage::new(of.clone());
    if let Some(user) = of.get_field_by_name("user_id") {
        request = put(request, &user, Value::String("alice".to_owned()));
    }
    let Some((first, rest)) = way.split_first() else { return request };
    let value = rest.iter().rev().fold(Value::String(text.to_owned()), |value, field| {
        Value::Message(put(DynamicMessage::new(field.parent_message().clone()), field, value))
    });
    put(request, first, value)
}
