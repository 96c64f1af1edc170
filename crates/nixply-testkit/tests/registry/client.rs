//! A client that says what it is told and hides nothing.

use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// A test that waits for longer has found a fault of the testkit.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// Sends a request on a connection of its own, and reads until that ends.
pub(crate) fn ask(host: &str, request: &str, headers: &[&str], body: &[u8]) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(host)?;
    let mut text = format!("{request} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for header in headers {
        text.push_str(header);
        text.push_str("\r\n");
    }
    if !body.is_empty() || !request.starts_with("GET") {
        write!(text, "Content-Length: {}\r\n", body.len()).unwrap();
    }
    text.push_str("\r\n");
    stream.write_all(text.as_bytes())?;
    stream.write_all(body)?;
    read_answer(stream)
}

pub(crate) fn read_answer(mut stream: TcpStream) -> io::Result<Answer> {
    let mut bytes = Vec::new();
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.read_to_end(&mut bytes)?;
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Ok(Answer {
        status,
        head,
        body: bytes[end + 4..].to_vec(),
    })
}

/// Opens an upload session and gives its path and query.
pub(crate) fn start_upload(host: &str, repository: &str) -> String {
    let post = format!("POST /v2/{repository}/blobs/uploads/");
    let answer = ask(host, &post, &[], b"").unwrap();
    assert_eq!(answer.status, 202, "{}", answer.head);
    let location = answer.header("location").unwrap();
    let path = location.find("/v2/").unwrap();
    location[path..].to_owned()
}
