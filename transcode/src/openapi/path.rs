//! Templates as OpenAPI writes paths: a parameter there is one segment, so that each `*` is a parameter of its own.

use crate::routes::template::{Segment, Template};

/// A path with its parameters, in their order.
#[derive(Debug, Default)]
pub(crate) struct Path {
    /// Such as `/v1/shelves/{shelf}/books/{book}:move`.
    pub(crate) text: String,
    pub(crate) parameters: Vec<Parameter>,
}

/// A parameter of a path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    /// The variable of the template that it is, or is a part of.
    pub(crate) variable: Option<usize>,
    /// Whether it is all of that variable.
    pub(crate) is_whole: bool,
    /// Whether it can have any number of segments.
    pub(crate) is_open: bool,
}

impl Path {
    pub(crate) fn of(template: &Template) -> Self {
        let mut path = Self::default();
        for (at, segment) in template.segments.iter().enumerate() {
            path.text.push('/');
            let is_open = match segment {
                Segment::Literal(text) => {
                    path.text.push_str(text);
                    continue;
                }
                Segment::One => false,
                Segment::Rest => true,
            };
            let variable = template.variables.iter().position(|variable| variable.span.contains(&at));
            let is_whole = variable.is_some_and(|variable| template.variables[variable].span.len() == 1);
            let before = at.checked_sub(1).map(|before| &template.segments[before]);
            let name = match (variable, before) {
                (Some(variable), _) if is_whole => template.variables[variable].field.join("."),
                (_, Some(Segment::Literal(collection))) => singular(collection),
                (Some(variable), _) => template.variables[variable].field.join("."),
                (None, _) => "segment".to_owned(),
            };
            let name = path.unused(name);
            path.text.push_str(&format!("{{{name}}}"));
            path.parameters.push(Parameter { name, variable, is_whole, is_open });
        }
        if path.text.is_empty() {
            path.text.push('/');
        }
        if let Some(verb) = &template.verb {
            path.text.push_str(&format!(":{verb}"));
        }
        path
    }

    /// A name that no other parameter has.
    fn unused(&self, name: String) -> String {
        let is_used = |name: &str| self.parameters.iter().any(|parameter| parameter.name == name);
        if !is_used(&name) {
            return name;
        }
        let mut number = 2;
        while is_used(&format!("{name}_{number}")) {
            number += 1;
        }
        format!("{name}_{number}")
    }
}

/// One of a collection, as resource names spell it (AIP-122): `shelf` of `shelves`, `book` of `books`.
fn singular(collection: &str) -> String {
    let name = collection.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    for (plural, singular) in [
        ("ies", "y"),
        ("elves", "elf"),
        ("sses", "ss"),
        ("xes", "x"),
        ("ches", "ch"),
        ("shes", "sh"),
        ("ss", "ss"),
        ("s", ""),
    ] {
        if let Some(stem) = name.strip_suffix(plural)
            && !(stem.is_empty() && singular.is_empty())
        {
            return format!("{stem}{singular}");
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_segment_is_a_parameter() {
        for (template, path, names) in [
            ("/v1/{name=shelves/*}", "/v1/shelves/{shelf}", &["shelf"][..]),
            (
                "/v1/{name=shelves/*/books/*}:move",
                "/v1/shelves/{shelf}/books/{book}:move",
                &["shelf", "book"],
            ),
            (
                "/v1/{parent=shelves/*}/books/{book_id}",
                "/v1/shelves/{shelf}/books/{book_id}",
                &["shelf", "book_id"],
            ),
            ("/v1/{order.id}", "/v1/{order.id}", &["order.id"]),
            ("/v1/{name=files/**}", "/v1/files/{file}", &["file"]),
            ("/v1/{a=*/*}", "/v1/{v1}/{a}", &["v1", "a"]),
            ("/{a=*/*}", "/{a}/{a_2}", &["a", "a_2"]),
            ("/companies/*/x", "/companies/{company}/x", &["company"]),
            ("/v1/{name=fixed}", "/v1/fixed", &[]),
            ("/", "/", &[]),
        ] {
            let found = Path::of(&Template::parse(template).expect("a template"));
            let found_names: Vec<&str> = found.parameters.iter().map(|one| one.name.as_str()).collect();
            assert_eq!((found.text.as_str(), &found_names[..]), (path, names), "{template}");
        }
    }
}
