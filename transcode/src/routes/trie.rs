//! The trie of routes: finds the RPC that answers a method and a path, and refuses templates that cannot be distinguished.
//!
//! At every segment a literal goes before `*`, and `*` before `**`; a choice that leads nowhere is taken back. Every node
//! of the trie is visited at most once per lookup, so no path is expensive.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

use super::{
    percent::{self, PercentError},
    template::{Segment, Template},
};

/// The method of a rule that answers every method (`custom { kind: "*" }`).
const ANY_METHOD: &str = "*";

/// A route to be found.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// The HTTP method, or `*` for all.
    pub method: String,
    /// The path.
    pub template: Template,
    /// The full name of the RPC, for messages.
    pub rpc: String,
}

/// Two routes that answer the same request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{first} and {second} both answer {method} {path}")]
pub struct Ambiguity {
    /// The place of the second one among the entries.
    pub index: usize,
    first: String,
    second: String,
    method: String,
    path: String,
}

/// What a method and a path lead to.
#[derive(Debug, PartialEq, Eq)]
pub enum Lookup {
    /// This route, counted in the order of the list, and the decoded values of its template's variables.
    Found(usize, Vec<Result<String, PercentError>>),
    /// The path has routes, but only for these methods.
    OtherMethods(BTreeSet<String>),
    /// No route has this path.
    Nothing,
}

/// All routes.
#[derive(Debug, Default)]
pub(crate) struct Trie {
    root: Node,
    templates: Vec<Template>,
}

#[derive(Debug, Default)]
struct Node {
    literals: BTreeMap<String, Node>,
    one: Option<Box<Node>>,
    rest: Ends,
    here: Ends,
}

/// The entries that end at a place, by verb, which is empty where there is none, and method.
type Ends = BTreeMap<String, BTreeMap<String, usize>>;

impl Trie {
    /// Builds the trie; of entries that no path and method can distinguish, only the first is found.
    #[must_use]
    pub(crate) fn build(entries: &[Entry]) -> (Self, Vec<Ambiguity>) {
        let mut trie = Self::default();
        let mut clashes = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            trie.templates.push(entry.template.clone());
            let ends = trie.root.ends_of(&entry.template.segments);
            let methods = ends.entry(entry.template.verb.clone().unwrap_or_default()).or_default();
            if let Some(&other) = methods.get(&entry.method) {
                clashes.push(Ambiguity {
                    index,
                    first: entries[other].rpc.clone(),
                    second: entry.rpc.clone(),
                    method: entry.method.clone(),
                    path: entry.template.example(),
                });
            } else {
                methods.insert(entry.method.clone(), index);
            }
        }
        (trie, clashes)
    }

    /// Finds the route of a request. `path` is as it was sent, without the query; HEAD is answered by GET's route.
    ///
    /// A last segment `a:b` is first taken as the verb `b`; where no route has that with this method, the colon is a part of the
    /// segment. A colon sent as `%3A` is a part of it first, and begins a verb only where that leads to no route: some clients
    /// encode all of a path.
    #[must_use]
    pub(crate) fn find<'p>(&self, method: &str, path: &'p str) -> Lookup {
        let Some(path) = path.strip_prefix('/') else { return Lookup::Nothing };
        let mut allowed = BTreeSet::new();
        // One after the other: hardly any path has a percent sign, and most are found as they are.
        let encoded = |colon| verb_after(path.contains('%').then(|| path.rsplit_once(colon))?);
        let readings: [&dyn Fn() -> Option<Reading<'p>>; 4] = [
            &|| verb_after(path.rsplit_once(':')),
            &|| Some((path, Cow::Borrowed(""))),
            &|| encoded("%3A"),
            &|| encoded("%3a"),
        ];
        for (head, verb) in readings.iter().filter_map(|read| read()) {
            match self.find_with(method, head, &verb) {
                Lookup::OtherMethods(methods) => allowed.extend(methods),
                Lookup::Nothing => {}
                found @ Lookup::Found(..) => return found,
            }
        }
        if allowed.is_empty() { Lookup::Nothing } else { Lookup::OtherMethods(allowed) }
    }

    fn find_with(&self, method: &str, path: &str, verb: &str) -> Lookup {
        // The path `/` has no segment at all.
        let raw: Vec<&str> = if path.is_empty() { Vec::new() } else { path.split('/').collect() };
        let segments: Vec<Option<Cow<'_, str>>> = raw.iter().map(|segment| decoded(segment)).collect();
        let mut allowed = BTreeSet::new();
        let found = self.root.walk(&segments, &mut |ends| {
            let Some(methods) = ends.get(verb) else { return ControlFlow::Continue(()) };
            let by_get = || (method == "HEAD").then(|| methods.get("GET")).flatten();
            match methods.get(method).or_else(by_get).or_else(|| methods.get(ANY_METHOD)) {
                Some(&index) => return ControlFlow::Break(index),
                None => allowed.extend(methods.keys().cloned()),
            }
            ControlFlow::Continue(())
        });
        match found {
            ControlFlow::Break(index) => Lookup::Found(index, captures(&self.templates[index], &raw)),
            ControlFlow::Continue(()) if allowed.is_empty() => Lookup::Nothing,
            ControlFlow::Continue(()) => Lookup::OtherMethods(allowed),
        }
    }
}

impl Node {
    fn ends_of(&mut self, segments: &[Segment]) -> &mut Ends {
        match segments.split_first() {
            None => &mut self.here,
            Some((Segment::Literal(text), tail)) => {
                self.literals.entry(text.clone()).or_default().ends_of(tail)
            }
            Some((Segment::One, tail)) => self.one.get_or_insert_default().ends_of(tail),
            Some((Segment::Rest, _)) => &mut self.rest,
        }
    }

    /// Visits the ends that match, the most specific first, until one breaks.
    fn walk(
        &self,
        path: &[Option<Cow<'_, str>>],
        visit: &mut impl FnMut(&Ends) -> ControlFlow<usize>,
    ) -> ControlFlow<usize> {
        match path.split_first() {
            None => visit(&self.here)?,
            Some((segment, tail)) => {
                if let Some(node) = segment.as_deref().and_then(|text| self.literals.get(text)) {
                    node.walk(tail, visit)?;
                }
                if let Some(node) = self.one.as_ref().filter(|_| segment.as_deref() != Some("")) {
                    node.walk(tail, visit)?;
                }
            }
        }
        visit(&self.rest)
    }
}

/// A path, and the verb that its last segment ends with, which is empty where there is none.
type Reading<'p> = (&'p str, Cow<'p, str>);

/// A path that was split at a colon, where that is in its last segment and a verb comes after it.
fn verb_after<'p>(split: Option<(&'p str, &'p str)>) -> Option<Reading<'p>> {
    let (head, verb) = split.filter(|(_, verb)| !verb.is_empty() && !verb.contains('/'))?;
    Some((head, decoded(verb)?))
}

/// A segment as literals are compared with, or a verb; `None` when it cannot be decoded, and so equals none.
fn decoded(text: &str) -> Option<Cow<'_, str>> {
    if text.contains('%') { percent::decode(text).ok().map(Cow::Owned) } else { Some(text.into()) }
}

fn captures(template: &Template, path: &[&str]) -> Vec<Result<String, PercentError>> {
    let value = |variable: &super::template::Variable| {
        let open = template.segments[variable.span.clone()].last() == Some(&Segment::Rest);
        let end = if open { path.len() } else { variable.span.end };
        let text = match path[variable.span.start..end] {
            [segment] => Cow::Borrowed(segment),
            ref segments => Cow::Owned(segments.join("/")),
        };
        if variable.multi { percent::decode_path(&text) } else { percent::decode(&text) }
    };
    template.variables.iter().map(value).collect()
}

#[cfg(test)]
#[path = "trie_tests.rs"]
mod tests;
