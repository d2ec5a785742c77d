//! Area `http`: the HTTP interface and its bounds.

use std::time::Duration;

use super::{
    listen::Listen,
    read,
    setting::{
        Preset::Value,
        Setting,
        Takes::{Text, Whole},
        area,
    },
};

const ADDRESS: super::setting::Takes =
    Text { name: "ADDRESS:PORT", expected: "an address or a name, and a port, as in 127.0.0.1:8080 or [::1]:8080" };

area! {
    /// The HTTP interface.
    Http, "http" {
        listen: Listen = read::listen, "listen", "listen", ADDRESS, Value("127.0.0.1:8080"),
            "Address and port of the API.";
        requests_max: usize = read::whole, "requests_max", "requests-max", Whole { min: 1, max: 1_000_000 },
            Value("4096"), "Requests in progress, at most; those beyond are answered 503.";
        body_bytes_max: usize = mebibytes, "body_mib_max", "body-mib-max", Whole { min: 1, max: 1024 },
            Value("64"), "Largest request body, in MiB.";
        wait_max: Duration = read::milliseconds, "wait_ms_max", "wait-ms-max", Whole { min: 1, max: 600_000 },
            Value("15000"), "Milliseconds that a request may wait for the tables.";
    }
}

fn mebibytes(text: &str, setting: &Setting) -> Result<usize, String> {
    read::whole::<usize>(text, setting).map(|mebibytes| mebibytes * 1024 * 1024)
}
