//! What is counted of calls to services.

use chassis::tls::Distrust;
use metrics::{counter, describe_counter};

const RETRIES: &str = "gateway_upstream_retries_total";
const DISTRUSTED: &str = "gateway_upstream_tls_failures_total";
const REFUSED: &str = "http_server_refused_requests_total";

/// The limit of a service itself: how many streams it takes.
const STREAMS: &str = "upstream streams";

/// Begins the counters: an alarm cannot distinguish an absent number from one that never rises.
pub fn begin() {
    describe_counter!(RETRIES, "calls that were made again");
    counter!(RETRIES).increment(0);
    describe_counter!(DISTRUSTED, "connections to services that failed for the certificate of one side");
    for distrust in Distrust::ALL {
        counter!(DISTRUSTED, "reason" => distrust.name()).increment(0);
    }
    counter!(REFUSED, "limit" => STREAMS).increment(0);
}

/// A call was made again.
pub(crate) fn retried() {
    counter!(RETRIES).increment(1);
}

/// A connection failed for the certificate of one side.
pub(crate) fn distrusted(distrust: Distrust) {
    counter!(DISTRUSTED, "reason" => distrust.name()).increment(1);
}

/// A stream was refused because the service takes no more.
pub(crate) fn refused_stream() {
    counter!(REFUSED, "limit" => STREAMS).increment(1);
}
