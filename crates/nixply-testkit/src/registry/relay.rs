//! One connection through the proxy: requests pass in one direction, answers in the other, and faults in between.

use super::faults::{Fault, Phase};
use super::gate::{Cut, Gate};
use super::http::Answer;
use super::message::{Framing, Head, RequestHead, Stopped, pass_body};
use super::proxy::Shared;
use socket2::SockRef;
use std::io::{self, BufReader, ErrorKind, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// How long a client may stay silent after its connection was ended, before it is closed.
const LINGER_TIMEOUT: Duration = Duration::from_millis(500);

/// Why a connection ends after a request.
enum End {
    /// As HTTP ends it.
    Orderly,
    /// With a reset, as when a machine or a network goes away.
    Reset,
}

/// A connection and what was read of it beyond what is used.
struct Side<'a> {
    reader: BufReader<&'a TcpStream>,
    stream: &'a TcpStream,
}

impl<'a> Side<'a> {
    fn new(stream: &'a TcpStream) -> Self {
        Self {
            reader: BufReader::new(stream),
            stream,
        }
    }
}

/// Serves a client's connection to its end.
pub(super) fn serve(client: &TcpStream, shared: &Shared) -> io::Result<()> {
    client.set_nodelay(true)?;
    let end = relay(client, shared);
    if matches!(end, Ok(End::Orderly)) {
        linger(client)?;
    } else {
        SockRef::from(client).set_linger(Some(Duration::ZERO))?;
    }
    end.map(drop)
}

/// Ends a connection so that the client reads what it was sent. With bytes of the client unread, closing would reset it.
fn linger(mut client: &TcpStream) -> io::Result<()> {
    client.shutdown(Shutdown::Write)?;
    client.set_read_timeout(Some(LINGER_TIMEOUT))?;
    io::copy(&mut client, &mut io::sink()).map(drop)
}

fn relay(client: &TcpStream, shared: &Shared) -> io::Result<End> {
    if shared.fault(Phase::Connect, &RequestHead::none()).is_some() {
        shared.note_refused();
        return Ok(End::Reset);
    }
    // Opened for every client, and used for all its requests: registries see the connections that the client makes.
    let Ok(registry) = TcpStream::connect(&shared.registry_host) else {
        return Ok(End::Reset);
    };
    registry.set_nodelay(true)?;
    let mut client = Side::new(client);
    let mut registry = Side::new(&registry);
    while let Some(request) = Head::read(&mut client.reader)? {
        let phase = Phase::of(request.method(), request.path(), request.query());
        let fault = shared.fault(phase, &request);
        let request_idx = shared.note(phase, &request);
        let mut exchange = Exchange {
            shared,
            request_idx,
            request,
            fault_name: fault.as_ref().map(Fault::name),
        };
        let end = match fault {
            Some(Fault::Answer(answer)) => exchange.answer(&mut client, &answer, false),
            Some(Fault::EarlyAnswer(answer)) => exchange.answer(&mut client, &answer, true),
            Some(Fault::AnswerWith(answer)) => match answer(&exchange.request) {
                Some(answer) => exchange.answer(&mut client, &answer, false),
                None => exchange.pass(&mut client, &mut registry, None),
            },
            fault => exchange.pass(&mut client, &mut registry, fault),
        };
        shared.end();
        if let Some(end) = end? {
            return Ok(end);
        }
    }
    Ok(End::Orderly)
}

/// A request and its answer.
struct Exchange<'a> {
    shared: &'a Shared,
    request_idx: usize,
    request: RequestHead,
    fault_name: Option<String>,
}

impl Exchange<'_> {
    /// Answers in the registry's place.
    fn answer(
        &mut self,
        client: &mut Side<'_>,
        answer: &Answer,
        before_the_body: bool,
    ) -> io::Result<Option<End>> {
        let is_head = self.request.method() == "HEAD";
        if !before_the_body {
            self.swallow_body(client)?;
        }
        answer.write(&mut client.stream, is_head)?;
        let received_bytes = if is_head { 0 } else { answer.body.len() as u64 };
        self.shared.update(self.request_idx, |passed| {
            passed.status = Some(answer.status);
            passed.received_bytes = received_bytes;
            passed.fault = self.fault_name.take();
        });
        let closes = before_the_body || self.request.closes();
        Ok(closes.then_some(End::Orderly))
    }

    fn swallow_body(&self, client: &mut Side<'_>) -> io::Result<()> {
        let framing = self.request.request_framing();
        if self.expects_continue() && framing != Framing::Length(0) {
            client.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let swallowed = pass_body(
            &mut client.reader,
            framing,
            &mut io::sink(),
            &mut Gate::open(),
        );
        swallowed.map_err(|_| ErrorKind::UnexpectedEof.into())
    }

    fn expects_continue(&self) -> bool {
        self.request.header("expect").is_some()
    }

    /// Lets the registry answer, disturbed by a fault.
    fn pass(
        &mut self,
        client: &mut Side<'_>,
        registry: &mut Side<'_>,
        fault: Option<Fault>,
    ) -> io::Result<Option<End>> {
        let mut to_registry = Gate::open();
        let mut to_client = Gate::open();
        let mut change: Box<dyn Fn(&mut Head)> = Box::new(|_| ());
        match fault {
            Some(Fault::ResetRequest { after_bytes: 0 }) => {
                self.note_fault();
                return Ok(Some(End::Reset));
            }
            Some(Fault::ResetRequest { after_bytes }) => {
                to_registry = Gate::cutting(after_bytes, Cut::Reset);
            }
            Some(Fault::StallRequest {
                after_bytes,
                lasting,
            }) => {
                to_registry = Gate::waiting(after_bytes, lasting, Some(Cut::Reset));
            }
            Some(Fault::Slow { bytes_per_second }) => to_registry = Gate::slow(bytes_per_second),
            Some(Fault::ResetAnswer { after_bytes }) => {
                to_client = Gate::cutting(after_bytes, Cut::Reset);
            }
            Some(Fault::TruncateAnswer { after_bytes }) => {
                to_client = Gate::cutting(after_bytes, Cut::Close);
            }
            Some(Fault::StallAnswer {
                after_bytes,
                lasting,
            }) => {
                to_client = Gate::waiting(after_bytes, lasting, None);
            }
            Some(Fault::Change(function)) => {
                self.note_fault();
                change = Box::new(move |head| function(head));
            }
            Some(Fault::RefuseMount) => {
                self.note_fault();
                let path = self.request.path().to_owned();
                self.request.set_target(&path);
            }
            _ => {}
        }
        let end = thread::scope(|scope| {
            let request = &self.request;
            let from_client = &mut client.reader;
            let client = client.stream;
            let into_registry = Counted {
                stream: registry.stream,
                bytes: &self.shared.relayed_bytes,
            };
            let gate = &mut to_registry;
            let body = scope.spawn(move || send_request(request, from_client, into_registry, gate));
            let answer = self.pass_answer(registry, client, &change, &mut to_client);
            if !matches!(answer, Ok(None)) {
                // Nothing goes on here: whoever still sends or reads the rest of the request stops.
                let _ = registry.stream.shutdown(Shutdown::Both);
                let _ = client.shutdown(Shutdown::Read);
            }
            match (body.join(), answer) {
                (Ok(Err(Stopped::Cut(Cut::Reset))) | Err(_), _) => Ok(Some(End::Reset)),
                // Answered before all of the request was read: what is left of it is in the way of the next one.
                (Ok(Err(_)), Ok(None)) => Ok(Some(End::Orderly)),
                (_, answer) => answer,
            }
        });
        self.shared.update(self.request_idx, |passed| {
            passed.sent_bytes = to_registry.passed_bytes();
            passed.received_bytes = to_client.passed_bytes();
            if to_registry.has_acted() || to_client.has_acted() {
                passed.fault = self.fault_name.take();
            }
        });
        end
    }

    /// Passes the registry's answer on.
    fn pass_answer(
        &self,
        registry: &mut Side<'_>,
        mut client: &TcpStream,
        change: &dyn Fn(&mut Head),
        gate: &mut Gate,
    ) -> io::Result<Option<End>> {
        loop {
            let Some(mut head) = Head::read(&mut registry.reader)? else {
                return Ok(Some(End::Reset));
            };
            if head.status() < 200 {
                head.write(&mut client)?;
                continue;
            }
            let framing = head.answer_framing(&self.request);
            // A client that is to get no body is to get no head either.
            if let Err(Stopped::Cut(cut)) = gate.check() {
                return Ok(Some(End::of(cut)));
            }
            let closes = head.closes() || self.request.closes() || framing == Framing::Connection;
            change(&mut head);
            head.write(&mut client)?;
            self.shared.update(self.request_idx, |passed| {
                passed.status = Some(head.status());
            });
            return match pass_body(&mut registry.reader, framing, &mut client, gate) {
                Ok(()) if closes => Ok(Some(End::Orderly)),
                Ok(()) => Ok(None),
                Err(Stopped::Cut(cut)) => Ok(Some(End::of(cut))),
                Err(Stopped::Source | Stopped::Sink) => Ok(Some(End::Reset)),
            };
        }
    }

    fn note_fault(&mut self) {
        let name = self.fault_name.take();
        self.shared
            .update(self.request_idx, |passed| passed.fault = name);
    }
}

impl End {
    fn of(cut: Cut) -> Self {
        match cut {
            Cut::Reset => Self::Reset,
            Cut::Close => Self::Orderly,
        }
    }
}

/// A connection that counts what is written to it.
struct Counted<'a> {
    stream: &'a TcpStream,
    bytes: &'a AtomicU64,
}

impl io::Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.stream.write(bytes)?;
        self.bytes.fetch_add(written as u64, Ordering::SeqCst);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Passes a request on. If that ends early, the registry's connection ends with it.
fn send_request(
    request: &RequestHead,
    from: &mut BufReader<&TcpStream>,
    mut to: Counted<'_>,
    gate: &mut Gate,
) -> Result<(), Stopped> {
    let framing = request.request_framing();
    request.write(&mut to).map_err(|_| Stopped::Sink)?;
    let passed = pass_body(from, framing, &mut to, gate);
    match passed {
        // The registry has answered without reading to the end, or has gone; whoever reads its answer knows.
        Ok(()) | Err(Stopped::Sink) => {}
        Err(_) => drop(to.stream.shutdown(Shutdown::Both)),
    }
    passed
}
