//! Lines that no record can be made of: each is refused with its line, code and field, and nothing of it is in the log.

use daybook_tests::process::{Backend, Place, Server};
use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::define;

const IMAGES: &str = "collection = 'image'\nkey = 'id'\n[fields]\nid = 'text'\ntitle = 'text'\nwidth = 'int'\n";
const COLLECTION: &str = "/api/v1/collections/image";

/// Sends bytes, which need not be text.
async fn send(server: &Server, method: Method, path: &str, body: &[u8]) -> (u16, Value) {
    let request = Client::new().request(method, format!("{}{COLLECTION}{path}", server.api.base)).body(body.to_vec());
    let answer = request.send().await.unwrap_or_else(|error| panic!("{path}: {error}"));
    let status = answer.status().as_u16();
    (status, serde_json::from_str(&answer.text().await.unwrap_or_default()).unwrap_or_default())
}

/// Records with a fault: each after the beginning `{"id": "…", `, with its code, and its field, if one can be named.
fn faults() -> Vec<(Vec<u8>, &'static str, Option<&'static str>)> {
    vec![
        (format!("\"title\": \"{}\"}}", "x".repeat(2 << 20)).into_bytes(), "line-too-long", None),
        (b"\"title\": \"a\0b\"}".to_vec(), "not-json", None),
        (b"\"title\": \"a\\u0000b\"}".to_vec(), "nul-character", Some("title")),
        (b"\"title\": \"a\xff\xfeb\"}".to_vec(), "not-utf-8", None),
        (b"\"title\": \"\\ud800\"}".to_vec(), "not-json", None),
        (b"\"title\": \"a\", \"title\": \"b\"}".to_vec(), "duplicate-key", Some("title")),
        (b"\"width\": \"wide\"}".to_vec(), "not-an-integer", Some("width")),
        (b"\"title\": \"a\"".to_vec(), "not-json", None),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_no_record_can_be_made_of_are_refused_by_line_code_and_field_and_are_not_in_the_log() {
    for backend in [Backend::Embedded, Backend::Distributed] {
        let place = Place::new("input", backend);
        let server = Server::start(&place);
        define(&server.api, "image", IMAGES).await;
        let mut body = Vec::new();
        for (number, (rest, code, field)) in faults().into_iter().enumerate() {
            let record = [format!("{{\"id\": \"r{number}\", ").into_bytes(), rest].concat();
            let (status, said) = send(&server, Method::PUT, &format!("/records/r{number}"), &record).await;
            let expected = (400, &json!(code), &json!(field.unwrap_or("body")));
            assert_eq!((status, &said["code"], &said["field"]), expected, "{said}");
            body.extend([&record, b"\n".as_slice()].concat());
        }
        let (status, said) = send(&server, Method::POST, "/records:bulk?max_rejects=0", &body).await;
        assert_eq!((status, &said["code"], &said["upserted"]), (422, &json!("too-many-rejects"), &json!(0)), "{said}");
        let rejects = said["rejects"].as_array().cloned().unwrap_or_default();
        let named = rejects.iter().map(|it| (it["line"].clone(), it["code"].clone(), it["field"].clone()));
        let expected = faults().into_iter().zip(1..);
        let expected = expected.map(|((_, code, field), line)| (json!(line), json!(code), json!(field)));
        assert_eq!(named.collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "{backend:?}");
        // Where lines may be refused, what is good between them is recorded.
        let good = [b"{\"id\": \"good\", \"title\": \"l'eau\"}\n".as_slice(), &body].concat();
        let (status, said) = send(&server, Method::POST, "/records:bulk", &good).await;
        assert_eq!((status, &said["upserted"], &said["rejected"]), (200, &json!(1), &json!(faults().len())), "{said}");
        let (_, shown) = send(&server, Method::GET, "/records/good", b"").await;
        assert_eq!(shown["fields"]["title"], "l'eau", "{shown}");
        assert!(server.stop());
        let events = place.events();
        let of_records = events.iter().filter(|event| event.to_string().contains("RecordUpserted")).count();
        assert_eq!(of_records, 1, "{backend:?}: something of a refused line is in the log");
    }
}
