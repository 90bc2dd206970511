//! Certificates of a test: those that `ordermesh certs` makes, and further ones of the same authority, which openssl makes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Result, ensure};

use crate::{PATIENCE, Program, Scratch, child::guarded, installed};

/// How `openssl ca` keeps what it signs: it is the one command of openssl that lets a certificate begin and end on any day.
const REGISTER: &str = "[ca]\ndefault_ca = register\n[register]\ndatabase = index.txt\nnew_certs_dir = .\nrand_serial = yes\n\
                        default_md = sha256\nunique_subject = no\npolicy = any\n[any]\ncommonName = optional\n";

/// The days of a certificate that is valid now.
pub const VALID: [&str; 2] = ["20200101", "20990101"];
/// Those of one that was.
pub const EXPIRED: [&str; 2] = ["20200101", "20200201"];

/// An authority, and what it has signed.
#[derive(Debug)]
pub struct Certificates {
    _scratch: Scratch,
    folder: PathBuf,
}

impl Certificates {
    /// Those of `ordermesh certs`.
    ///
    /// # Errors
    /// When it does not make them, with what it said.
    pub async fn make() -> Result<Self> {
        Self::made_by(Program::named("ordermesh")?).await
    }

    /// The same, made by this build of it.
    ///
    /// # Errors
    /// As [`Certificates::make`].
    pub async fn made_by(ordermesh: Program) -> Result<Self> {
        let scratch = Scratch::new("certificates")?;
        // Servers that drop the privileges of root have to read some of it.
        fs::set_permissions(scratch.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let folder = scratch.path().join("certs");
        let made = ordermesh.args(["certs", "--out"]).args([folder.display().to_string()]);
        let mut made = made.start()?;
        let status = made.wait(PATIENCE).await?;
        ensure!(status.success(), "{}", made.output());
        Ok(Self { _scratch: scratch, folder })
    }

    /// Where they are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// One of the files, such as `gateway.crt`.
    #[must_use]
    pub fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// Makes NAME.crt and NAME.key for clients and servers with these subject alternative names, as openssl writes them, valid from one of
    /// these days to the other.
    ///
    /// # Errors
    /// With what openssl said.
    pub fn issue(&self, name: &str, names: &str, days: [&str; 2]) -> Result<()> {
        self.issue_for("serverAuth,clientAuth", name, names, days)
    }

    /// The same for other usages, as openssl writes those of the extension `extendedKeyUsage`.
    ///
    /// # Errors
    /// With what openssl said.
    pub fn issue_for(&self, usages: &str, name: &str, names: &str, [from, to]: [&str; 2]) -> Result<()> {
        let at = |file: &str| self.folder.join(file);
        fs::write(at("ca.cnf"), REGISTER)?;
        fs::write(at("index.txt"), "")?;
        fs::write(
            at("leaf.ext"),
            format!(
                "basicConstraints=critical,CA:FALSE\nsubjectAltName={names}\nextendedKeyUsage={usages}\n"
            ),
        )?;
        let (subject, key) = (format!("/CN={name}"), format!("{name}.key"));
        let (request, signed) = (format!("{name}.csr"), format!("{name}.crt"));
        let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        let asked = ["req", "-subj", &subject, "-keyout", &key, "-out", &request];
        openssl(&self.folder, &[&asked[..], &curve].concat())?;
        let days = [format!("{from}000000Z"), format!("{to}000000Z")];
        openssl(
            &self.folder,
            &[
                &["ca", "-batch", "-notext", "-config", "ca.cnf", "-cert", "ca.crt", "-keyfile", "ca.key"][..],
                &["-extfile", "leaf.ext", "-in", &request, "-out", &signed],
                &["-startdate", &days[0], "-enddate", &days[1]],
            ]
            .concat(),
        )
    }
}

/// Runs openssl in a folder.
///
/// # Errors
/// With what it said.
pub(crate) fn openssl(folder: &Path, arguments: &[&str]) -> Result<()> {
    let mut command = guarded(&installed::find("openssl", &[])?, None)?;
    let made = command.args(arguments).current_dir(folder).output()?;
    ensure!(made.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&made.stderr));
    Ok(())
}
