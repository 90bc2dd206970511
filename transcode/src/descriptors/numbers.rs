//! The numbers of fields in descriptor.proto that more than one file here needs, and the names that messages have in a scope.

/// Fields of `google.protobuf.FileDescriptorSet` and `FileDescriptorProto` (descriptor.proto).
pub(super) const FILES: u32 = 1;
pub(super) const NAME: u32 = 1;
pub(super) const PACKAGE: u32 = 2;
pub(super) const IMPORTS: u32 = 3;
pub(super) const MESSAGES: u32 = 4;
pub(super) const SERVICES: u32 = 6;
/// `SourceCodeInfo`.
pub(super) const COMMENTS: u32 = 9;
/// Places of imports in the list of all.
pub(super) const PUBLIC_IMPORTS: u32 = 10;
pub(super) const WEAK_IMPORTS: u32 = 11;
/// Of edition 2024: files that options need, and nothing else.
pub(super) const OPTION_IMPORTS: u32 = 15;
/// Of a message.
pub(super) const NESTED: u32 = 3;
/// Of a service, and of a method.
pub(super) const METHODS: u32 = 2;
pub(super) const INPUT: u32 = 2;
pub(super) const OUTPUT: u32 = 3;

/// The full name of what is declared in a scope, which is empty for a file without a package.
pub(super) fn joined(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}
