//! HTTP/1.1 as a proxy sees it: heads that can be changed, and bodies that pass by (RFC 9112).

use super::gate::{Cut, Gate};
use std::io::{self, BufRead, Write};

/// How much of a body is passed on at once.
const PIECE_BYTES: usize = 16 << 10;

/// The first line of a message and its headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    first_line: String,
    headers: Vec<(String, String)>,
}

/// The head of a request.
pub type RequestHead = Head;

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
    /// With the connection.
    Connection,
}

impl Head {
    /// What stands for a request where there is only a connection.
    pub(super) fn none() -> Self {
        Self {
            first_line: String::new(),
            headers: Vec::new(),
        }
    }

    /// Reads a head; `None` at the end of the connection.
    pub(super) fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let first_line = read_line(from)?;
        if first_line.is_empty() {
            return Ok(None);
        }
        let mut headers = Vec::new();
        loop {
            let line = read_line(from)?;
            if line.is_empty() {
                return Ok(Some(Self {
                    first_line,
                    headers,
                }));
            }
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    /// Writes the head as it is.
    pub(super) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let mut bytes = format!("{}\r\n", self.first_line).into_bytes();
        for (name, value) in &self.headers {
            write!(bytes, "{name}: {value}\r\n")?;
        }
        bytes.extend_from_slice(b"\r\n");
        to.write_all(&bytes)
    }

    fn word(&self, word_idx: usize) -> &str {
        let mut words = self.first_line.split(' ');
        words.nth(word_idx).unwrap_or_default()
    }

    /// A request's method.
    #[must_use]
    pub fn method(&self) -> &str {
        self.word(0)
    }

    /// A request's path and query.
    #[must_use]
    pub fn target(&self) -> &str {
        self.word(1)
    }

    /// A request's path.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target().split('?').next().unwrap_or_default()
    }

    /// What stands behind `?` in a request's target, or nothing.
    #[must_use]
    pub fn query(&self) -> &str {
        self.target().split_once('?').map_or("", |(_, query)| query)
    }

    /// An answer's status, or 0.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.word(1).parse().unwrap_or(0)
    }

    /// Gives an answer another status.
    pub fn set_status(&mut self, status: u16) {
        self.first_line = format!("HTTP/1.1 {status} -");
    }

    /// Gives a request another path and query.
    pub(super) fn set_target(&mut self, target: &str) {
        self.first_line = format!("{} {target} HTTP/1.1", self.method());
    }

    /// The value of the first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let header = headers.find(|(header, _)| header.eq_ignore_ascii_case(name));
        header.map(|(_, value)| value.as_str())
    }

    /// Replaces all headers of this name by one.
    pub fn set(&mut self, name: &str, value: &str) {
        self.remove(name);
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    /// Removes all headers of this name.
    pub fn remove(&mut self, name: &str) {
        self.headers
            .retain(|(header, _)| !header.eq_ignore_ascii_case(name));
    }

    fn stated_framing(&self) -> Option<Framing> {
        let chunked = self.header("transfer-encoding");
        if chunked.is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            return Some(Framing::Chunked);
        }
        let length = self.header("content-length")?.parse().ok()?;
        Some(Framing::Length(length))
    }

    /// How the body of a request ends.
    pub(super) fn request_framing(&self) -> Framing {
        self.stated_framing().unwrap_or(Framing::Length(0))
    }

    /// How the body of the answer to a request ends.
    pub(super) fn answer_framing(&self, request: &RequestHead) -> Framing {
        let has_none = request.method() == "HEAD" || matches!(self.status(), 100..200 | 204 | 304);
        match self.stated_framing() {
            _ if has_none => Framing::Length(0),
            Some(framing) => framing,
            None => Framing::Connection,
        }
    }

    /// Whether the connection ends with this message.
    pub(super) fn closes(&self) -> bool {
        let value = self.header("connection");
        value.is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

fn read_line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

/// Why a body did not pass.
#[derive(Debug)]
pub(super) enum Stopped {
    /// The gate wants it.
    Cut(Cut),
    /// The body ended before its end.
    Source,
    /// It cannot be passed on.
    Sink,
}

/// Passes a body on through a gate.
pub(super) fn pass_body(
    from: &mut impl BufRead,
    framing: Framing,
    to: &mut impl Write,
    gate: &mut Gate,
) -> Result<(), Stopped> {
    gate.check()?;
    match framing {
        Framing::Length(length) => pass(from, Some(length), to, gate, false),
        Framing::Connection => pass(from, None, to, gate, false),
        Framing::Chunked => loop {
            let line = read_line(from).map_err(|_| Stopped::Source)?;
            let size = line.split(';').next().unwrap_or_default();
            let size = u64::from_str_radix(size, 16).map_err(|_| Stopped::Source)?;
            pass(from, Some(size), to, gate, true)?;
            // Behind a chunk, or behind the last one, which has no trailers here.
            read_line(from).map_err(|_| Stopped::Source)?;
            if size == 0 {
                return to.write_all(b"0\r\n\r\n").map_err(|_| Stopped::Sink);
            }
        },
    }
}

fn pass(
    from: &mut impl BufRead,
    length: Option<u64>,
    to: &mut impl Write,
    gate: &mut Gate,
    in_chunks: bool,
) -> Result<(), Stopped> {
    let mut left = length.unwrap_or(u64::MAX);
    while left > 0 {
        let buffer = from.fill_buf().map_err(|_| Stopped::Source)?;
        if buffer.is_empty() {
            return match length {
                Some(_) => Err(Stopped::Source),
                None => Ok(()),
            };
        }
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE_BYTES);
        let n = gate.admit(buffer.len().min(most));
        let piece = &buffer[..n];
        let written = if in_chunks {
            let mut chunk = format!("{n:x}\r\n").into_bytes();
            chunk.extend_from_slice(piece);
            chunk.extend_from_slice(b"\r\n");
            to.write_all(&chunk)
        } else {
            to.write_all(piece)
        };
        written.map_err(|_| Stopped::Sink)?;
        from.consume(n);
        left -= n as u64;
        gate.passed(n)?;
    }
    Ok(())
}
