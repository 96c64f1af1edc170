//! Threads that answer connections.

use super::http::{Answer, Request};
use std::io::{self, BufReader};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

/// A free loopback port with somebody behind it. Its threads end with the test process: they hold nothing but memory
/// and sockets.
#[derive(Debug)]
pub(super) struct Server {
    address: SocketAddr,
}

impl Server {
    /// Listens, and gives every connection to `serve` in a thread of its own.
    #[expect(clippy::expect_used, reason = "a test without its server has to stop")]
    pub(super) fn start(
        serve: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let serve = Arc::new(serve);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serve = Arc::clone(&serve);
                // A connection that breaks is the client's business, and often the test's purpose.
                thread::spawn(move || drop(serve(stream)));
            }
        });
        Self { address }
    }

    /// `127.0.0.1` and the port.
    pub(super) fn host(&self) -> String {
        self.address.to_string()
    }
}

/// Answers the requests of a connection one after another until its end.
pub(super) fn answer_all(stream: &TcpStream, answer: impl Fn(Request) -> Answer) -> io::Result<()> {
    let mut from = BufReader::new(stream);
    let mut to = stream;
    while let Some(request) = Request::read(&mut from)? {
        let is_head = request.method == "HEAD";
        let is_last = request.header("connection") == Some("close");
        answer(request).write(&mut to, is_head)?;
        if is_last {
            break;
        }
    }
    stream.shutdown(Shutdown::Both)
}
