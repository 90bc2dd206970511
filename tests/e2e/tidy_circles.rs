//! The layout's rule for files of one crate: they form layers, so that each can be read after those that it builds on, and none twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use syn::{
    Attribute, File, Item, ItemMod, ItemUse, UseTree, Visibility,
    visit::{self, Visit},
};

/// The crates whose files are in layers.
const LAYERED: [&str; 13] = [
    "auth",
    "chassis",
    "storage",
    "messaging",
    "transcode",
    "upstream",
    "service",
    "gateway",
    "orders",
    "payments",
    "console",
    "mesh",
    "examples/shipping",
];

/// The names from a crate's root down to a module or to something in one.
type Names = Vec<String>;

/// The files of a crate by their modules, those for tests left out.
struct Crate(BTreeMap<Names, File>);

impl Crate {
    fn read(name: &str) -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name).join("src");
        let mut files = BTreeMap::new();
        let root =
            ["lib.rs", "main.rs"].map(|root| source.join(root)).into_iter().find(|root| root.is_file());
        let mut open = vec![(Names::new(), root.unwrap_or_default())];
        while let Some((module, path)) = open.pop() {
            let text =
                fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let file = syn::parse_file(&text).expect("it has been compiled");
            for child in declared(&file) {
                let names: Names = module.iter().cloned().chain([child]).collect();
                let path = source.join(names.iter().collect::<PathBuf>()).with_extension("rs");
                open.push((names, path));
            }
            files.insert(module, file);
        }
        assert!(files.len() > 1, "the files of {name} were not found");
        Self(files)
    }

    /// The module that a path names something of, behind all re-exports; `None` where that is no module of the crate.
    fn home(&self, path: &[String]) -> Option<Names> {
        let length = (0..=path.len()).rev().find(|length| self.0.contains_key(&path[..*length]))?;
        let (module, rest) = path.split_at(length);
        let Some(name) = rest.first() else { return Some(module.to_vec()) };
        let exported = uses(&self.0[module]).into_iter().filter(|item| is_public(item));
        let exported = exported.flat_map(|item| leaves(&item.tree, module));
        let exported = exported.filter(|(as_name, from)| as_name == name && from.as_slice() != path);
        exported.map(|(_, from)| from).find_map(|from| self.home(&from)).or_else(|| Some(module.to_vec()))
    }

    /// The modules that a module's file names.
    fn named_by(&self, module: &Names) -> BTreeSet<Names> {
        let file = &self.0[module];
        let mut paths: BTreeSet<Names> = BTreeSet::new();
        for item in uses(file).into_iter().filter(|item| !is_public(item)) {
            paths.extend(leaves(&item.tree, module).into_iter().map(|(_, from)| from));
        }
        let mut inline = Inline { module, children: declared(file), found: Vec::new() };
        inline.visit_file(file);
        paths.extend(inline.found);
        paths.iter().filter_map(|path| self.home(path)).filter(|named| named != module).collect()
    }

    /// Modules that name each other, along the shortest way back, if there are any.
    fn circles(&self) -> BTreeSet<String> {
        let named: BTreeMap<&Names, BTreeSet<Names>> =
            self.0.keys().map(|module| (module, self.named_by(module))).collect();
        named.keys().filter_map(|module| circle(module, &named)).collect()
    }
}

/// The shortest way from a module back to itself, written from its first name in the order of the alphabet.
fn circle(start: &Names, named: &BTreeMap<&Names, BTreeSet<Names>>) -> Option<String> {
    let mut ways: Vec<Vec<&Names>> = vec![vec![start]];
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            for next in way.last().and_then(|last| named.get(last)).into_iter().flatten() {
                if next == start {
                    let first = (0..way.len()).min_by_key(|at| way[*at])?;
                    let text = |at: usize| display(way[(first + at) % way.len()]);
                    return Some((0..=way.len()).map(text).collect::<Vec<_>>().join(" -> "));
                }
                if seen.insert(next) {
                    longer.push(way.iter().copied().chain([next]).collect());
                }
            }
        }
        ways = longer;
    }
    None
}

fn display(module: &Names) -> String {
    if module.is_empty() { "lib".to_owned() } else { module.join("::") }
}

/// Paths in code that begin at the crate, at a module around, or at a child.
struct Inline<'m> {
    module: &'m Names,
    children: Vec<String>,
    found: Vec<Names>,
}

impl<'a> Visit<'a> for Inline<'_> {
    fn visit_path(&mut self, path: &'a syn::Path) {
        let names: Names = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        let (first, is_long) = (names[0].as_str(), names.len() > 1);
        if is_long && (["crate", "self", "super"].contains(&first) || self.children.contains(&names[0])) {
            self.found.push(absolute(&names, self.module));
        }
        visit::visit_path(self, path);
    }

    fn visit_item_mod(&mut self, item: &'a ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_use(&mut self, _: &'a ItemUse) {}

    /// `pub(in path)` and `pub(super)` name nothing.
    fn visit_visibility(&mut self, _: &'a Visibility) {}
}

/// The modules that a file declares in files of their own, but for tests.
fn declared(file: &File) -> Vec<String> {
    let module = |item: &Item| match item {
        Item::Mod(module) if module.content.is_none() && !is_test(&module.attrs) => {
            Some(module.ident.to_string())
        }
        _ => None,
    };
    file.items.iter().filter_map(module).collect()
}

fn uses(file: &File) -> Vec<&ItemUse> {
    let mut found = Vec::new();
    for item in &file.items {
        if let Item::Use(item) = item
            && !is_test(&item.attrs)
        {
            found.push(item);
        }
    }
    found
}

fn is_public(item: &ItemUse) -> bool {
    !matches!(item.vis, Visibility::Inherited)
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|condition| condition.is_ident("test"))
    })
}

/// What a `use` brings in: each name with the path from the crate's root, those of other crates with it.
fn leaves(tree: &UseTree, module: &[String]) -> Vec<(String, Names)> {
    let mut found = Vec::new();
    grow(tree, &mut Names::new(), &mut found);
    let of_crate = |(_, path): &(String, Names)| ["crate", "self", "super"].contains(&path[0].as_str());
    found.into_iter().filter(of_crate).map(|(name, path)| (name, absolute(&path, module))).collect()
}

fn grow(tree: &UseTree, at: &mut Names, found: &mut Vec<(String, Names)>) {
    match tree {
        UseTree::Path(path) => {
            at.push(path.ident.to_string());
            grow(&path.tree, at, found);
            at.pop();
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| grow(tree, at, found)),
        UseTree::Name(name) if name.ident == "self" => {
            found.push((at.last().cloned().unwrap_or_default(), at.clone()));
        }
        UseTree::Name(name) => {
            let name = name.ident.to_string();
            found.push((name.clone(), at.iter().cloned().chain([name]).collect()));
        }
        UseTree::Rename(rename) => {
            let from = at.iter().cloned().chain([rename.ident.to_string()]);
            found.push((rename.rename.to_string(), from.collect()));
        }
        UseTree::Glob(_) => found.push(("*".to_owned(), at.clone())),
    }
}

/// A path as it is from the crate's root.
fn absolute(path: &[String], module: &[String]) -> Names {
    let mut base = if path[0] == "crate" { Names::new() } else { module.to_vec() };
    for name in path {
        match name.as_str() {
            "crate" | "self" => {}
            "super" => drop(base.pop()),
            name => base.push(name.to_owned()),
        }
    }
    base
}

#[test]
fn files_form_layers() {
    let circles = LAYERED.map(|name| (name, Crate::read(name).circles()));
    let circles: Vec<String> = circles
        .iter()
        .flat_map(|(name, circles)| circles.iter().map(move |circle| format!("{name}: {circle}")))
        .collect();
    assert!(circles.is_empty(), "files that build on each other:\n{}", circles.join("\n"));
}
