//! A small HTTP/1.1 client for programs that measure a server on this machine: one blocking connection, kept open
//! between requests, and the body as it comes. It parses nothing but heads and chunks, so that what is measured is the
//! server; TLS, redirects and compression are not its business.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::ControlFlow;
use std::time::Duration;

/// The most bytes of a line of a head, and lines of it.
const LINE: u64 = 1 << 16;
const LINES: usize = 100;

/// The most bytes of a body or a chunk: a server that says more is broken.
const BODY: usize = 256 << 20;

/// A client of one server; each user has its own.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    patience: Duration,
    open: Option<BufReader<TcpStream>>,
}

/// What a server answered.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// `Retry-After`, in seconds.
    pub retry_after: Option<u64>,
    /// The body; empty where its pieces went to a closure.
    pub body: Vec<u8>,
}

impl Reply {
    /// The body as JSON; null where it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// How a body is delimited.
enum Length {
    Known(usize),
    Chunks,
    ToTheEnd,
}

impl Client {
    /// A client that waits for at most `patience` for each piece.
    #[must_use]
    pub fn new(address: SocketAddr, patience: Duration) -> Self {
        Self {
            address,
            patience,
            open: None,
        }
    }

    /// A GET.
    ///
    /// # Errors
    ///
    /// What goes wrong with the connection, and an answer that is not HTTP.
    pub fn get(&mut self, path: &str) -> io::Result<Reply> {
        self.ask("GET", path, "")
    }

    /// A POST of JSON.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn post(&mut self, path: &str, body: &str) -> io::Result<Reply> {
        self.ask("POST", path, body)
    }

    fn ask(&mut self, method: &str, path: &str, body: &str) -> io::Result<Reply> {
        let mut bytes = Vec::new();
        let mut reply = self.stream(method, path, body, |piece| {
            bytes.extend_from_slice(piece);
            ControlFlow::Continue(())
        })?;
        reply.body = bytes;
        Ok(reply)
    }

    /// A request whose answer's body goes to a closure, piece by piece. After a break the connection is closed.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn stream(
        &mut self,
        method: &str,
        path: &str,
        body: &str,
        on_piece: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> io::Result<Reply> {
        let text = request(method, path, &[], body);
        // A server may close what was silent for long: that is noticed here, and tried once more.
        let again = self.open.is_some();
        let head = match self.exchange(text.as_bytes()) {
            Err(error) if again && error.kind() != ErrorKind::TimedOut => {
                self.open = None;
                self.exchange(text.as_bytes())
            }
            head => head,
        };
        let read = head.and_then(|head| self.body(head, on_piece));
        if read.is_err() {
            self.open = None;
        }
        read
    }

    /// Sends bytes as they are, on a connection of their own, which is returned.
    ///
    /// # Errors
    ///
    /// What goes wrong with the connection.
    pub fn raw(&self, bytes: &[u8]) -> io::Result<TcpStream> {
        let mut stream = self.connect()?;
        stream.write_all(bytes)?;
        Ok(stream)
    }

    /// Reads the answer that comes on a connection.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn answer(&self, stream: TcpStream) -> io::Result<Reply> {
        let mut client = Self::new(self.address, self.patience);
        let mut reader = BufReader::new(stream);
        let head = read_head(&mut reader)?;
        client.open = Some(reader);
        let mut bytes = Vec::new();
        let mut reply = client.body(head, |piece| {
            bytes.extend_from_slice(piece);
            ControlFlow::Continue(())
        })?;
        reply.body = bytes;
        Ok(reply)
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(self.patience))?;
        stream.set_write_timeout(Some(self.patience))?;
        Ok(stream)
    }

    fn exchange(&mut self, request: &[u8]) -> io::Result<(Reply, Length)> {
        let mut reader = match self.open.take() {
            Some(open) => open,
            None => BufReader::new(self.connect()?),
        };
        reader.get_mut().write_all(request)?;
        let head = read_head(&mut reader)?;
        self.open = Some(reader);
        Ok(head)
    }

    fn body(
        &mut self,
        (reply, length): (Reply, Length),
        mut on_piece: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> io::Result<Reply> {
        let Some(mut reader) = self.open.take() else {
            return Err(ErrorKind::NotConnected.into());
        };
        match length {
            Length::Known(length) if length <= BODY => {
                let mut bytes = vec![0; length];
                reader.read_exact(&mut bytes)?;
                if on_piece(&bytes).is_continue() {
                    self.open = Some(reader);
                }
            }
            Length::Known(_) => return Err(broken("a body too large")),
            Length::Chunks => {
                while let Some(chunk) = read_chunk(&mut reader)? {
                    if on_piece(&chunk).is_break() {
                        return Ok(reply);
                    }
                }
                self.open = Some(reader);
            }
            Length::ToTheEnd => {
                let mut bytes = Vec::new();
                reader.take(BODY as u64).read_to_end(&mut bytes)?;
                let _ = on_piece(&bytes);
            }
        }
        Ok(reply)
    }
}

/// The text of a request; headers that are given replace those that it has by itself.
#[must_use]
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
    let length = body.len().to_string();
    let mut all = vec![("Host", "127.0.0.1")];
    if method == "POST" {
        all.push(("Content-Type", "application/json"));
        all.push(("Content-Length", &length));
    }
    all.retain(|(name, _)| !headers.iter().any(|(given, _)| given == name));
    all.extend(headers);
    let mut text = format!("{method} {path} HTTP/1.1\r\n");
    for (name, value) in all {
        text += &format!("{name}: {value}\r\n");
    }
    text + "\r\n" + body
}

fn broken(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

fn line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    reader.take(LINE).read_line(&mut line)?;
    match line.pop() {
        Some('\n') => Ok(line.trim_end().to_owned()),
        _ => Err(ErrorKind::UnexpectedEof.into()),
    }
}

fn read_head(reader: &mut impl BufRead) -> io::Result<(Reply, Length)> {
    let status = line(reader)?;
    let status = status
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split(' ').nth(1)?.parse().ok())
        .ok_or_else(|| broken("no status"))?;
    let mut reply = Reply {
        status,
        ..Reply::default()
    };
    let mut length = Length::ToTheEnd;
    for _ in 0..LINES {
        let line = line(reader)?;
        let Some((name, value)) = line.split_once(':') else {
            return Ok((reply, length));
        };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => {
                let known = value.parse().map_err(|_| broken("no length"))?;
                length = Length::Known(known);
            }
            "transfer-encoding" => length = Length::Chunks,
            "retry-after" => reply.retry_after = value.parse().ok(),
            _ => {}
        }
    }
    Err(broken("too many headers"))
}

/// The next chunk; `None` after the last.
fn read_chunk(reader: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let head = line(reader)?;
    let length = head.split(';').next().unwrap_or_default();
    let length = usize::from_str_radix(length.trim(), 16).map_err(|_| broken("no chunk"))?;
    if length > BODY {
        return Err(broken("a chunk too large"));
    }
    let mut bytes = vec![0; length + 2];
    reader.read_exact(&mut bytes)?;
    bytes.truncate(length);
    Ok((length > 0).then_some(bytes))
}

/// The data of server-sent events, which may be cut anywhere.
#[derive(Debug, Default)]
pub struct Events {
    held: Vec<u8>,
}

impl Events {
    /// Adds a piece, and gives the data of each event that is complete.
    pub fn push(&mut self, piece: &[u8]) -> Vec<String> {
        self.held.extend_from_slice(piece);
        let mut data = Vec::new();
        while let Some(at) = self.held.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.held.drain(..=at).collect();
            let line = String::from_utf8_lossy(&line);
            if let Some(text) = line.strip_prefix("data:") {
                data.push(text.trim().to_owned());
            }
        }
        data
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// A server that answers with these bytes, a connection each.
    fn server(answers: &'static [&'static str]) -> Client {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut head = BufReader::new(stream.try_clone().unwrap());
                while line(&mut head).is_ok_and(|line| !line.is_empty()) {}
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Client::new(address, Duration::from_secs(60))
    }

    #[test]
    fn bodies_by_length_by_chunks_and_to_the_end() {
        let mut client = server(&[
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.1 429 Busy\r\nRetry-After: 7\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x\r\nc\r\n0\r\n\r\n",
            "HTTP/1.0 200 OK\r\n\r\nabc",
        ]);
        for (status, retry_after) in [(200, None), (429, Some(7)), (200, None)] {
            // The connection was closed after each, which costs one more try and is not seen.
            let reply = client.get("/").unwrap();
            assert_eq!((reply.status, reply.retry_after), (status, retry_after));
            assert_eq!(reply.body, b"abc");
        }
    }

    #[test]
    fn what_is_not_http_is_an_error() {
        let mut client = server(&[
            "",
            "SSH-2.0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        ]);
        for _ in 0..6 {
            assert!(client.get("/").is_err());
        }
    }

    #[test]
    fn events_may_be_cut_anywhere() {
        let text = "data: {\"a\": \"é\"}\n\n: keep-alive\n\ndata: [DONE]\n\n";
        for size in 1..text.len() {
            let mut events = Events::default();
            let data: Vec<String> = text
                .as_bytes()
                .chunks(size)
                .flat_map(|piece| events.push(piece))
                .collect();
            assert_eq!(data, ["{\"a\": \"é\"}", "[DONE]"]);
        }
    }
}
