//! What anybody may have written, as text that every database stores; and the attributes of a message back from it.
//!
//! PostgreSQL's text holds no U+0000, and a database in another encoding than UTF-8 holds few characters beyond ASCII.

use std::{borrow::Cow, fmt::Write as _};

use serde_json::{Value, json};

use crate::{broker::Undecodable, envelope::Envelope};

/// Stands for a kind or a key that could not be read, in lists and conditions.
pub const UNREADABLE: &str = "(unreadable)";

/// Bytes of an attribute at most: ours are far below, and an operator looks at lists of them.
const ATTRIBUTE_MAX: usize = 1_024;
/// Bytes of an error at most: it may quote what a stranger wrote.
const ERROR_MAX: usize = 8 * 1_024;

/// How what is parked is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As it is, but for U+0000 and what is too long.
    Readable,
    /// In ASCII, after the database has refused the other.
    Ascii,
}

/// The attributes of a message as they are stored.
#[derive(Default)]
pub(super) struct Stored {
    pub(super) kind: String,
    pub(super) source: String,
    pub(super) key: String,
    pub(super) traceparent: Option<String>,
    pub(super) subject: Option<String>,
    pub(super) token_id: Option<String>,
    /// As they came, in JSON, when one of them could not be stored as it is.
    pub(super) originals: Option<String>,
}

impl Form {
    pub(super) fn attributes(self, message: &Envelope) -> Stored {
        let Envelope { kind, source, key, traceparent, subject, token_id, .. } = message;
        let texts = [kind, source, key].into_iter().chain(traceparent);
        let changed = texts.into_iter().any(|text| self.limited(text, ATTRIBUTE_MAX) != text.as_str());
        let store = |text: &String| self.limited(text, ATTRIBUTE_MAX).into_owned();
        let originals = || {
            let originals = json!({ "kind": kind, "source": source, "key": key, "traceparent": traceparent });
            self.whole(&originals.to_string())
        };
        Stored {
            kind: store(kind),
            source: store(source),
            key: store(key),
            traceparent: traceparent.as_ref().map(store),
            // Short as they are, only another form changes them.
            subject: subject.as_ref().map(store),
            token_id: token_id.as_ref().map(store),
            originals: changed.then(originals),
        }
    }

    /// The attributes of what could not be decoded, as far as they could be read.
    pub(super) fn legible(self, undecodable: &Undecodable) -> Stored {
        let Undecodable { kind, key, source, headers, .. } = undecodable;
        let store = |text: &Option<String>| self.attribute(text.as_deref().unwrap_or(UNREADABLE));
        Stored {
            kind: store(kind),
            source: store(source),
            key: store(key),
            originals: Some(self.whole(headers)),
            ..Stored::default()
        }
    }

    /// An attribute as it is stored.
    pub(super) fn attribute(self, text: &str) -> String {
        self.limited(text, ATTRIBUTE_MAX).into_owned()
    }

    pub(super) fn error(self, text: &str) -> String {
        self.limited(text, ERROR_MAX).into_owned()
    }

    /// Everything of a text that may be long. JSON stays the same value.
    pub(super) fn whole(self, text: &str) -> String {
        self.escaped(text).into_owned()
    }

    /// The beginning of a text that may be too long; dots mark that there was more.
    fn limited(self, text: &str, most: usize) -> Cow<'_, str> {
        if text.len() <= most && self.stores(text) {
            return Cow::Borrowed(text);
        }
        let escaped = self.escaped(text);
        if escaped.len() <= most {
            return escaped;
        }
        let end = escaped.floor_char_boundary(most - "...".len());
        Cow::Owned(format!("{}...", &escaped[..end]))
    }

    fn escaped(self, text: &str) -> Cow<'_, str> {
        if self.stores(text) {
            return Cow::Borrowed(text);
        }
        let mut escaped = String::with_capacity(text.len());
        for character in text.chars() {
            if self.stores(character.encode_utf8(&mut [0; 4])) {
                escaped.push(character);
                continue;
            }
            // As JSON does it, so that JSON stays what it is.
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing into a string cannot fail.
                let _written = write!(escaped, "\\u{unit:04x}");
            }
        }
        Cow::Owned(escaped)
    }

    fn stores(self, text: &str) -> bool {
        !text.contains('\0') && (self == Self::Readable || text.is_ascii())
    }
}

/// The attributes as they came: kind, source, key and trace context. `None` when `json` does not hold them.
pub(super) fn originals(json: &str) -> Option<[Option<String>; 4]> {
    let originals: Value = serde_json::from_str(json).ok()?;
    let text = |name: &str| originals.get(name).and_then(Value::as_str).map(str::to_owned);
    let [kind, source, key] = ["kind", "source", "key"].map(text);
    Some([Some(kind?), Some(source?), Some(key?), text("traceparent")])
}
