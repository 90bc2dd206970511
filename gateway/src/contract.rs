//! What can be called: one version of the descriptors, and what each thread makes of it.

mod routes;
mod methods;
mod own;
pub(crate) mod pools;
mod served;
mod failures;
mod version;
mod table;
mod threads;

pub(crate) use self::{
    methods::{Called, Form},
    own::Process,
    served::{Captures, Found, Served},
    threads::{Distrusted, Thread, Threads},
    version::Contract,
};
