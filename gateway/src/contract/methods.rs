//! The methods of gRPC that can be called.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{Arc, OnceLock},
};

use auth::{Rule, Rules};
use bytes::Bytes;
use chassis::{
    metrics::Method as Counts,
    status::{Fault, Reason},
};
use http::Method;
use prost_reflect::{MessageDescriptor, MethodDescriptor, prost_types::method_options::IdempotencyLevel};
use transcode::Type;
use upstream::Upstream;

use super::{own, routes::is_public, served::Served};
use crate::{
    answer::{payload::unprintable, problem::refused},
    aside, metrics,
};

/// The methods that can be called, by their path.
#[derive(Debug)]
pub(crate) struct Methods {
    by_path: HashMap<String, Arc<Called>>,
    /// What calls of unknown methods are counted as.
    other: Arc<Counts>,
}

/// The form of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Proto,
}

/// A method of a service.
pub(crate) struct Called {
    pub(crate) upstream: Arc<Upstream>,
    counted: Arc<Counts>,
    /// What its calls over Connect are counted as.
    pub(crate) over_connect: Arc<Counts>,
    method: MethodDescriptor,
    /// Its request and its response, once they are asked for as JSON.
    types: OnceLock<(Type, Type)>,
    /// Whether either side streams: then only its beginning has a time that the edge knows.
    pub(crate) streams: bool,
    /// Whether its client does, so that what comes is not one message.
    pub(crate) client_streams: bool,
    /// Whether it changes nothing, so that GET may call it: it says so itself, or has a route for that.
    pub(crate) is_safe: bool,
    /// Who may call it; without a rule, everyone who has a token.
    pub(crate) rule: Option<Rule>,
}

impl Form {
    /// That of a content type.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "json" => Some(Self::Json),
            "proto" => Some(Self::Proto),
            _ => None,
        }
    }
}

impl fmt::Debug for Called {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.method.full_name())
    }
}

impl Called {
    /// The full name of its service.
    pub(crate) fn service(&self) -> &str {
        self.method.parent_service().full_name()
    }

    /// Its request.
    pub(crate) fn input(&self) -> MessageDescriptor {
        self.method.input()
    }

    /// A field of its request as it is named in this form.
    pub(crate) fn named(&self, form: Form, field: &str) -> String {
        match form {
            Form::Proto => field.to_owned(),
            Form::Json => self.types().0.json_path(field),
        }
    }

    /// The wire bytes of its request.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) async fn wire(
        self: &Arc<Self>,
        form: Form,
        message: &Bytes,
        lenient: bool,
    ) -> Result<Bytes, Fault> {
        let wire = match form {
            Form::Proto => return Ok(message.clone()),
            // A route's body may be left out. A message may not: an empty one is `{}`.
            Form::Json if message.is_empty() => {
                return Err(Fault::new(Reason::MalformedRequest, "the message is empty, which is no JSON"));
            }
            Form::Json if aside::is_long(message.len()) => {
                let (called, message) = (Arc::clone(self), message.clone());
                aside::run(move || called.types().0.wire(&message, lenient)).await?
            }
            Form::Json => self.types().0.wire(message, lenient),
        };
        Ok(wire.map_err(refused)?.into())
    }

    /// Its response in this form.
    ///
    /// # Errors
    /// A response that is not of the contract.
    pub(crate) async fn printed(self: &Arc<Self>, form: Form, wire: Bytes) -> Result<Bytes, Fault> {
        let printed = match form {
            Form::Proto => return Ok(wire),
            Form::Json if aside::is_long(wire.len()) => {
                let called = Arc::clone(self);
                aside::run(move || called.types().1.json(&wire)).await?
            }
            Form::Json => self.types().1.json(&wire),
        };
        Ok(printed.map_err(unprintable)?.into())
    }

    fn types(&self) -> &(Type, Type) {
        self.types.get_or_init(|| (Type::new(&self.method.input()), Type::new(&self.method.output())))
    }
}

impl Methods {
    /// Every method of the services that have a route, but for those of operators: a service without a route stays unknown here too. And those
    /// that the edge answers itself, unless a service with a route is called the same.
    pub(crate) fn of(served: &[Arc<Served>], rules: &Rules, own: &Arc<Upstream>) -> Self {
        let gets = served.iter().filter(|served| served.route.method == Method::GET.as_str());
        let reads: HashSet<_> = gets.map(|served| served.route.rpc.method.full_name().to_owned()).collect();
        let called = |method: &MethodDescriptor, upstream: &Arc<Upstream>| {
            let name = format!("{}/{}", method.parent_service().full_name(), method.name());
            let counted = metrics::call(&name);
            let streams = method.is_client_streaming() || method.is_server_streaming();
            let over_connect = metrics::connect_call(&name);
            let client_streams = method.is_client_streaming();
            let is_safe = reads.contains(method.full_name()) || says_so(method);
            let (path, upstream) = (format!("/{name}"), Arc::clone(upstream));
            let rule = rules.get(&path).cloned();
            let (method, types) = (method.clone(), OnceLock::new());
            let called = Called {
                upstream,
                counted,
                over_connect,
                method,
                types,
                streams,
                client_streams,
                is_safe,
                rule,
            };
            (path, Arc::new(called))
        };
        let methods = |served: &Arc<Served>| {
            let service = served.route.rpc.method.parent_service().clone();
            let upstream = Arc::clone(&served.upstream);
            let methods = service.methods().filter(is_public);
            methods.map(|method| called(&method, &upstream)).collect::<Vec<_>>()
        };
        let own = own::methods().iter().map(|method| called(method, own));
        // A service has many routes, and its methods are made once.
        let mut services = HashSet::new();
        let firsts = served.iter().filter(|served| services.insert(served.route.rpc.service.as_str()));
        let by_path = own.chain(firsts.flat_map(methods)).collect();
        Self { by_path, other: metrics::call("_OTHER") }
    }

    /// The method of a path, if anybody has it, and what its calls are counted as.
    pub(crate) fn find(&self, path: &str) -> (Option<Arc<Called>>, Arc<Counts>) {
        let called = self.by_path.get(path).cloned();
        let counted = called.as_ref().map_or(&self.other, |called| &called.counted);
        let counted = Arc::clone(counted);
        (called, counted)
    }
}

/// Whether a method says of itself that it changes nothing.
fn says_so(method: &MethodDescriptor) -> bool {
    let options = method.method_descriptor_proto().options.as_ref();
    options.is_some_and(|options| options.idempotency_level() == IdempotencyLevel::NoSideEffects)
}
