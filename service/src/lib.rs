//! What every service with a database is: its settings and its process, the gRPC listener, the checks of requests, lists (pages, tokens,
//! filters), readiness, and what an operator asks: about its messages, its decided orders, and who did what. It knows no single service.
//!
//! A service says what it consists of in one place, its [`Service`]; [`process::main`] makes a process of that, and [`wiring::build`] a
//! part of a process with several. `examples/shipping` is a whole one.

pub mod settings;
pub mod process;
pub mod runtime;
pub mod wiring;
pub mod readiness;
pub mod grpc;
pub mod request;
pub mod fault;
pub mod filter;
pub mod list;
pub mod page;
pub mod admin;
pub mod pauses;
pub mod audit;
pub mod whereabouts;
pub mod decisions;
pub mod rest;

use std::fmt;

use chassis::settings::ConfigErrors;
use sea_orm_migration::MigratorTrait;

pub use self::{
    fault::fault,
    wiring::{Foundation, Wired, Wiring},
};

/// A service with a database, in its settings without errors.
pub trait Service: fmt::Debug + Clone + Send + Sync + 'static {
    /// Its name: of its binary, its tasks, its metrics and its listener; as `/ordermesh/NAME` the source of its messages.
    const NAME: &'static str;
    /// What it is for, in the help of its binary.
    const ABOUT: &'static str;
    /// Where its process serves gRPC unless `NAME_LISTEN` says otherwise.
    const LISTEN: &'static str;
    /// Where its process serves the operator unless `ADMIN_LISTEN` says otherwise.
    const ADMIN: &'static str;
    /// Encoded `FileDescriptorSet`s that declare its services, and the admin service of messages.
    const DESCRIPTOR_SETS: &'static [&'static [u8]] = &[ordermesh::DESCRIPTOR_SET];

    /// The flags that it has beside those of every service; `()` for none.
    type Settings: clap::Args + fmt::Debug + Clone + Send + Sync;
    /// Every migration of its database.
    type Migrations: MigratorTrait;

    /// The service of these flags, or `None` after errors were noted.
    fn check(settings: Self::Settings, errors: &mut ConfigErrors) -> Option<Self>;

    /// Adds what it consists of: what it serves, consumes, writes in groups, and runs beside that. The schema is up to date, and nothing
    /// runs yet.
    ///
    /// # Errors
    /// When a part cannot be built.
    fn wire(self, wiring: &mut Wiring) -> impl Future<Output = anyhow::Result<()>> + Send;
}
