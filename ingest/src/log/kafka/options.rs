//! Checks the options of an address before anything connects: their names and values, and the files of TLS.

use std::{fs, path::Path};

use rdkafka::error::KafkaError;

use super::{Address, InvalidUrl};

/// Options that name files, and how a PEM text of this kind begins; none where other forms are taken, too.
const FILES: [(&str, Option<&str>); 5] = [
    ("ssl.ca.location", Some("-----BEGIN CERTIFICATE-----")),
    ("ssl.certificate.location", Some("-----BEGIN CERTIFICATE-----")),
    ("ssl.key.location", Some("PRIVATE KEY-----")),
    ("ssl.crl.location", Some("-----BEGIN X509 CRL-----")),
    ("ssl.keystore.location", None),
];
/// The values of `security.protocol` with TLS.
const WITH_TLS: [&str; 2] = ["ssl", "sasl_ssl"];

impl Address {
    /// Checks the options as a client would. The error names the option, and shows no value.
    pub fn check_options(&self) -> Result<(), InvalidUrl> {
        let checked = self.consumer().create_native_config();
        if let Err(KafkaError::ClientConfig(_, _, option, _)) = checked {
            return Err(InvalidUrl(format!("librdkafka has no option {option}, or not with this value")));
        }
        let with_tls = self.options.get("security.protocol");
        if !with_tls.is_some_and(|protocol| WITH_TLS.contains(&protocol.to_lowercase().as_str())) {
            return Ok(());
        }
        for (option, beginning) in FILES {
            let Some(path) = self.options.get(option) else { continue };
            check_file(path, beginning).map_err(|reason| InvalidUrl(format!("option {option} names {reason}")))?;
        }
        Ok(())
    }
}

fn check_file(path: &str, beginning: Option<&str>) -> Result<(), String> {
    // A place to be found by librdkafka, and a folder of certificates.
    if path == "probe" || Path::new(path).is_dir() {
        return Ok(());
    }
    let bytes = fs::read(path).map_err(|error| format!("a file that cannot be read: {error}"))?;
    let Some(beginning) = beginning else { return Ok(()) };
    match String::from_utf8_lossy(&bytes).contains(beginning) {
        true => Ok(()),
        false => Err(format!("a file that is not in PEM form: it has no line with {beginning}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(options: &str) -> String {
        let address = Address::parse(&format!("kafka://a:1?{options}"), str::to_owned);
        let checked = address.and_then(|address| address.check_options());
        checked.err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn options_that_cannot_work_are_named_without_their_values() {
        let source = file!().rsplit_once("ingest/").map_or(file!(), |(_, path)| path);
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
        let no_pem = format!("security.protocol=SSL&ssl.keystore.location={}", source.display());
        assert_eq!((check(""), check("sasl.username=u&client.id=x")), Default::default());
        assert_eq!(check(&no_pem), "", "a key store is not in PEM form");
        for (options, named) in [
            ("colour=hidden", "no option colour"),
            ("security.protocol=hidden", "no option security.protocol"),
            ("security.protocol=ssl&ssl.ca.location=/hidden", "ssl.ca.location names a file that cannot be read"),
            ("security.protocol=sasl_ssl&ssl.key.location=/hidden", "ssl.key.location names"),
        ] {
            let error = check(options);
            assert!(error.contains(named) && !error.contains("hidden"), "{options}: {error}");
        }
        let empty = std::env::temp_dir().join(format!("daybook-no-pem-{}", std::process::id()));
        fs::write(&empty, "no certificate").unwrap_or_else(|error| panic!("{error}"));
        let error = check(&format!("security.protocol=ssl&ssl.certificate.location={}", empty.display()));
        let _removed = fs::remove_file(&empty);
        assert!(error.contains("ssl.certificate.location names a file that is not in PEM form"), "{error}");
        // They are not used without TLS.
        assert_eq!(check("ssl.ca.location=/nowhere"), "");
    }
}
