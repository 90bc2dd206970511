//! Calls of gRPC: how many of each method ended with which code, and how long they took.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use metrics::Histogram;
use tonic::Code;

use crate::status::code_name;

const DURATION: &str = "rpc_server_call_duration_seconds";

/// What stands for a method that nobody has, as the conventions spell it: any client can name as many as it likes.
const OTHER: &str = "_OTHER";

/// How many codes there are.
const CODES: usize = 17;

/// One method: its histograms are found once, not with each call.
#[derive(Debug)]
pub struct Method {
    service: &'static str,
    system: &'static str,
    name: String,
    by_code: [OnceLock<Histogram>; CODES],
}

impl Method {
    /// A method such as `package.Service/Method`, served by the part of the process with the name `service`.
    #[must_use]
    pub fn new(service: &'static str, name: impl Into<String>) -> Self {
        metrics::describe_histogram!(DURATION, "calls of gRPC, from their head to their status");
        Self { service, system: "grpc", name: name.into(), by_code: [const { OnceLock::new() }; CODES] }
    }

    /// The same, called in another protocol, such as `connectrpc`.
    #[must_use]
    pub const fn over(mut self, system: &'static str) -> Self {
        self.system = system;
        self
    }

    /// The protocol of its calls, as the conventions spell it.
    #[must_use]
    pub const fn system(&self) -> &'static str {
        self.system
    }

    /// `package.Service/Method`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Notes a call that has ended with a code.
    pub fn record(&self, code: Code, took: Duration) {
        let Some(histogram) = usize::try_from(code as i32).ok().and_then(|at| self.by_code.get(at)) else {
            return;
        };
        histogram.get_or_init(|| self.histogram(code)).record(took.as_secs_f64());
    }

    fn histogram(&self, code: Code) -> Histogram {
        metrics::histogram!(
            DURATION,
            "service_name" => self.service,
            "rpc_system_name" => self.system,
            "rpc_method" => self.name.clone(),
            "rpc_response_status_code" => code_name(code),
        )
    }
}

/// The methods of a server, by their paths.
#[derive(Debug)]
pub struct Calls {
    by_path: HashMap<String, Arc<Method>>,
    other: Arc<Method>,
}

impl Calls {
    /// Methods such as `package.Service/Method`.
    #[must_use]
    pub fn of(service: &'static str, methods: impl IntoIterator<Item = String>) -> Self {
        let method = |name: String| (format!("/{name}"), Arc::new(Method::new(service, name)));
        let by_path = methods.into_iter().map(method).collect();
        Self { by_path, other: Arc::new(Method::new(service, OTHER)) }
    }

    /// The method of a path; one for all that are not known.
    #[must_use]
    pub fn method(&self, path: &str) -> &Arc<Method> {
        self.by_path.get(path).unwrap_or(&self.other)
    }
}

/// A call under way. Dropped without a code, it was given up by its caller.
#[derive(Debug)]
pub struct Call {
    method: Arc<Method>,
    begun: Instant,
    code: Option<Code>,
}

impl Call {
    /// A call that begins now.
    #[must_use]
    pub fn begin(method: &Arc<Method>) -> Self {
        Self { method: Arc::clone(method), begun: Instant::now(), code: None }
    }

    /// It has ended with this code.
    pub fn end(&mut self, code: Code) {
        self.code = Some(code);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.method.record(self.code.unwrap_or(Code::Cancelled), self.begun.elapsed());
    }
}
