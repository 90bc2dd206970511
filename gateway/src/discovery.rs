//! An edge for a service that describes itself: asked again until there is something to serve, and then whether that has changed.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use tokio::{sync::watch, task::spawn_blocking, time::sleep};
use tonic::Status;
use upstream::{
    Endpoint, Upstream,
    reflection::{self, Reflected},
};

use crate::{contract::Threads, edge::Edge, metrics, settings::Config};

/// The pause after the first failure; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How far an edge is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Its service is asked for the descriptors.
    Asking,
    /// They are read, and routes and documents are made of them.
    Reading,
    /// It serves.
    Serving,
}

/// An edge for what a service describes. Asks until it can be served: the service may start later than the edge, and each failure is
/// logged. How far it is can be seen from outside. Must be called inside of a tokio runtime.
///
/// # Errors
/// What is wrong with the URL.
pub async fn edge(url: &str, config: &Config, progress: &watch::Sender<Progress>) -> Result<Edge, String> {
    let upstream = Upstream::of(&url.into(), config.trust()).map_err(|errors| errors.join("; "))?;
    let mut pause = FIRST_PAUSE;
    loop {
        progress.send_replace(Progress::Asking);
        let error = match reflection::describe(&upstream).await {
            Ok(reflected) => {
                progress.send_replace(Progress::Reading);
                match read(reflected, url, config).await {
                    Ok(edge) => return Ok(edge),
                    Err(errors) => errors,
                }
            }
            Err(status) => said(&status),
        };
        let retry_s = pause.as_secs_f64();
        tracing::warn!(url, error, retry_s, "the service has not described anything that can be served yet");
        sleep(pause).await;
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}

async fn read(reflected: Reflected, url: &str, config: &Config) -> Result<Edge, String> {
    tracing::info!(url, files = reflected.count(), "the service has described itself");
    let foreign = Some(reflected.left_out.clone());
    let config = Config { foreign, ..config.clone() };
    // It may be much, and others wait on this thread.
    let read =
        spawn_blocking(move || Edge::from_config(Config { descriptor_set: reflected.set(), ..config }));
    let read = read.await.map_err(|error| error.to_string())?;
    read.map_err(|errors| errors.to_string())
}

fn said(status: &Status) -> String {
    format!("{}: {}", status.code(), status.message())
}

/// Asks a service again and again whether it describes itself as it did, each of its endpoints, and has the edge serve what has changed: on
/// all threads, without an end for what is under way. Never ends. Descriptors that are broken are not served, and neither are those that
/// only some of the endpoints have: calls could not be answered by the others. Must be called inside of a tokio runtime.
///
/// # Errors
/// What is wrong with the URL.
pub fn follow(edge: &Edge, url: &str) -> Result<impl Future<Output = ()> + use<>, String> {
    let (config, threads) = (Arc::clone(&edge.config), Arc::clone(&edge.threads));
    let upstream = Upstream::of(&url.into(), config.trust()).map_err(|errors| errors.join("; "))?;
    let (served, url) = (config.descriptor_set.clone(), url.to_owned());
    let mut following =
        Following { config, threads, upstream, url, served, refused: None, disagreeing: None };
    Ok(async move {
        loop {
            sleep(following.config.reflect_every).await;
            following.look().await;
        }
    })
}

/// What is known of a service that may change.
struct Following {
    config: Arc<Config>,
    threads: Arc<Threads>,
    upstream: Upstream,
    url: String,
    /// The descriptors that are served.
    served: Bytes,
    /// Those that were found broken last: that is said once.
    refused: Option<Bytes>,
    /// Who was said to disagree.
    disagreeing: Option<[Endpoint; 2]>,
}

impl Following {
    async fn look(&mut self) {
        let mut versions: BTreeMap<Bytes, (Endpoint, Vec<String>)> = BTreeMap::new();
        for (endpoint, described) in reflection::describe_each(&self.upstream).await {
            match described {
                Ok(mut reflected) => {
                    let left_out = std::mem::take(&mut reflected.left_out);
                    if let Entry::Vacant(version) = versions.entry(reflected.set()) {
                        version.insert((endpoint, left_out));
                    }
                }
                // Whether it is called is no business of this.
                Err(status) => {
                    tracing::debug!(%endpoint, error = said(&status), "an endpoint does not describe itself")
                }
            }
        }
        // When nobody says anything, nothing is known to have changed.
        if versions.is_empty() {
            return;
        }
        self.threads.note_versions(versions.len());
        let endpoints: Vec<Endpoint> = versions.values().map(|(endpoint, _)| *endpoint).collect();
        let two = endpoints.first_chunk::<2>().copied();
        if let Some([one, other]) = two
            && self.disagreeing != two
        {
            let (url, versions) = (&self.url, versions.len());
            tracing::warn!(
                url,
                %one,
                %other,
                versions,
                "endpoints of a service describe themselves differently: what was served before is, until they agree"
            );
        }
        self.disagreeing = two;
        if let (None, Some((set, (_, left_out)))) = (two, versions.pop_first()) {
            self.take(set, left_out).await;
        }
    }

    /// Serves these descriptors, if they are others.
    async fn take(&mut self, set: Bytes, left_out: Vec<String>) {
        if set == self.served {
            self.refused = None;
            return;
        }
        if self.refused.as_ref() == Some(&set) {
            return;
        }
        let (threads, foreign) = (Arc::clone(&self.threads), Some(left_out));
        let config = Config { descriptor_set: set.clone(), foreign, ..Config::clone(&self.config) };
        // It may be much, and others wait on this thread.
        let replaced = spawn_blocking(move || threads.take(&config)).await;
        let replaced = replaced.unwrap_or_else(|error| Err(error.to_string()));
        metrics::descriptors_changed(replaced.is_ok());
        let url = &self.url;
        match replaced {
            Ok(routes) => {
                tracing::info!(url, routes, "the service has described itself anew, and that is served now");
                (self.served, self.refused) = (set, None);
            }
            Err(error) => {
                tracing::warn!(
                    url,
                    error,
                    "the service has described itself anew, and what was served before still is: that cannot be"
                );
                self.refused = Some(set);
            }
        }
    }
}
