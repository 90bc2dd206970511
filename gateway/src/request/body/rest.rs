//! What comes of a body after its request was answered: read and thrown away, within bounds. A connection that is closed with bytes unread
//! is reset, and a client that is still sending would lose the answer.

use std::{
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::{runtime::Handle, time::timeout};

/// So much of a body is read for nothing: what is on its way when its client sees the answer.
pub(crate) const MOST_DISCARDED: u64 = 16 << 20;

/// And for so long.
const MOST_TIME: Duration = Duration::from_secs(10);

/// The body of a request, whose rest is read when nobody wants it any more.
#[derive(Debug)]
pub(crate) struct Rest {
    /// `None` after its end.
    body: Option<Incoming>,
}

impl Rest {
    pub(crate) fn of(body: Incoming) -> Self {
        Self { body: Some(body) }
    }
}

impl Body for Rest {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(pin!(body).poll_frame(context));
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) else { return };
        // Outside of a runtime there is no connection either.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(timeout(MOST_TIME, discard(body)));
        }
    }
}

async fn discard(mut body: Incoming) {
    let mut discarded = 0;
    while discarded < MOST_DISCARDED
        && let Some(Ok(frame)) = body.frame().await
    {
        discarded += frame.data_ref().map_or(0, Bytes::len) as u64;
    }
}
