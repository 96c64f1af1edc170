//! A registry that only counts: it takes uploads, throws their bytes away, and remembers how many they were.
//!
//! What a push into it takes is what the client takes: this hashes nothing, writes nothing and has the system throw bodies away
//! without copying them (`MSG_TRUNC`, tcp(7)). It runs in a process of its own (`cargo xtask counting-registry`), so that its work is not in the figures of the client. It believes
//! whatever digest it is told; images cannot be pulled from it, but manifests and the existence of blobs can be asked for.

use anyhow::{Context, Result, bail};
use rustix::net::{RecvFlags, recv};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// How much is read ahead of what is wanted: the lines between the parts of a body are short, and what is read with them is
/// copied.
const AHEAD_BYTES: usize = 512;

/// How much of a body is thrown away at once.
const SKIP_BYTES: usize = 1 << 20;

/// What was pushed.
#[derive(Debug, Default)]
struct Contents {
    /// The sizes of blobs, by digest; in all repositories alike.
    blobs: BTreeMap<String, u64>,
    /// Media type and bytes of manifests, by path.
    manifests: BTreeMap<String, (String, Vec<u8>)>,
    /// The bytes that came in so far in an upload session.
    sessions: BTreeMap<String, u64>,
}

#[derive(Debug, Default)]
struct Registry {
    contents: Mutex<Contents>,
    sessions_started: AtomicU64,
}

/// A request without its body.
struct Head {
    method: String,
    path: String,
    query: String,
    content_type: String,
    body: BodyLength,
}

enum BodyLength {
    Known(u64),
    Chunked,
}

struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

/// Serves on a free port of the loopback interface, which it prints, until the process is ended.
pub(crate) fn serve() -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    crate::say::say(listener.local_addr()?.port());
    let registry = Arc::new(Registry::default());
    loop {
        let (stream, _) = listener.accept()?;
        let registry = Arc::clone(&registry);
        // A client that goes away in the middle ends its own thread and nothing else.
        thread::spawn(move || registry.converse(&stream));
    }
}

impl Registry {
    fn converse(&self, stream: &TcpStream) -> Result<()> {
        stream.set_nodelay(true)?;
        let mut from = BufReader::with_capacity(AHEAD_BYTES, stream);
        while let Some(head) = read_head(&mut from)? {
            let wants_body = head.path.contains("/manifests/");
            let (size_bytes, body) = read_body(&mut from, &head.body, wants_body)?;
            let answer = self.answer(&head, size_bytes, body);
            write_answer(stream, &answer, head.method == "HEAD")?;
        }
        Ok(())
    }

    fn answer(&self, head: &Head, size_bytes: u64, body: Vec<u8>) -> Answer {
        let mut contents = self.lock();
        let parts: Vec<&str> = head.path.split('/').collect();
        match (head.method.as_str(), parts.as_slice()) {
            ("GET", ["", "v2", ""]) => Answer::empty(200),
            ("GET" | "HEAD", [.., "manifests", _]) => match contents.manifests.get(&head.path) {
                Some((media_type, bytes)) => Answer {
                    status: 200,
                    headers: vec![("Content-Type", media_type.clone())],
                    body: bytes.clone(),
                },
                None => Answer::empty(404),
            },
            ("PUT", [.., "manifests", _]) => {
                let manifest = (head.content_type.clone(), body);
                contents.manifests.insert(head.path.clone(), manifest);
                Answer::empty(201).with("Location", head.path.clone())
            }
            ("HEAD", [.., "blobs", digest]) => match contents.blobs.get(*digest) {
                Some(size_bytes) => {
                    Answer::empty(200).with("Content-Length", size_bytes.to_string())
                }
                None => Answer::empty(404),
            },
            ("POST", [.., "blobs", "uploads", ""]) => {
                let mounted = head
                    .parameter("mount")
                    .filter(|digest| contents.blobs.contains_key(digest));
                if let Some(digest) = mounted {
                    let blobs = head.path.trim_end_matches("uploads/");
                    return Answer::empty(201).with("Location", format!("{blobs}{digest}"));
                }
                let number = self.sessions_started.fetch_add(1, Ordering::Relaxed);
                Answer::empty(202).with("Location", format!("{}{number}", head.path))
            }
            ("PATCH", [.., "uploads", _]) => {
                let so_far = contents.sessions.entry(head.path.clone()).or_default();
                *so_far += size_bytes;
                let range = format!("0-{}", so_far.saturating_sub(1));
                Answer::empty(202)
                    .with("Location", head.path.clone())
                    .with("Range", range)
            }
            ("PUT", [.., "uploads", _]) => {
                let before = contents.sessions.remove(&head.path).unwrap_or(0);
                let Some(digest) = head.parameter("digest") else {
                    return Answer::empty(400);
                };
                contents.blobs.insert(digest, before + size_bytes);
                Answer::empty(201).with("Location", head.path.clone())
            }
            _ => Answer::empty(404),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Head {
    /// A parameter of the query, with `%3A` decoded: digests need no more.
    fn parameter(&self, name: &str) -> Option<String> {
        let mut pairs = self
            .query
            .split('&')
            .filter_map(|pair| pair.split_once('='));
        let (_, value) = pairs.find(|(key, _)| *key == name)?;
        Some(value.replace("%3A", ":"))
    }
}

impl Answer {
    fn empty(status: u16) -> Answer {
        Answer {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    fn with(mut self, name: &'static str, value: String) -> Answer {
        self.headers.push((name, value));
        self
    }
}

/// `None` at the end of the connection.
fn read_head(from: &mut impl BufRead) -> Result<Option<Head>> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let method = words.next().unwrap_or_default().to_owned();
    let target = words.next().context("a request names a target")?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut head = Head {
        method,
        path: path.to_owned(),
        query: query.to_owned(),
        content_type: String::new(),
        body: BodyLength::Known(0),
    };
    loop {
        let mut line = String::new();
        from.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            return Ok(Some(head));
        };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => head.body = BodyLength::Known(value.parse()?),
            "transfer-encoding" => head.body = BodyLength::Chunked,
            "content-type" => value.clone_into(&mut head.content_type),
            _ => {}
        }
    }
}

/// Reads a body to its end; tells how long it was, and keeps it where that is wanted.
fn read_body(
    from: &mut BufReader<&TcpStream>,
    length: &BodyLength,
    keep: bool,
) -> Result<(u64, Vec<u8>)> {
    let mut kept = Vec::new();
    // The system writes nothing into it.
    let mut nowhere = vec![0; SKIP_BYTES];
    match length {
        BodyLength::Known(size_bytes) => {
            if keep {
                from.take(*size_bytes).read_to_end(&mut kept)?;
            } else {
                skip(from, *size_bytes, &mut nowhere)?;
            }
            Ok((*size_bytes, kept))
        }
        BodyLength::Chunked => {
            let mut total_bytes = 0;
            loop {
                let mut line = String::new();
                from.read_line(&mut line)?;
                let size_bytes = u64::from_str_radix(line.trim(), 16)?;
                if keep {
                    from.take(size_bytes).read_to_end(&mut kept)?;
                } else {
                    skip(from, size_bytes, &mut nowhere)?;
                }
                total_bytes += size_bytes;
                from.read_line(&mut line)?;
                if size_bytes == 0 {
                    return Ok((total_bytes, kept));
                }
            }
        }
    }
}

fn skip(from: &mut BufReader<&TcpStream>, mut left_bytes: u64, nowhere: &mut [u8]) -> Result<()> {
    let here = from.buffer().len();
    let skipped = usize::try_from(left_bytes).map_or(here, |left| left.min(here));
    from.consume(skipped);
    left_bytes -= skipped as u64;
    while left_bytes > 0 {
        let want = usize::try_from(left_bytes).map_or(SKIP_BYTES, |left| left.min(SKIP_BYTES));
        let flags = RecvFlags::TRUNC | RecvFlags::WAITALL;
        let (_, skipped) = recv(*from.get_ref(), &mut nowhere[..want], flags)?;
        if skipped == 0 {
            bail!("the connection ended inside a body");
        }
        left_bytes -= skipped as u64;
    }
    Ok(())
}

/// Writes all at once, so that no answer waits for the acknowledgement of its own head.
fn write_answer(mut to: &TcpStream, answer: &Answer, is_head: bool) -> Result<()> {
    let mut bytes = format!("HTTP/1.1 {} -\r\n", answer.status).into_bytes();
    for (name, value) in &answer.headers {
        write!(bytes, "{name}: {value}\r\n")?;
    }
    if !answer
        .headers
        .iter()
        .any(|(name, _)| *name == "Content-Length")
    {
        write!(bytes, "Content-Length: {}\r\n", answer.body.len())?;
    }
    bytes.extend_from_slice(b"\r\n");
    if !is_head {
        bytes.extend_from_slice(&answer.body);
    }
    Ok(to.write_all(&bytes)?)
}
