//! Bodies and messages in gzip, and bodies in brotli: unpacked to the end of the coding, which has to be where the bytes end.

use std::io::{self, Write};

use brotli::DecompressorWriter;
use chassis::status::Fault;
use flate2::write::MultiGzDecoder;

use super::kept::{BodyLimit, BoundedBuffer, Received, no_body};

/// Bytes that are unpacked of brotli before they are kept.
const PART: usize = 4 << 10;

/// A message in gzip.
///
/// # Errors
/// BODY_TOO_LARGE, MALFORMED_REQUEST, or RATE_LIMITED when the others leave no room for what is in it.
pub(crate) fn unzipped(message: &[u8], limit: &BodyLimit) -> Result<Received, Fault> {
    let mut unpacking = Unpacking::gzip(limit);
    unpacking.push(message)?;
    unpacking.finish()
}

/// A decoder that hands on what it has unpacked. It takes nothing behind the end of its coding.
pub(super) trait Decoder: Write {
    /// Whether the coding has come to its end.
    fn end(&mut self) -> io::Result<()>;

    fn kept(&mut self) -> &mut BoundedBuffer;
}

/// gzip of one member or several (RFC 1952, section 2.2). tower-http's reader ends after the first.
pub(super) type Gzip = MultiGzDecoder<BoundedBuffer>;

/// brotli (RFC 7932). tower-http's reader drops what is behind its end in the same part of a body.
pub(super) type Brotli = Box<DecompressorWriter<BoundedBuffer>>;

impl Decoder for Gzip {
    fn end(&mut self) -> io::Result<()> {
        self.try_finish()
    }

    fn kept(&mut self) -> &mut BoundedBuffer {
        self.get_mut()
    }
}

impl Decoder for Brotli {
    fn end(&mut self) -> io::Result<()> {
        self.close()
    }

    fn kept(&mut self) -> &mut BoundedBuffer {
        self.get_mut()
    }
}

/// Unpacks a coding as it comes.
pub(super) struct Unpacking<D> {
    decoder: D,
    /// Nothing is unpacked to nothing.
    is_empty: bool,
}

impl Unpacking<Gzip> {
    pub(super) fn gzip(limit: &BodyLimit) -> Self {
        Self { decoder: MultiGzDecoder::new(BoundedBuffer::within(limit)), is_empty: true }
    }
}

impl Unpacking<Brotli> {
    pub(super) fn brotli(limit: &BodyLimit) -> Self {
        let decoder = DecompressorWriter::new(BoundedBuffer::within(limit), PART);
        Self { decoder: Box::new(decoder), is_empty: true }
    }
}

impl<D: Decoder> Unpacking<D> {
    pub(super) fn push(&mut self, data: &[u8]) -> Result<(), Fault> {
        self.is_empty &= data.is_empty();
        self.decoder.write_all(data).map_err(|_| self.refusal())
    }

    pub(super) fn finish(mut self) -> Result<Received, Fault> {
        if !self.is_empty {
            self.decoder.end().map_err(|_| self.refusal())?;
        }
        Ok(self.decoder.kept().take().into())
    }

    fn refusal(&mut self) -> Fault {
        self.decoder.kept().refusal.clone().unwrap_or_else(no_body)
    }
}
