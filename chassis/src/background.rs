//! Loops in the background that belong to a value and not to a stage of the process: whoever makes the value starts them.
//!
//! A process that has lost one would say for hours that all is well, so one that panics ends the process, as a task of
//! [`Lifecycle`](crate::lifecycle::Lifecycle) does.

use std::{future::pending, panic::AssertUnwindSafe, sync::LazyLock};

use futures_util::FutureExt as _;
use tokio::{sync::watch, task::JoinHandle};

/// The first that panicked. One for the process: the value that a loop belongs to knows no lifecycle.
static DIED: LazyLock<watch::Sender<Option<&'static str>>> = LazyLock::new(|| watch::Sender::new(None));

/// Starts a loop, which may end by itself and may be aborted. Must be called inside of a tokio runtime.
pub fn spawn(name: &'static str, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(async move {
        if unless_it_panics(task).await.is_none() {
            DIED.send_if_modified(|first| first.is_none() && first.replace(name).is_none());
        }
    })
}

/// What a task of the process comes to; `None` when it panics. What it leaves behind then is seen by nobody: the process ends.
pub(crate) async fn unless_it_panics<T>(task: impl Future<Output = T>) -> Option<T> {
    AssertUnwindSafe(task).catch_unwind().await.ok()
}

/// The name of the first that panics.
pub(crate) async fn died() -> &'static str {
    let mut died = DIED.subscribe();
    match died.wait_for(Option::is_some).await.map(|name| *name) {
        Ok(Some(name)) => name,
        // A static is never dropped.
        _ => pending().await,
    }
}
