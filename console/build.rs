//! Lists the files of `dist/`, each with its digest and what gzip makes of it, so that the binary holds them.

use std::{
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest as _, Sha256};

fn main() -> anyhow::Result<()> {
    println!("cargo:rerun-if-changed=dist");
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("dist");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut files = Vec::new();
    collect(&root, &mut files)?;
    files.sort();
    let mut list = String::from("[\n");
    for (at, file) in files.iter().enumerate() {
        let name = file.strip_prefix(&root)?.to_str().context("a name is UTF-8")?.replace('\\', "/");
        let plain = fs::read(file)?;
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&plain)?;
        let compressed = out.join(format!("{at}.gz"));
        fs::write(&compressed, encoder.finish()?)?;
        let digest: String =
            Sha256::digest(&plain).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        list += &format!(
            "File {{ name: {name:?}, digest: {digest:?}, plain: include_bytes!({file:?}), gzip: include_bytes!({compressed:?}) }},\n",
        );
    }
    fs::write(out.join("files.rs"), list + "]\n")?;
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
