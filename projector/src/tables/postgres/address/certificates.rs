//! The files of TLS that an address names. They are read as an attempt to connect reads them, so that what cannot work is
//! known before.

use std::fs;

use native_tls::{Certificate, Identity, TlsConnector};

use super::Fault;

/// How each certificate of a file begins.
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";
/// How the only form of a key begins that is taken.
const KEY: &str = "-----BEGIN PRIVATE KEY-----";

/// Paths of files, or their text itself.
#[derive(Clone, Default)]
pub(super) struct Certificates {
    /// Of the authority that signs the server's.
    pub(super) root: Option<String>,
    /// The client's.
    pub(super) certificate: Option<String>,
    pub(super) key: Option<String>,
}

impl Certificates {
    /// Every fault of the files.
    pub(super) fn check(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut keep = |found: Result<Option<String>, Fault>| found.map_err(|fault| faults.push(fault)).ok().flatten();
        let _root = keep(read("sslrootcert", self.root.as_deref(), only_certificate));
        let certificate = keep(read("sslcert", self.certificate.as_deref(), certificates));
        let key = keep(read("sslkey", self.key.as_deref(), key_of_known_form));
        match (&self.certificate, &self.key) {
            (Some(_), None) => faults.push(Fault::of(&["sslcert"], "sslcert needs sslkey")),
            (None, Some(_)) => faults.push(Fault::of(&["sslkey"], "sslkey needs sslcert")),
            _ => {}
        }
        if let (Some(certificate), Some(key)) = (certificate, key) {
            faults.extend(check_pair(&certificate, &key));
        }
        faults
    }
}

/// Reads what a parameter names, and checks it.
fn read(
    key: &'static str,
    given: Option<&str>,
    check: fn(&str) -> Result<(), String>,
) -> Result<Option<String>, Fault> {
    let Some(given) = given else { return Ok(None) };
    let text = read_text(given).and_then(|text| check(&text).map(|()| text));
    text.map(Some).map_err(|reason| Fault::of(&[key], format!("{key} {reason}")))
}

/// A PEM text may stand in place of the path.
fn read_text(given: &str) -> Result<String, String> {
    if given.trim().starts_with("-----BEGIN") {
        return Ok(given.to_owned());
    }
    let bytes = fs::read(given).map_err(|error| format!("names a file that cannot be read: {error}"))?;
    String::from_utf8(bytes).map_err(|_| "names a file that is no PEM text".to_owned())
}

fn certificates(text: &str) -> Result<(), String> {
    let read = if text.contains(CERTIFICATE) { Certificate::from_pem(text.as_bytes()).ok() } else { None };
    read.map(drop).ok_or_else(|| "names a file without a certificate in PEM form".to_owned())
}

fn only_certificate(text: &str) -> Result<(), String> {
    certificates(text)?;
    match text.matches(CERTIFICATE).count() {
        1 => Ok(()),
        // The others would not be trusted.
        _ => Err("names a file with several certificates: leave the one that signs the server's".to_owned()),
    }
}

fn key_of_known_form(text: &str) -> Result<(), String> {
    if text.starts_with(KEY) {
        return Ok(());
    }
    let known = if text.contains("PRIVATE KEY-----") { "another form of key" } else { "no key in PEM form" };
    Err(format!(
        "names a file with {known}: an unencrypted key in PKCS#8 is needed, as `openssl pkcs8 -topk8 -nocrypt` writes it"
    ))
}

fn check_pair(certificate: &str, key: &str) -> Option<Fault> {
    let Ok(identity) = Identity::from_pkcs8(certificate.as_bytes(), key.as_bytes()) else {
        return Some(Fault::of(&["sslkey"], "sslkey names a file whose key cannot be read"));
    };
    let built = TlsConnector::builder().identity(identity).build();
    let reason = "sslkey is not the key of the certificate of sslcert";
    built.err().map(|_| Fault::of(&["sslcert", "sslkey"], reason))
}
