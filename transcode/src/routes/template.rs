//! The path templates of google.api.http, parsed into segments, variables and a custom verb.
//!
//! The grammar is that of `google/api/http.proto`, section "Path template syntax":
//!
//! ```text
//! Template  = "/" [ Segments ] [ Verb ] ;
//! Segments  = Segment { "/" Segment } ;
//! Segment   = "*" | "**" | LITERAL | Variable ;
//! Variable  = "{" FieldPath [ "=" Segments ] "}" ;
//! FieldPath = IDENT { "." IDENT } ;
//! Verb      = ":" LITERAL ;
//! ```
//!
//! There the segments are no option; services have routes for `/` all the same, as other transcoders take them.

use std::{fmt, ops::Range};

use super::percent;

/// A parsed path template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// As the contract spells it.
    pub text: String,
    /// What each segment of a path must be. `**` is always the last.
    pub segments: Vec<Segment>,
    /// Which segments name fields of the request, in the order of the path.
    pub variables: Vec<Variable>,
    /// The custom verb, without its colon.
    pub verb: Option<String>,
}

/// One segment of a template.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Segment {
    /// This text, percent-decoded.
    Literal(String),
    /// `*`: one segment that is not empty.
    One,
    /// `**`: all segments that are left, maybe none.
    Rest,
}

/// A part of the path that becomes a field of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// The names of the fields, from the request down.
    pub field: Vec<String>,
    /// The segments that are its value; where the template ends in `**`, the range's end is that of the path.
    pub span: Range<usize>,
    /// Whether the value can have several segments: then `%2F` in it stays as it is (http.proto).
    pub multi: bool,
}

/// Why a template cannot be read. The position counts bytes from the template's start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at byte {at} of {template:?}")]
pub struct TemplateError {
    template: String,
    at: usize,
    problem: &'static str,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// What the grammar does not allow, and where.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parser = Parser { text, at: 0, segments: Vec::new(), variables: Vec::new() };
        parser.template().map_err(|problem| TemplateError {
            template: text.to_owned(),
            at: parser.at,
            problem,
        })
    }

    /// A path that the template matches, for messages.
    #[must_use]
    pub fn example(&self) -> String {
        let mut path = String::new();
        if self.segments.is_empty() {
            path.push('/');
        }
        for segment in &self.segments {
            path.push('/');
            match segment {
                Segment::Literal(text) => path.push_str(text),
                Segment::One => path.push('x'),
                Segment::Rest => path.push_str("x/y"),
            }
        }
        if let Some(verb) = &self.verb {
            path.push(':');
            path.push_str(verb);
        }
        path
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Literal(text) => text,
            Self::One => "*",
            Self::Rest => "**",
        })
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    segments: Vec<Segment>,
    variables: Vec<Variable>,
}

impl Parser<'_> {
    fn template(&mut self) -> Result<Template, &'static str> {
        if !self.eat("/") {
            return Err("a template starts with `/`");
        }
        if self.at < self.text.len() && !self.text[self.at..].starts_with(':') {
            self.path(true)?;
        }
        let verb = if self.eat(":") { Some(self.literal(true)?) } else { None };
        if self.at < self.text.len() {
            return Err("unexpected character");
        }
        let segments = std::mem::take(&mut self.segments);
        Ok(Template {
            text: self.text.to_owned(),
            segments,
            variables: std::mem::take(&mut self.variables),
            verb,
        })
    }

    /// `Segments`; inside of a variable there are no further variables.
    fn path(&mut self, variables: bool) -> Result<(), &'static str> {
        loop {
            if matches!(self.segments.last(), Some(Segment::Rest)) {
                return Err("nothing but a verb can follow `**`");
            }
            if self.eat("**") {
                self.segments.push(Segment::Rest);
            } else if self.eat("*") {
                self.segments.push(Segment::One);
            } else if self.eat("{") {
                if !variables {
                    return Err("a variable cannot hold another one");
                }
                self.variable()?;
            } else {
                // A colon belongs to the text when a slash follows later: only the last one can begin the verb.
                let last = !self.text[self.at..].contains('/');
                let text = self.literal(last)?;
                self.segments.push(Segment::Literal(text));
            }
            if !self.eat("/") {
                return Ok(());
            }
        }
    }

    fn variable(&mut self) -> Result<(), &'static str> {
        let field = self.field_path()?;
        if self.variables.iter().any(|other| other.field == field) {
            return Err("the field is bound twice");
        }
        let start = self.segments.len();
        if self.eat("=") {
            self.path(false)?;
        } else {
            self.segments.push(Segment::One);
        }
        if !self.eat("}") {
            return Err("expected `}`");
        }
        let span = start..self.segments.len();
        let multi = span.len() > 1 || self.segments.last() == Some(&Segment::Rest);
        self.variables.push(Variable { field, span, multi });
        Ok(())
    }

    fn field_path(&mut self) -> Result<Vec<String>, &'static str> {
        let mut path = Vec::new();
        loop {
            let rest = &self.text[self.at..];
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            let name = &rest[..end];
            if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
                return Err("expected a field name");
            }
            path.push(name.to_owned());
            self.at += end;
            if !self.eat(".") {
                return Ok(path);
            }
        }
    }

    /// Text of RFC 3986 path characters (section 3.3), percent-decoded; `last` ends it at a colon too.
    fn literal(&mut self, last: bool) -> Result<String, &'static str> {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !is_path_character(c) || (last && c == ':')).unwrap_or(rest.len());
        if end == 0 {
            return Err("expected text, `*`, `**` or `{`");
        }
        let text = percent::decode(&rest[..end]).map_err(|_| "the percent-encoding is not valid")?;
        self.at += end;
        Ok(text)
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.text[self.at..].starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }
}

/// `*` is left out of the sub-delimiters: in a template it is the wildcard.
fn is_path_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~%!$&'()+,;:@".contains(c)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shape(text: &str) -> String {
        let template = Template::parse(text).expect("a valid template");
        let segments: Vec<String> = template.segments.iter().map(ToString::to_string).collect();
        let variables: Vec<String> = template
            .variables
            .iter()
            .map(|v| format!("{}@{:?}{}", v.field.join("."), v.span, if v.multi { "+" } else { "" }))
            .collect();
        format!("{} [{}] {}", segments.join("/"), variables.join(" "), template.verb.unwrap_or_default())
    }

    #[test]
    fn the_whole_grammar_is_read() {
        for (text, expected) in [
            ("/gateway/orders", "gateway/orders [] "),
            ("/gateway/orders:watch", "gateway/orders [] watch"),
            ("/gateway/orders/{order_id}:cancel", "gateway/orders/* [order_id@2..3] cancel"),
            ("/v1/{name=shelves/*/books/*}", "v1/shelves/*/books/* [name@1..5+] "),
            ("/v1/{a.b.c}/x/{d=**}", "v1/*/x/** [a.b.c@1..2 d@3..4+] "),
            ("/v1/{name=a/*/b/**}:undo", "v1/a/*/b/** [name@1..5+] undo"),
            ("/v1/{name=fixed}", "v1/fixed [name@1..2] "),
            ("/*/**", "*/** [] "),
            ("/a:b/c:d", "a:b/c [] d"),
            ("/caf%C3%A9", "café [] "),
            ("/", " [] "),
            ("/:undo", " [] undo"),
        ] {
            assert_eq!(shape(text), expected, "{text}");
        }
    }

    #[test]
    fn errors_are_named_with_their_place() {
        for (text, expected) in [
            ("gateway", "a template starts with `/` at byte 0"),
            ("/a//b", "expected text, `*`, `**` or `{` at byte 3"),
            ("/a/", "expected text, `*`, `**` or `{` at byte 3"),
            ("/a:", "expected text, `*`, `**` or `{` at byte 3"),
            ("/a/{}", "expected a field name at byte 4"),
            ("/a/{1x}", "expected a field name at byte 4"),
            ("/a/{b", "expected `}` at byte 5"),
            ("/a/{b={c}}", "a variable cannot hold another one at byte 7"),
            ("/a/{b}/{b}", "the field is bound twice at byte 9"),
            ("/a/**/b", "nothing but a verb can follow `**` at byte 6"),
            ("/a/{b=**}/c", "nothing but a verb can follow `**` at byte 10"),
            ("/a/b?c", "unexpected character at byte 4"),
            ("/a/%zz", "the percent-encoding is not valid at byte 3"),
            ("/a/*b", "unexpected character at byte 4"),
        ] {
            let error = Template::parse(text).expect_err(text).to_string();
            assert_eq!(error, format!("{expected} of {text:?}"));
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[/{}=*:.a-c%0-2é]{0,40}") {
            let _outcome = Template::parse(&text);
        }
    }
}
