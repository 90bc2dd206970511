//! What `scripts/pages` has built.

/// A file of `dist/`.
#[derive(Debug)]
pub(crate) struct File {
    /// Its path below `dist/`.
    pub(crate) name: &'static str,
    /// Of its content, in hexadecimal digits.
    pub(crate) digest: &'static str,
    pub(crate) plain: &'static [u8],
    /// The same, compressed.
    pub(crate) gzip: &'static [u8],
}

/// All of them.
pub(crate) const FILES: &[File] = &include!(concat!(env!("OUT_DIR"), "/files.rs"));

impl File {
    /// Its media type.
    pub(crate) fn media_type(&self) -> &'static str {
        match self.name.rsplit_once('.').map_or("", |(_, ending)| ending) {
            "html" => "text/html; charset=utf-8",
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "svg" => "image/svg+xml",
            _ => "application/octet-stream",
        }
    }

    /// Whether its name says what is in it: another content has another name.
    pub(crate) fn is_immutable(&self) -> bool {
        self.name.contains("/assets/")
    }
}
