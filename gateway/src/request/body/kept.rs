//! What is kept of bodies: it counts within what all may take, until nobody has it any more.

use std::{
    io::{self, Write},
    mem,
    sync::Arc,
};

use bytes::{Bytes, BytesMut};
use chassis::status::{Fault, Reason};

use crate::{
    admit::{Account, Permit},
    metrics::{limit, refused},
};

/// What a body may take.
#[derive(Debug, Clone)]
pub(crate) struct BodyLimit {
    /// By itself, in bytes.
    pub(crate) each: usize,
    /// Together with all others.
    pub(crate) account: Arc<Account>,
}

/// A body, which counts until it is dropped.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) bytes: Bytes,
    permit: Permit,
}

impl Received {
    /// Bytes with what they count as.
    pub(crate) fn of(bytes: Bytes, permit: Permit) -> Self {
        Self { bytes, permit }
    }

    /// What was made of it, which counts in its place.
    ///
    /// # Errors
    /// RATE_LIMITED when the others leave no room for it.
    pub(crate) fn becomes(mut self, bytes: Bytes) -> Result<Self, Fault> {
        self.permit.resize(bytes.len())?;
        Ok(Self { bytes, ..self })
    }

    /// The bytes, which count until nobody has any of them any more.
    pub(crate) fn until_taken(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Received {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// What is there of a body. Copied together: a part of the connection's buffer would keep the whole of it.
#[derive(Debug)]
pub(super) struct BoundedBuffer {
    whole: BytesMut,
    most: usize,
    permit: Permit,
    /// Why no more was kept.
    pub(super) refusal: Option<Fault>,
}

impl BoundedBuffer {
    pub(super) fn within(limit: &BodyLimit) -> Self {
        Self { whole: BytesMut::new(), most: limit.each, permit: limit.account.nothing(), refusal: None }
    }

    /// What is kept by now.
    pub(super) fn take(&mut self) -> Self {
        let permit = self.permit.split(usize::MAX);
        Self { whole: mem::take(&mut self.whole), most: self.most, permit, refusal: None }
    }

    pub(super) fn push(&mut self, data: &[u8]) -> Result<(), Fault> {
        if self.whole.len() + data.len() > self.most {
            return Err(too_large(self.most));
        }
        self.permit.grow(data.len())?;
        self.whole.extend_from_slice(data);
        Ok(())
    }
}

/// For what unpacks: it stops at the first part that is too much.
impl Write for BoundedBuffer {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        // What unpacks tries again when it is dropped: a body is refused once.
        if self.refusal.is_none() {
            self.refusal = self.push(data).err();
        }
        match self.refusal {
            None => Ok(data.len()),
            Some(_) => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl From<BoundedBuffer> for Received {
    fn from(kept: BoundedBuffer) -> Self {
        Self { bytes: kept.whole.freeze(), permit: kept.permit }
    }
}

/// A body, or a message in it, is larger than may be.
pub(crate) fn too_large(most: usize) -> Fault {
    refused(limit::BODY_BYTES);
    Fault::new(Reason::BodyTooLarge, format!("the body, or a message in it, is larger than {most} bytes"))
}

pub(super) fn broken(problem: &str) -> Fault {
    Fault::new(Reason::MalformedRequest, problem)
}

/// What came instead of a body.
pub(super) fn no_body() -> Fault {
    broken("the body broke off, or is not what it should be")
}
