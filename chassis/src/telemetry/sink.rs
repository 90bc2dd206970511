//! Standard error, with several log lines in one write.
//!
//! A line of its own for each request was half of what its log cost. Lines wait for others for at most [`WAIT`]; a warning or an
//! error goes out at once, with all before it. So a process that is killed loses what it said in its last moments, unless it was
//! one of these; one that ends loses nothing.

use std::{
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// How long a line may wait for others.
const WAIT: Duration = Duration::from_millis(10);
/// Lines of so many bytes wait no longer. Whoever logs then writes them, and waits for a reader that is slow: none is dropped.
const FULL: usize = 32 * 1_024;

/// Where lines go.
#[derive(Debug)]
pub(super) struct Sink<W>(Arc<Shared<W>>);

#[derive(Debug)]
struct Shared<W> {
    pending: Mutex<Pending<W>>,
    changed: Condvar,
}

#[derive(Debug)]
struct Pending<W> {
    lines: Vec<u8>,
    /// Nobody comes to write what waits.
    ended: bool,
    out: W,
}

/// Writes the lines that wait, until it is dropped; from then on none waits.
#[derive(Debug)]
pub(super) struct Flusher<W: Write> {
    shared: Arc<Shared<W>>,
    thread: Option<JoinHandle<()>>,
}

impl<W: Write + Send + 'static> Sink<W> {
    /// A sink before `out`, and the thread that empties it.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn start(out: W) -> io::Result<(Self, Flusher<W>)> {
        let pending = Mutex::new(Pending { lines: Vec::new(), ended: false, out });
        let shared = Arc::new(Shared { pending, changed: Condvar::new() });
        let emptied = Arc::clone(&shared);
        let thread = thread::Builder::new().name("log".to_owned()).spawn(move || emptied.empty())?;
        Ok((Self(Arc::clone(&shared)), Flusher { shared, thread: Some(thread) }))
    }
}

impl<W: Write> Shared<W> {
    fn lock(&self) -> MutexGuard<'_, Pending<W>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what waits, again and again, for the last time at the end.
    fn empty(&self) {
        let idle = |pending: &mut Pending<W>| pending.lines.is_empty() && !pending.ended;
        let waits = |pending: &mut Pending<W>| !pending.ended;
        let mut pending = self.lock();
        loop {
            pending = self.changed.wait_while(pending, idle).unwrap_or_else(PoisonError::into_inner);
            let waited = self.changed.wait_timeout_while(pending, WAIT, waits);
            pending = waited.unwrap_or_else(PoisonError::into_inner).0;
            pending.write();
            if pending.ended {
                return;
            }
        }
    }
}

impl<W: Write> Pending<W> {
    /// Writes what waits. What cannot be written is lost: there is nowhere to say so.
    fn write(&mut self) {
        let _lost = self.out.write_all(&self.lines);
        self.lines.clear();
    }
}

impl<W: Write> Drop for Flusher<W> {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

/// The way of one line into a sink.
#[derive(Debug)]
pub(super) struct Entry<'a, W> {
    sink: &'a Shared<W>,
    urgent: bool,
}

impl<'a, W: Write + 'static> MakeWriter<'a> for Sink<W> {
    type Writer = Entry<'a, W>;

    fn make_writer(&'a self) -> Self::Writer {
        Entry { sink: &self.0, urgent: true }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Self::Writer {
        Entry { sink: &self.0, urgent: *metadata.level() <= Level::WARN }
    }
}

impl<W: Write> Write for Entry<'_, W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut pending = self.sink.lock();
        let first = pending.lines.is_empty();
        pending.lines.extend_from_slice(line);
        if self.urgent || pending.ended || pending.lines.len() >= FULL {
            pending.write();
        } else if first {
            self.sink.changed.notify_all();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.lock().write();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Each write, sent to a test.
    struct Writes(Sender<String>);

    impl Write for Writes {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let text = String::from_utf8_lossy(bytes).into_owned();
            self.0.send(text).map(|()| bytes.len()).map_err(io::Error::other)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn started() -> (Sink<Writes>, Flusher<Writes>, Receiver<String>) {
        let (sender, writes) = channel();
        let (sink, flusher) = Sink::start(Writes(sender)).expect("a thread");
        (sink, flusher, writes)
    }

    fn log(sink: &Sink<Writes>, line: &str, urgent: bool) {
        Entry { sink: &sink.0, urgent }.write_all(line.as_bytes()).expect("it takes every line");
    }

    #[test]
    fn lines_wait_for_each_other_and_go_without_another() {
        let (sink, _flusher, writes) = started();
        // The thread cannot write between these.
        sink.0.lock().lines.extend_from_slice(b"first\nsecond\n");
        sink.0.changed.notify_all();
        assert_eq!(writes.recv_timeout(Duration::from_secs(30)).as_deref(), Ok("first\nsecond\n"));
        log(&sink, "third\n", false);
        assert_eq!(writes.recv_timeout(Duration::from_secs(30)).as_deref(), Ok("third\n"));
    }

    #[test]
    fn a_warning_is_written_before_its_caller_goes_on_with_all_before_it() {
        let (sink, _flusher, writes) = started();
        log(&sink, "info\n", false);
        log(&sink, "warning\n", true);
        let written: String = writes.try_iter().collect();
        assert_eq!(written, "info\nwarning\n");
    }

    #[test]
    fn what_waits_is_bounded() {
        let (sink, _flusher, writes) = started();
        let line = format!("{}\n", "x".repeat(FULL));
        log(&sink, &line, false);
        assert_eq!(writes.try_recv(), Ok(line));
    }

    #[test]
    fn the_end_of_a_process_loses_no_line() {
        let (sink, flusher, writes) = started();
        log(&sink, "last\n", false);
        drop(flusher);
        log(&sink, "after the last\n", false);
        let written: String = writes.try_iter().collect();
        assert_eq!(written, "last\nafter the last\n");
    }
}
