//! The test world: servers, our binaries as processes, an HTTP client and patience.
//!
//! Everything a test starts belongs to that test alone: own directories, own ports, own data. Nothing of it outlives the
//! test, not even when the test itself is killed. The exception is RabbitMQ, whose start takes more than most tests: tests that do nothing to
//! the broker itself share one, which ends with their run, and have a virtual host each ([`RabbitMq::shared`]).

mod scratch;
mod disk;
mod ports;
mod child;
mod installed;
mod postgres_template;
mod postgres;
mod postgres_tls;
mod rabbitmq_names;
mod rabbitmq_node;
mod rabbitmq;
mod rabbitmq_shared;
mod rabbitmq_copies;
mod rabbitmq_cluster;
mod rabbitmq_tls;
mod process;
mod certificates;
mod eventually;
mod http;
mod raw;
mod issuer;
mod plan;
mod prometheus;
mod proportion;

pub use certificates::{Certificates, EXPIRED, VALID};
pub use disk::SmallDisk;
pub use eventually::{PATIENCE, eventually};
pub use http::{Answer, Api, answer};
pub use issuer::{AUDIENCE, ISSUER, Issuer, claims, now};
pub use plan::plan;
pub use ports::Port;
pub use postgres::Postgres;
pub use process::{Process, Program};
pub use prometheus::Prometheus;
pub use proportion::assert_in_proportion;
pub use rabbitmq::RabbitMq;
pub use rabbitmq_cluster::Quorum;
pub use rabbitmq_copies::Copies;
pub use raw::Raw;
pub use scratch::Scratch;
