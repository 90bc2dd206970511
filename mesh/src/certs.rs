//! `ordermesh certs`: an authority for development, and certificates of it for all that a mesh consists of.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    net::{IpAddr, Ipv6Addr},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
    str::FromStr,
    time::Duration,
};

use anyhow::{Context as _, bail};
use chassis::{
    clock::{Clock as _, SystemClock},
    settings::{Checked, ConfigErrors},
};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd, string::Ia5String,
};

use crate::lasts;

/// What certificates are made for, and the names that each has beside its own in docker-compose.yml. All but the last are for servers too, and
/// for whoever calls them on the machine that they run on.
const SERVERS: [(&str, &[&str]); 5] = [
    ("gateway", &[]),
    ("orders", &[]),
    ("payments", &[]),
    ("broker", &["rabbitmq"]),
    ("database", &["postgres"]),
];
const CLIENT: &str = "client";
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// A moment before the present, for clocks that are behind.
const EARLIER: Duration = Duration::from_secs(300);

/// Flags of `certs`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    /// Where the files are written: NAME.crt and NAME.key (PEM) for ca, gateway, orders, payments, broker, database and client. It is made
    /// when it is missing; none of the files may be there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// A further name of DNS or address of servers; may be given several times
    #[arg(long, value_name = "HOST")]
    host: Vec<Checked<Host>>,
    /// How long they are valid, such as `90d`, between 1s and 36500d
    #[arg(long = "for", value_name = "TIME", default_value = "365d")]
    lasts: Checked<humantime::Duration>,
}

/// What a certificate is for: an address (of IPv6 with brackets too, as URLs have it), or a name of DNS, which may begin with `*.`.
#[derive(Debug, Clone)]
struct Host(SanType);

impl FromStr for Host {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        let address = match bare {
            Some(bare) => bare.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            None => text.parse().ok(),
        };
        let name = || Ia5String::try_from(text).ok().filter(|_| is_name(text)).map(SanType::DnsName);
        address.map(SanType::IpAddress).or_else(name).map(Self).ok_or("it is no name of DNS and no address")
    }
}

/// Letters, digits, hyphens and underscores, as resolvers and clients take them (RFC 1123, section 2.1). A last label of digits alone makes it an
/// address to clients, and this is none.
fn is_name(text: &str) -> bool {
    let name = text.strip_prefix("*.").unwrap_or(text);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    text.len() <= 253 && name.split('.').all(is_label) && !name.rsplit('.').next().is_some_and(is_number)
}

/// Makes them.
///
/// # Errors
/// Every error in the flags, or when one of the files is there or cannot be written.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let mut errors = ConfigErrors::default();
    let lasts = lasts::take(arguments.lasts, &mut errors);
    let hosts = arguments.host.into_iter().filter_map(|host| host.take("--host", &mut errors));
    let hosts: Vec<SanType> = hosts.map(|Host(name)| name).collect();
    let lasts = errors.or(lasts)?;
    let files = files(&hosts, lasts)?;
    write(&arguments.out, &files)?;
    let (count, folder) = (files.len(), arguments.out.display());
    writeln!(
        std::io::stdout(),
        "made {count} files in {folder}: who has ca.key can be anybody to all of them"
    )
    .context("cannot write to standard output")?;
    Ok(ExitCode::SUCCESS)
}

/// The files by their names.
fn files(hosts: &[SanType], lasts: Duration) -> anyhow::Result<Vec<(String, String)>> {
    let (params, key) = (authority(lasts)?, KeyPair::generate()?);
    let certificate = params.self_signed(&key)?;
    let mut files =
        vec![("ca.crt".to_owned(), certificate.pem()), ("ca.key".to_owned(), key.serialize_pem())];
    let issuer = Issuer::new(params, key);
    let servers = SERVERS.map(|(name, aliases)| (name, [&[name], aliases, &LOCAL].concat()));
    for (name, names) in servers.into_iter().chain([(CLIENT, vec![CLIENT])]) {
        let (mut params, key) = (leaf(name, &names, lasts)?, KeyPair::generate()?);
        if name != CLIENT {
            params.subject_alt_names.extend_from_slice(hosts);
        }
        files.push((format!("{name}.crt"), params.signed_by(&key, &issuer)?.pem()));
        files.push((format!("{name}.key"), key.serialize_pem()));
    }
    Ok(files)
}

/// Who signs the others.
fn authority(lasts: Duration) -> anyhow::Result<CertificateParams> {
    let mut params = valid(&[], lasts)?;
    params.distinguished_name.push(DnType::CommonName, "ordermesh development CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

/// A server that is a client as well, or a client. Its common name is what a database takes it for.
fn leaf(name: &str, names: &[&str], lasts: Duration) -> anyhow::Result<CertificateParams> {
    let mut params = valid(names, lasts)?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.subject_alt_names.push(SanType::URI(format!("spiffe://ordermesh/{name}").try_into()?));
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    if name != CLIENT {
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    }
    Ok(params)
}

fn valid(names: &[&str], lasts: Duration) -> anyhow::Result<CertificateParams> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    let now = Duration::from_micros(u64::try_from(SystemClock.now())?);
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(EARLIER);
    params.not_after = epoch + now.saturating_add(lasts);
    Ok(params)
}

/// Writes all of them, or none: keys for their owner only.
fn write(folder: &Path, files: &[(String, String)]) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let there: Vec<_> =
        files.iter().map(|(name, _)| name).filter(|name| folder.join(name).exists()).collect();
    if !there.is_empty() {
        bail!("nothing is overwritten, and {} has {there:?} already", folder.display());
    }
    for (name, content) in files {
        let path = folder.join(name);
        let mode = if name.ends_with(".key") { 0o600 } else { 0o644 };
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path);
        file.and_then(|mut file| file.write_all(content.as_bytes()))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
