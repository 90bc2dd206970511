//! OpenAPI 3.1 from the table of routes: what the edge serves is what its documents say.

mod about;
mod options;
mod decimals;
mod schema;
mod example;
mod path;
mod errors;
mod answers;
mod operation;

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::{Map, Value, json};

pub use self::{
    about::{About, Failure, Habits, Listed, Tokens},
    options::texts,
};
use self::{operation::Operation, path::Path, schema::Schemas};
use crate::{comments::Comments, routes::route::Route};

/// The methods that a path item can hold (OpenAPI 3.1, section 4.8.9).
const METHODS: [&str; 8] = ["GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE"];

/// The version of OpenAPI, which stands first in a document.
const VERSION: &str = "3.1.0";

/// The ids of operations, by the RPC, the number of its binding and the name that it is put below: the same in every document, and none
/// twice in one about all routes.
#[derive(Debug, Default)]
pub struct Ids(HashMap<(String, usize, String), String>);

impl Ids {
    /// The ids of all these routes: the names of service and RPC, with the package where several have the same; further bindings are
    /// numbered.
    pub fn of(listed: &[Listed<'_>]) -> Self {
        let mut services: HashMap<&str, BTreeSet<&str>> = HashMap::new();
        let of = |route: &Route| route.rpc.method.parent_service().clone();
        let all: Vec<_> = listed.iter().map(|listed| of(listed.route)).collect();
        for service in &all {
            services.entry(service.name()).or_default().insert(service.full_name());
        }
        let (mut ids, mut used) = (HashMap::new(), HashSet::new());
        for (Listed { route, .. }, service) in listed.iter().zip(&all) {
            let is_alone = services.get(service.name()).is_none_or(|named| named.len() == 1);
            let service =
                if is_alone { service.name().to_owned() } else { service.full_name().replace('.', "_") };
            let mut id = format!("{service}_{}", route.rpc.method.name());
            if !route.mount.is_empty() {
                id = format!("{}_{id}", route.mount);
            }
            if route.binding > 0 {
                id = format!("{id}_{}", route.binding);
            }
            // An RPC may be named as another one's binding is numbered.
            while !used.insert(id.clone()) {
                id.push('_');
            }
            ids.insert((route.rpc.name.clone(), route.binding, route.mount.clone()), id);
        }
        Self(ids)
    }

    fn get(&self, route: &Route) -> &str {
        let key = (route.rpc.name.clone(), route.binding, route.mount.clone());
        self.0.get(&key).map_or("", String::as_str)
    }
}

/// A document about these routes. Routes with methods that OpenAPI cannot describe (custom ones, `*`) are left out. Where the server is, whoever
/// serves it knows ([`with_server`]).
#[must_use]
pub fn document(about: &About<'_>, listed: &[Listed<'_>], ids: &Ids) -> Value {
    let mut comments = Comments::default();
    let mut schemas =
        Schemas::of(listed.iter().flat_map(|one| [&one.route.rpc.input, &one.route.rpc.output]));
    if about.tokens == Tokens::Needed {
        let owners = listed.iter().filter_map(|one| Some((&one.route.rpc.input, one.owner?)));
        schemas.make_optional(owners);
    }
    let (mut paths, mut tags) = (Map::new(), Map::new());
    for one in listed {
        let (route, method) = (one.route, one.route.method.as_str());
        if !METHODS.contains(&method) {
            continue;
        }
        let service = route.rpc.method.parent_service();
        tags.entry(service.full_name()).or_insert_with(|| {
            let comment = comments.of(&service.parent_file(), service.path());
            json!({ "name": service.full_name(), "description": comment })
        });
        let path = Path::of(&route.template);
        let operation = Operation { listed: one, path: &path, id: ids.get(route), about };
        let operation = operation.document(&mut schemas, &mut comments);
        let path = paths.entry(path.text).or_insert_with(|| json!({}));
        // The first of two templates that look alike here; the trie knows both.
        if let Some(item) = path.as_object_mut() {
            item.entry(method.to_ascii_lowercase()).or_insert(operation);
        }
    }
    let mut components = schemas.finish(&mut comments);
    errors::schemas(&mut components, about.habits);
    let mut document = json!({
        "openapi": VERSION,
        "info": info(about),
        "tags": tags.into_iter().map(|(_, tag)| tag).collect::<Vec<_>>(),
        "paths": paths,
        "components": { "schemas": components, "responses": errors::responses(listed, about.habits) },
    });
    if about.tokens != Tokens::None {
        document["components"]["securitySchemes"] = json!({ "bearer": {
            "type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": about.token,
        } });
    }
    document
}

/// The text of a document with the URL of its server: that of the whole API, or one relative to the document.
#[must_use]
pub fn with_server(document: &str, url: &str) -> String {
    let head = json!({ "openapi": VERSION }).to_string();
    let head = head.trim_end_matches('}');
    let rest = document.strip_prefix(head).unwrap_or(document);
    format!("{head},\"servers\":{}{rest}", json!([{ "url": url }]))
}

fn info(about: &About<'_>) -> Value {
    let mut info = json!({ "title": about.title, "version": env!("CARGO_PKG_VERSION") });
    schema::describe(&mut info, about.description.to_owned());
    if let Some(name) = about.contact {
        info["contact"] = json!({ "name": name });
    }
    if let Some([name, identifier]) = about.license {
        info["license"] = json!({ "name": name, "identifier": identifier });
    }
    info
}
