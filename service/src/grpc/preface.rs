//! The beginning of a connection: what a client of HTTP/2 says first is awaited, so that one that says nothing is known.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use chassis::tls::Stream;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

/// RFC 9113, section 3.4.
const PREFACE: [u8; 24] = *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection of which the first bytes were read, and are read again by whoever serves it.
#[derive(Debug)]
pub(super) struct Prefaced {
    stream: Stream,
    first: [u8; PREFACE.len()],
    /// How many of these were read from the stream, and how many of them were given on.
    read: usize,
    given: usize,
}

impl Prefaced {
    /// Waits for the preface, or for bytes that begin none: what is said about them is up to the server.
    ///
    /// # Errors
    /// When the stream ends or fails before.
    pub(super) async fn read(mut stream: Stream) -> io::Result<Self> {
        let (mut first, mut read) = ([0; PREFACE.len()], 0);
        while read < first.len() && first[..read] == PREFACE[..read] {
            match stream.read(&mut first[read..]).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                more => read += more,
            }
        }
        Ok(Self { stream, first, read, given: 0 })
    }
}

impl AsyncRead for Prefaced {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.given == this.read {
            return Pin::new(&mut this.stream).poll_read(context, buffer);
        }
        let rest = &this.first[this.given..this.read];
        let rest = &rest[..rest.len().min(buffer.remaining())];
        buffer.put_slice(rest);
        this.given += rest.len();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Prefaced {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
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
