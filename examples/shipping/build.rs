//! Compiles the contract: its messages, stubs, and the descriptor set for reflection.

use std::{env, error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=shipping.proto");
    println!("cargo:rerun-if-changed=../../proto");
    let mut compiler = protox::Compiler::new([".", "../../proto"])?;
    compiler.include_imports(true).include_source_info(true).open_file("shipping.proto")?;
    let file = PathBuf::from(env::var("OUT_DIR")?).join("shipping.bin");
    fs::write(file, compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure().compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
