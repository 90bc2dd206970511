//! The comments of the contracts, by what they stand on.

use std::collections::HashMap;

use prost_reflect::FileDescriptor;

/// Comments of the files that were asked about.
#[derive(Debug, Default)]
pub(crate) struct Comments(HashMap<String, HashMap<Vec<i32>, String>>);

impl Comments {
    /// The leading comment on the element at a path of a file (`google.protobuf.SourceCodeInfo`); empty when there is none, or
    /// the descriptors came without comments.
    pub(crate) fn of(&mut self, file: &FileDescriptor, path: &[i32]) -> String {
        let comments = self.0.entry(file.name().to_owned()).or_insert_with(|| read(file));
        comments.get(path).cloned().unwrap_or_default()
    }
}

fn read(file: &FileDescriptor) -> HashMap<Vec<i32>, String> {
    let locations = file.file_descriptor_proto().source_code_info.iter().flat_map(|info| &info.location);
    let leading = locations.filter_map(|at| Some((at.path.clone(), clean(at.leading_comments.as_ref()?))));
    leading.collect()
}

/// A comment without the blank that follows each `//`.
fn clean(comment: &str) -> String {
    let lines: Vec<&str> = comment.lines().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    lines.join("\n").trim().to_owned()
}
