//! Compiles the contracts: messages and stubs with prost and tonic, and the descriptor set with its options for reflection and
//! the edge. protox reads the .proto files, so no protoc is needed.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const FILES: [&str; 14] = [
    "ordermesh/auth/v1/rule.proto",
    "ordermesh/errors/v1/reasons.proto",
    "ordermesh/orders/v1/orders.proto",
    "ordermesh/orders/v1/events.proto",
    "ordermesh/orders/v1/admin.proto",
    "ordermesh/payments/v1/payments.proto",
    "ordermesh/payments/v1/events.proto",
    "ordermesh/payments/v1/admin.proto",
    "ordermesh/messaging/v1/admin.proto",
    "ordermesh/messaging/v1/pauses.proto",
    "ordermesh/messaging/v1/states.proto",
    "ordermesh/messaging/v1/whereabouts.proto",
    "ordermesh/audit/v1/audit.proto",
    "ordermesh/reconciliation/v1/decisions.proto",
];

/// Packages that only have options.
const OPTIONS: [&str; 4] = ["buf.validate", "google.api", "ordermesh.auth.v1", "ordermesh.errors.v1"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true).open_files(FILES)?;

    // The encoded set keeps the options that prost's own types would drop, google.api.http among them.
    let encoded = compiler.encode_file_descriptor_set();
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("ordermesh.binpb"), &encoded)?;

    // The rules of HTTP, of callers and of values are options, read from the descriptor set: they need no Rust types.
    let mut set = prost_types::FileDescriptorSet::decode(encoded.as_slice())?;
    set.file.retain(|file| !OPTIONS.contains(&file.package()));
    let mut messages = tonic_prost_build::Config::new();
    // The full name of a message is the kind that its envelope carries.
    messages.enable_type_names();
    tonic_prost_build::configure()
        // An RPC without a body of ours answers UNIMPLEMENTED instead of breaking every server at compile time.
        .generate_default_stubs(true)
        .client_mod_attribute(".", "#[cfg(feature = \"client\")]")
        .server_mod_attribute(".", "#[cfg(feature = \"server\")]")
        .compile_fds_with_config(set, messages)?;
    Ok(())
}
