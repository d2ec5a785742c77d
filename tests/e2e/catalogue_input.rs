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

/// Sends a body of another format to the records of the collection.
async fn post(server: &Server, format: &str, more: &str, body: &[u8]) -> (u16, Value) {
    let url = format!("{}{COLLECTION}/records:bulk{more}", server.api.base);
    let request = Client::new().post(url).header("content-type", format).body(body.to_vec());
    let answer = request.send().await.unwrap_or_else(|error| panic!("{more}: {error}"));
    let status = answer.status().as_u16();
    (status, serde_json::from_str(&answer.text().await.unwrap_or_default()).unwrap_or_default())
}

/// A body with a header, of which only the record `good` can be stored; and the line, code and field of each of the
/// others. Where no field is named here, none is compared.
struct Table {
    format: &'static str,
    body: Vec<u8>,
    rejects: Vec<(u64, &'static str, Option<&'static str>)>,
}

fn csv() -> Table {
    let lines: [&[u8]; 10] = [
        b"id,title,width",
        b"c2,a\0b,1",
        b"c3,\xff\xfe,2",
        &[b"c4,".as_slice(), &b"x".repeat(2 << 20), b",3"].concat(),
        b"c5,a,wide",
        b"c6,\"a\nb\"c,4",
        b"c8,a,1,b",
        b"good,l'eau,7",
        b"c\0,a,1",
        b"c11,\"open",
    ];
    let rejects = vec![
        (2, "nul-character", Some("title")),
        (3, "not-utf-8", None),
        (4, "line-too-long", None),
        (5, "not-an-integer", Some("width")),
        (6, "stray-quote", None),
        (8, "column-count", None),
        (10, "nul-character", Some("id")),
        (11, "unclosed-quote", None),
    ];
    Table { format: "text/csv", body: lines.join(&b'\n'), rejects }
}

fn tabs() -> Table {
    let lines: [&[u8]; 10] = [
        b"id\ttitle\twidth",
        b"t2\ta\0b\t1",
        b"t3\ta\\000b\t1",
        b"t4\t\xff\xfe\t2",
        b"t5\t\\xff\t2",
        &[b"t6\t".as_slice(), &b"x".repeat(2 << 20), b"\t3"].concat(),
        b"t7\ta\twide",
        b"t8\ta\t1\tb",
        b"good\tl'eau\t7",
        b"t10\topen\\",
    ];
    let rejects = vec![
        (2, "nul-character", Some("title")),
        (3, "nul-character", Some("title")),
        (4, "not-utf-8", None),
        (5, "not-utf-8", None),
        (6, "line-too-long", None),
        (7, "not-an-integer", Some("width")),
        (8, "column-count", None),
        (10, "unclosed-quote", None),
    ];
    Table { format: "text/tab-separated-values", body: lines.join(&b'\n'), rejects }
}

/// Checks that an answer names each line that is refused, and what of it.
fn check_rejects(said: &Value, table: &Table, case: &str) {
    let rejects = said["rejects"].as_array().cloned().unwrap_or_default();
    assert_eq!(rejects.len(), table.rejects.len(), "{case}: {said}");
    for (reject, (line, code, field)) in rejects.iter().zip(&table.rejects) {
        assert_eq!((&reject["line"], &reject["code"]), (&json!(line), &json!(code)), "{case}: {reject}");
        if field.is_some() {
            assert_eq!(reject["field"], json!(field), "{case}: {reject}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_no_record_can_be_made_of_are_refused_by_line_code_and_field_and_are_not_in_the_log() {
    for backend in [Backend::Embedded, Backend::Distributed] {
        let place = Place::new("inputrows", backend);
        let server = Server::start(&place);
        define(&server.api, "image", IMAGES).await;
        for table in [csv(), tabs()] {
            let case = format!("{}, {backend:?}", table.format);
            let (status, said) = post(&server, table.format, "?max_rejects=0", &table.body).await;
            let expected = (422, &json!("too-many-rejects"), &json!(0));
            assert_eq!((status, &said["code"], &said["upserted"]), expected, "{case}: {said}");
            check_rejects(&said, &table, &case);
        }
        for header in [b"id,title,title\na,b,c\n".as_slice(), b"id,ti\xfftle\na,b\n", &b"x".repeat(2 << 20), b"", b"\n"]
        {
            let (status, said) = post(&server, "text/csv", "", header).await;
            assert_eq!((status, &said["field"]), (400, &json!("body")), "{backend:?}: {said}");
        }
        // Where lines may be refused, what is good between them is recorded, once.
        for (table, upserted) in [(csv(), 1), (tabs(), 0)] {
            let (status, said) = post(&server, table.format, "", &table.body).await;
            assert_eq!((status, &said["upserted"]), (200, &json!(upserted)), "{backend:?}: {said}");
            check_rejects(&said, &table, table.format);
        }
        let nested = b"{\"id\": \"twice\", \"id\": \"other\"}\n".as_slice();
        let (status, said) = send(&server, Method::POST, "/records:bulk", nested).await;
        let reject = (&said["rejects"][0]["line"], &said["rejects"][0]["code"], &said["rejects"][0]["field"]);
        assert_eq!((status, reject), (200, (&json!(1), &json!("duplicate-key"), &json!("id"))), "{said}");
        assert!(server.stop());
        let events: Vec<String> = place.events().iter().map(Value::to_string).collect();
        let of_records: Vec<&String> = events.iter().filter(|event| event.contains("RecordUpserted")).collect();
        assert!(of_records.len() == 1 && of_records[0].contains("good"), "{backend:?}: {of_records:?}");
    }
}
