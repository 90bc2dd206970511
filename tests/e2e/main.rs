//! End to end, through public interfaces only: the tests of the whole, in one binary.

mod tidy;
mod tidy_sources;
mod endpoint_coverage;
mod test_world;

mod mesh;
mod scenario;
mod crash;
mod cancel;
mod watch;
mod admin_services;
mod check;
mod clients;
mod lists;
mod one_key;
mod histories;
mod bad_input;
mod dropped_calls;
mod readme;
mod reflection;
mod openapi;
mod discovery;
mod stop;
mod migrations;
mod sessions;
mod secrets;
mod newer_schema;
mod scrape;
mod outage;
mod topology;
mod dead_letters;
mod metrics;
mod collector;
mod traces;
mod corpus;
