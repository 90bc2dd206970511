//! Bodies and messages in gzip.

use std::io::Write as _;

use chassis::status::Fault;
use flate2::write::MultiGzDecoder;

use super::kept::{BodyLimit, BoundedBuffer, Received, no_body};

/// A message in gzip.
///
/// # Errors
/// BODY_TOO_LARGE, MALFORMED_REQUEST, or RATE_LIMITED when the others leave no room for what is in it.
pub(crate) fn unzipped(message: &[u8], limit: &BodyLimit) -> Result<Received, Fault> {
    let mut gunzip = Gunzip::within(limit);
    gunzip.push(message)?;
    gunzip.finish()
}

/// Unpacks gzip, of one member or several (RFC 1952, section 2.2), as it comes. tower-http's reader ends after the first.
pub(super) struct Gunzip {
    unpacking: MultiGzDecoder<BoundedBuffer>,
    /// Nothing is unpacked to nothing.
    is_empty: bool,
}

impl Gunzip {
    pub(super) fn within(limit: &BodyLimit) -> Self {
        Self { unpacking: MultiGzDecoder::new(BoundedBuffer::within(limit)), is_empty: true }
    }

    pub(super) fn push(&mut self, data: &[u8]) -> Result<(), Fault> {
        self.is_empty &= data.is_empty();
        self.unpacking.write_all(data).map_err(|_| self.refusal())
    }

    pub(super) fn finish(mut self) -> Result<Received, Fault> {
        if !self.is_empty {
            self.unpacking.try_finish().map_err(|_| self.refusal())?;
        }
        Ok(self.unpacking.get_mut().take().into())
    }

    fn refusal(&mut self) -> Fault {
        self.unpacking.get_mut().refusal.take().unwrap_or_else(no_body)
    }
}
