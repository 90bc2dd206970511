//! Ports that nobody else takes between two starts of a server.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    ops::Range,
};

use anyhow::{Context as _, Result};

/// Below the ports that Linux hands to outgoing connections (32768 upwards by default). A port from that range can be
/// taken by any connection while its server is down, even by a client that thereby connects to itself.
const RANGE: Range<u16> = 26_000..32_000;

/// A TCP port on 127.0.0.1 that stays this test's own until dropped, whether a server listens on it or not.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _held: File,
}

impl Port {
    /// Takes a port on which nobody listens and which no other test holds.
    ///
    /// # Errors
    /// When the whole range is taken or the locks cannot be written.
    pub fn reserve() -> Result<Self> {
        let locks = std::env::temp_dir().join(format!("ordermesh-ports-{}", nix::unistd::Uid::effective()));
        fs::create_dir_all(&locks)?;
        let first = rand::random_range(RANGE);
        for number in (first..RANGE.end).chain(RANGE.start..first) {
            let held = File::create(locks.join(number.to_string()))?;
            if held.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Ok(Self { number, _held: held });
            }
        }
        None.with_context(|| format!("no free port in {RANGE:?}"))
    }

    /// The port's number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
}
