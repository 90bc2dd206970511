//! TLS (RFC 8446, RFC 5246): certificates out of files that are read again when they change, who is let in with which certificate, what is
//! said to who does not speak it, and whom a process believes that calls others.
//!
//! ```text
//! settings ── server ── accept ── stream  a listener
//!                └ clients (who is let in)
//! settings ── client ── dial              a connection to somebody else
//! ```

mod pem;
mod names;
mod follow;
mod identity;
mod clients;
mod server;
mod distrust;
mod refusal;
mod stream;
mod accept;
mod client;
mod dial;
mod itself;
mod settings;

pub use self::{
    accept::Acceptor,
    client::ClientTls,
    dial::dial,
    distrust::Distrust,
    itself::Itself,
    pem::check_authorities,
    server::{Protocols, ServerTls},
    settings::{Flag, TlsConfig, TlsSettings, UpstreamTlsSettings, client_tls},
    stream::Stream,
};
