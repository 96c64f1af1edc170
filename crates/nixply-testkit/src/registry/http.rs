//! As much of HTTP/1.1 as a registry's client speaks, for servers of tests.

use std::io::{self, BufRead, Read, Write};

/// A request, as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`, for example.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// What stands behind `?`, or nothing.
    pub query: String,
    /// The headers, with names in lower case, in the order sent.
    pub headers: Vec<(String, String)>,
    /// The body, out of its chunks if it came in chunks.
    pub body: Vec<u8>,
}

impl Request {
    /// The value of the first header of this name, which is to be in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(header, _)| header == name)
            .map(|(_, value)| value.as_str())
    }

    /// The value of a query parameter, with `%3A` decoded: digests need no more.
    #[must_use]
    pub fn query_value(&self, name: &str) -> Option<String> {
        self.query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.replace("%3A", ":"))
    }

    /// Method and path: what most tests compare.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// Reads a request; `None` at the end of the connection.
    pub(super) fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut line = String::new();
        if from.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_whitespace();
        let method = words.next().unwrap_or_default().to_owned();
        let target = words.next().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut request = Self {
            method,
            path: path.to_owned(),
            query: query.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
        };
        loop {
            let mut line = String::new();
            from.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            request
                .headers
                .push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        if request.header("transfer-encoding") == Some("chunked") {
            request.body = read_chunks(from)?;
        } else if let Some(size) = request.header("content-length") {
            let size: u64 = size.parse().map_err(io::Error::other)?;
            from.take(size).read_to_end(&mut request.body)?;
        }
        Ok(Some(request))
    }
}

fn read_chunks(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        from.read_line(&mut line)?;
        let size = u64::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        from.by_ref().take(size).read_to_end(&mut body)?;
        from.read_line(&mut String::new())?;
        if size == 0 {
            return Ok(body);
        }
    }
}

/// An answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers. `Content-Length` is added unless it is among them, to lie about it.
    pub headers: Vec<(String, String)>,
    /// The body; for a `HEAD` only its length is sent.
    pub body: Vec<u8>,
}

impl Answer {
    /// An answer without headers and body.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// The same answer with one more header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same answer with a body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// A refusal in the error form of distribution-spec v1.1.1, "Error Codes".
    #[must_use]
    pub fn refusal(status: u16, code: &str, message: &str) -> Self {
        let form = serde_json::json!({"errors": [{"code": code, "message": message}]});
        Self::status(status).with_body(form.to_string())
    }

    pub(super) fn write(&self, to: &mut impl Write, is_head: bool) -> io::Result<()> {
        let mut head: Vec<u8> = Vec::new();
        write!(head, "HTTP/1.1 {} -\r\n", self.status)?;
        for (name, value) in &self.headers {
            write!(head, "{name}: {value}\r\n")?;
        }
        let is_length = |name: &str| name.eq_ignore_ascii_case("content-length");
        if !self.headers.iter().any(|(name, _)| is_length(name)) {
            write!(head, "Content-Length: {}\r\n", self.body.len())?;
        }
        head.extend_from_slice(b"\r\n");
        if !is_head {
            head.extend_from_slice(&self.body);
        }
        // All at once, so that no answer waits for the acknowledgement of its own head.
        to.write_all(&head)
    }
}
