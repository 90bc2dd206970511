//! A bound on open streams, of all callers, of each, and of each for single methods: every one keeps a place on a connection to its service, and memory.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use chassis::status::{Fault, Reason};

use super::client::Who;
use crate::metrics::{limit, refused};

/// The streams that are open, on all threads of an edge.
#[derive(Debug)]
pub(crate) struct Streams {
    most: usize,
    most_of_caller: usize,
    /// By the path of the method without the first slash.
    most_of_method: BTreeMap<String, usize>,
    /// Locked for a moment, when a stream begins and when it ends.
    open: Mutex<Count>,
}

#[derive(Debug, Default)]
struct Count {
    all: usize,
    /// Of those that have any, and of the methods that have a bound.
    callers: HashMap<(Who, Option<String>), usize>,
}

/// A stream that counts, until it is dropped.
#[derive(Debug)]
pub(crate) struct Open {
    streams: Arc<Streams>,
    /// What it counts for.
    counted: Vec<(Who, Option<String>)>,
}

impl Streams {
    /// At most so many streams in all, of one caller, and of one caller for a method.
    pub(crate) fn new(
        most: usize,
        most_of_caller: usize,
        most_of_method: BTreeMap<String, usize>,
    ) -> Arc<Self> {
        Arc::new(Self { most, most_of_caller, most_of_method, open: Mutex::default() })
    }

    /// How many are open.
    pub(crate) fn count(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).all
    }

    /// Counts a stream that is about to begin, of the method with this path.
    ///
    /// # Errors
    /// RATE_LIMITED, with the limit, when there are as many as may be.
    pub(crate) fn open(self: &Arc<Self>, who: &Who, method: &str) -> Result<Open, Fault> {
        let of_method = self.most_of_method.get_key_value(method.strip_prefix('/').unwrap_or(method));
        let of_method = of_method.map(|(method, most)| (Some(method.clone()), *most, limit::METHOD_STREAMS));
        let bounds = [(None, self.most_of_caller, limit::STREAMS_PER_CLIENT)].into_iter().chain(of_method);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.all >= self.most {
            return Err(full("the edge", self.most, limit::STREAMS));
        }
        let mut counted = Vec::new();
        for (method, most, flag) in bounds {
            let key = (who.clone(), method);
            if open.callers.get(&key).copied().unwrap_or_default() >= most {
                return Err(full(who.name(), most, flag));
            }
            counted.push(key);
        }
        for key in &counted {
            *open.callers.entry(key.clone()).or_default() += 1;
        }
        open.all += 1;
        Ok(Open { streams: Arc::clone(self), counted })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut open = self.streams.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.all -= 1;
        for key in &self.counted {
            if let Some(streams) = open.callers.get_mut(key) {
                *streams -= 1;
                if *streams == 0 {
                    open.callers.remove(key);
                }
            }
        }
    }
}

fn full(whose: &str, most: usize, flag: &'static str) -> Fault {
    refused(flag);
    Fault::new(Reason::RateLimited, format!("{whose} has {most} open streams, as many as may be ({flag})"))
}
