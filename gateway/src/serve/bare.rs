//! What hyper does with a connection by itself and must not: the refusals that it writes, of heads that it cannot read, get the error object
//! that every other refusal has, and what a WebSocket reads counts.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use chassis::{
    status::{Fault, Reason},
    tls::Stream,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    admit::{Unread, activity::Activity},
    answer::problem::{Problem, Style},
};

/// What hyper's refusals are not longer than: a line, a date, and that there is no body.
const LONGEST: usize = 256;

/// How the head of an answer without a body says so.
const EMPTY: &str = "content-length: 0\r\n";

/// A connection whose bare refusals are replaced, and of which no more is kept than has room.
#[derive(Debug)]
pub(super) struct Spoken {
    stream: Stream,
    activity: Activity,
    unread: Unread,
    /// What is written in the place of so many bytes.
    instead: Option<(Bytes, usize)>,
}

impl Spoken {
    pub(super) fn new(stream: Stream, activity: Activity, unread: Unread) -> Self {
        Self { stream, activity, unread, instead: None }
    }

    /// Writes what replaces these bytes, if anything does.
    fn poll_instead(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Option<Result<usize, io::Error>>> {
        if self.instead.is_none() && bytes.len() <= LONGEST {
            self.instead = with_object(bytes, &self.activity).map(|whole| (whole, bytes.len()));
        }
        let Some((rest, replaced)) = &mut self.instead else { return Poll::Ready(None) };
        while !rest.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(context, rest)) {
                Ok(0) => return Poll::Ready(Some(Err(io::ErrorKind::WriteZero.into()))),
                Ok(written) => rest.advance(written),
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
        let replaced = *replaced;
        self.instead = None;
        Poll::Ready(Some(Ok(replaced)))
    }
}

/// A refusal with its error object, when these bytes are one of hyper's own: none of ours is without an id, and what services answer is only
/// written while its request is open.
fn with_object(bytes: &[u8], activity: &Activity) -> Option<Bytes> {
    let status = bytes.strip_prefix(b"HTTP/1.1 ")?.first_chunk::<3>()?;
    let (reason, message) = match status {
        b"400" => (Reason::MalformedRequest, "this is no request of HTTP that can be read"),
        b"414" => (Reason::UriTooLong, "the URI is longer than is read"),
        b"431" => {
            (Reason::HeadersTooLarge, "the head of the request is longer, or has more fields, than is read")
        }
        _ => return None,
    };
    let head = str::from_utf8(bytes).ok()?;
    let is_bare = head.ends_with("\r\n\r\n") && head.contains(EMPTY) && !head.contains("x-request-id");
    if !is_bare || activity.is_open() {
        return None;
    }
    // Nobody knows what a client accepts whose head cannot be read.
    let object = Problem::from(Fault::new(reason, message)).json(&Style::of(&http::HeaderMap::new(), ""));
    let object = object.to_string();
    let length = format!("content-type: application/json\r\ncontent-length: {}\r\n", object.len());
    Some(Bytes::from(head.replace(EMPTY, &length) + &object))
}

impl AsyncRead for Spoken {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
            let came = buffer.filled().len() - before;
            if came == 0 || self.unread.keeps(came) {
                return Poll::Ready(Ok(()));
            }
            // Read all the same: a connection that is closed with bytes unread is reset, and its client would lose the answer.
            buffer.set_filled(before);
        }
    }
}

impl AsyncWrite for Spoken {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match ready!(self.poll_instead(context, bytes)) {
            Some(outcome) => Poll::Ready(outcome),
            None => Pin::new(&mut self.stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = slices.iter().find(|slice| !slice.is_empty()).map_or(&[][..], |slice| slice);
        match ready!(self.poll_instead(context, first)) {
            Some(outcome) => Poll::Ready(outcome),
            None => Pin::new(&mut self.stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
