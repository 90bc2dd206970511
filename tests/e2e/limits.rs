//! The limits in the contracts are those that the services check: every field with `buf.validate` options, of every request.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use http::uri::PathAndQuery;
use prost::Message as _;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor, Value,
};
use regex::Regex;
use tonic::{
    Code, Request, Status,
    client::Grpc,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;
use world::Raw;

use crate::mesh::{ADMIN_TOKEN, EMBEDDED, Mesh};

/// The number of `google.api.FieldBehavior.REQUIRED`, and of `buf.validate.Ignore.IGNORE_IF_ZERO_VALUE`.
const REQUIRED: i32 = 2;
const IF_ZERO_VALUE: i32 = 1;

/// A field with rules, at the end of the way to it.
struct Limited {
    way: Vec<FieldDescriptor>,
    rules: DynamicMessage,
    required: bool,
}

fn option(field: &FieldDescriptor, name: &str) -> Result<Option<Value>> {
    let extension = field.parent_pool().get_extension_by_name(name).context("an option")?;
    let options = field.options();
    Ok(options.has_extension(&extension).then(|| options.get_extension(&extension).into_owned()))
}

fn given(message: &DynamicMessage) -> Vec<(String, Value)> {
    message.fields().map(|(field, value)| (field.name().to_owned(), value.clone())).collect()
}

/// The fields with rules of a request, and of the messages in it.
fn limited(way: &[FieldDescriptor], of: &MessageDescriptor) -> Result<Vec<Limited>> {
    let mut found = Vec::new();
    for field in of.fields() {
        let way: Vec<FieldDescriptor> = way.iter().chain([&field]).cloned().collect();
        if let Some(rules) = option(&field, "buf.validate.field")? {
            let rules = rules.as_message().context("rules are a message")?.clone();
            let behaviors = option(&field, "google.api.field_behavior")?;
            let behaviors = behaviors.as_ref().and_then(Value::as_list).unwrap_or_default();
            let required = behaviors.contains(&Value::EnumNumber(REQUIRED));
            found.push(Limited { way, rules, required });
        } else if let Kind::Message(inner) = field.kind()
            && inner.full_name().starts_with("ordermesh.")
            && !field.is_list()
        {
            found.extend(limited(&way, &inner)?);
        }
    }
    Ok(found)
}

impl Limited {
    fn field(&self) -> Result<&FieldDescriptor> {
        self.way.last().context("a way has an end")
    }

    fn path(&self) -> String {
        self.way.iter().map(FieldDescriptor::name).collect::<Vec<_>>().join(".")
    }

    /// What the rules say of a value. Whoever writes another kind of rule teaches it here.
    fn allows(&self, value: &Value) -> Result<bool> {
        let is_zero = match value {
            Value::String(text) => text.is_empty(),
            Value::I32(number) => *number == 0,
            Value::I64(number) => *number == 0,
            other => bail!("{}: {other:?}", self.path()),
        };
        let mut allowed = !(is_zero && self.required);
        for (name, rule) in given(&self.rules) {
            match (name.as_str(), &rule) {
                // The empty value is none of what the others speak of.
                ("ignore", Value::EnumNumber(IF_ZERO_VALUE)) if is_zero => return Ok(!self.required),
                ("ignore", Value::EnumNumber(IF_ZERO_VALUE)) => {}
                (_, Value::Message(rules)) => {
                    for (name, limit) in given(rules) {
                        allowed &= keeps(&name, &limit, value).with_context(|| self.path())?;
                    }
                }
                _ => bail!("{}: {name} = {rule:?}", self.path()),
            }
        }
        Ok(allowed)
    }

    /// The names of the limits, and what they are.
    fn limits(&self) -> Vec<(String, Value)> {
        given(&self.rules).iter().filter_map(|(_, rule)| rule.as_message()).flat_map(given).collect()
    }

    /// Values on both sides of every limit that there is.
    fn values(&self) -> Result<Vec<Value>> {
        let limits = self.limits();
        let around = limits.iter().filter_map(|(_, limit)| number(limit));
        let around = around.flat_map(|limit| [limit.saturating_sub(1), limit, limit.saturating_add(1)]);
        let numbers = [i64::MIN, i32::MIN.into(), -1, 0, 1, 1_000, 1_001, i32::MAX.into(), i64::MAX];
        let mut numbers: Vec<i64> = numbers.into_iter().chain(around).collect();
        numbers.sort_unstable();
        numbers.dedup();
        Ok(match self.field()?.kind() {
            Kind::Int32 => {
                numbers.into_iter().filter_map(|it| i32::try_from(it).ok()).map(Value::I32).collect()
            }
            Kind::Int64 => numbers.into_iter().map(Value::I64).collect(),
            Kind::String => {
                ["", "a", "A.b_c-9", "a b", "a/b", "~ ", "é", "a\tb\r\n", "\u{85}", "\u{7f}", "a\0"]
                    .into_iter()
                    .chain(["RUB", "RUBL", "rub", "R1B"])
                    .map(str::to_owned)
                    .chain(
                        lengths(&limits)?
                            .into_iter()
                            .flat_map(|length| ["a", "é"].map(|it| it.repeat(length))),
                    )
                    .map(Value::String)
                    .collect()
            }
            other => bail!("{}: {other:?}", self.path()),
        })
    }

    /// A request that has this value there, and nothing else.
    fn request(&self, value: Value) -> Value {
        self.way.iter().rev().fold(value, |value, field| {
            let mut message = DynamicMessage::new(field.parent_message().clone());
            message.set_field(field, value);
            Value::Message(message)
        })
    }
}

/// The lengths of texts on both sides of every limit of a length, which a pattern has in braces.
fn lengths(limits: &[(String, Value)]) -> Result<BTreeSet<usize>> {
    let (mut lengths, braces) = (BTreeSet::new(), Regex::new(r"[{,](\d+)")?);
    for (name, limit) in limits {
        let found: Vec<usize> = match (name.as_str(), limit) {
            ("min_len" | "max_len", Value::U64(length)) => vec![usize::try_from(*length)?],
            ("pattern", Value::String(pattern)) => {
                braces.captures_iter(pattern).map(|found| found[1].parse()).collect::<Result<_, _>>()?
            }
            _ => Vec::new(),
        };
        lengths.extend(found.into_iter().flat_map(|length| [length.saturating_sub(1), length, length + 1]));
    }
    Ok(lengths)
}

fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_i32().map(i64::from))
}

/// Whether a value is within one limit.
fn keeps(name: &str, limit: &Value, value: &Value) -> Result<bool> {
    if let (Some(number), Some(limit)) = (number(value), number(limit)) {
        return Ok(match name {
            "gte" => number >= limit,
            "lte" => number <= limit,
            _ => bail!("{name}: {limit}"),
        });
    }
    let text = value.as_str().with_context(|| format!("{name} of {value:?}"))?;
    Ok(match (name, limit) {
        ("min_len", Value::U64(least)) => text.chars().count() as u64 >= *least,
        ("max_len", Value::U64(most)) => text.chars().count() as u64 <= *most,
        ("pattern", Value::String(pattern)) => Regex::new(pattern)?.is_match(text),
        _ => bail!("{name}: {limit:?}"),
    })
}

/// What a service says of its request, if it says anything.
pub(crate) async fn refusal(
    channel: &Channel,
    method: &MethodDescriptor,
    request: &DynamicMessage,
) -> Result<Option<Status>> {
    let mut client = Grpc::new(channel.clone());
    client.ready().await?;
    let mut request = Request::new(Bytes::from(request.encode_to_vec()));
    request.metadata_mut().insert("authorization", format!("Bearer {ADMIN_TOKEN}").parse()?);
    let path: PathAndQuery = format!("/{}/{}", method.parent_service().full_name(), method.name()).parse()?;
    match client.server_streaming(request, path, Raw).await {
        Err(status) => Ok(Some(status)),
        // A board begins with nothing.
        Ok(_) if method.is_server_streaming() => Ok(None),
        Ok(mut answer) => Ok(answer.get_mut().message().await.err()),
    }
}

async fn compare(channel: &Channel, method: &MethodDescriptor, limited: &Limited) -> Result<()> {
    let path = limited.path();
    for value in limited.values()? {
        let request = limited.request(value.clone());
        let request = request.as_message().context("a request")?;
        let refusal = refusal(channel, method, request).await?;
        let violations = refusal.as_ref().and_then(|status| status.get_details_bad_request());
        let violations = violations.map(|bad| bad.field_violations).unwrap_or_default();
        let refused = violations.iter().any(|violation| violation.field == path);
        let called = format!("{} with {path} = {value:?}: {refusal:?}", method.full_name());
        ensure!(
            !refused || refusal.as_ref().is_some_and(|it| it.code() == Code::InvalidArgument),
            "{called}"
        );
        // Which codes there are is not in the contract: clients that check answers by it would refuse a currency that comes later.
        let is_code = limited.field()?.name() == "currency_code" && value.as_str() != Some("RUB");
        let allowed = limited.allows(&value)?;
        ensure!(refused != allowed || (is_code && refused), "{called}, and its options allow it: {allowed}");
    }
    Ok(())
}

/// None of the requests is whole: every service says all that is wrong with one at once.
#[tokio::test]
async fn what_the_options_of_a_field_allow_is_taken_and_nothing_else() -> Result<()> {
    let mesh = Mesh::start(EMBEDDED).await?;
    let pool = DescriptorPool::decode(ordermesh::DESCRIPTOR_SET)?;
    let (mut orders, mut payments) = (0, 0);
    let services = [
        (mesh.orders, "ordermesh.payments.", &mut orders),
        (mesh.payments, "ordermesh.orders.", &mut payments),
    ];
    // Whoever serves one of them serves what both have, and nothing of the other one.
    for (address, other, count) in services {
        let channel = Endpoint::from_shared(format!("http://{address}"))?.connect().await?;
        let ours = |package: &str| package.starts_with("ordermesh.") && !package.starts_with(other);
        for service in pool.services().filter(|service| ours(service.package_name())) {
            for method in service.methods() {
                for limited in limited(&[], &method.input())? {
                    compare(&channel, &method, &limited).await?;
                    *count += 1;
                }
            }
        }
    }
    ensure!(orders > 20 && payments > 20, "{orders} and {payments} fields have limits");
    Ok(())
}
