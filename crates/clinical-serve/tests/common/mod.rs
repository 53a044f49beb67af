//! A server on a port of its own, and a small client.
#![allow(dead_code)] // each test uses a part

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use asclepius::{Asclepius, Calibration, CalibrationOptions, LabelledAnswer};
use clinical_bert::ClinicalBert;
use clinical_serve::{Access, Models, ServeOptions, Server, Stop};
use serde_json::Value;

pub const NOTE: &str = include_str!("../../../../examples/data/note.txt");
pub const QUESTION: &str = "What is the discharge diagnosis?";

pub fn model() -> Arc<Asclepius> {
    static MODEL: OnceLock<Arc<Asclepius>> = OnceLock::new();
    Arc::clone(MODEL.get_or_init(|| Arc::new(Asclepius::embedded().unwrap())))
}

pub fn bert() -> Arc<ClinicalBert> {
    static MODEL: OnceLock<Arc<ClinicalBert>> = OnceLock::new();
    Arc::clone(MODEL.get_or_init(|| Arc::new(ClinicalBert::embedded().unwrap())))
}

pub fn models() -> Models {
    Models::new("demonstration", model())
        .with_tagger(bert())
        .with_embedder("demonstration-bert", bert())
}

/// A server that runs until this is dropped.
pub struct Running {
    pub address: SocketAddr,
    pub log: Arc<Mutex<Vec<Access>>>,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    pub fn new(options: ServeOptions) -> Self {
        let server = Self::loading(options, models);
        while server.get("/health").status == 503 {
            thread::sleep(Duration::from_millis(5));
        }
        server
    }

    pub fn loading(options: ServeOptions, load: impl FnOnce() -> Models + Send + 'static) -> Self {
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&log);
        let options = options
            .with_address(([127, 0, 0, 1], 0).into())
            .with_on_access(move |access| lines.lock().unwrap().push(access.clone()));
        let server = Server::bind(options).unwrap();
        let (address, stop) = (server.address(), server.stopper());
        let run = move || server.run(move || Ok::<_, String>(load())).unwrap();
        Self {
            address,
            log,
            stop,
            thread: Some(thread::spawn(run)),
        }
    }

    /// A server whose calibration shows answers with a score of at least `score`.
    pub fn calibrated(score: f64) -> Self {
        let labelled = [LabelledAnswer { score, right: true }; 200];
        let options = CalibrationOptions::new();
        let calibration = Calibration::choose(&labelled, &options, "test").unwrap();
        let load = || models().with_calibration(calibration);
        let server = Self::loading(ServeOptions::new(), load);
        while server.get("/health").status == 503 {
            thread::sleep(Duration::from_millis(5));
        }
        server
    }

    pub fn stop(&self) {
        self.stop.stop();
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        let patience = Some(Duration::from_secs(120));
        stream.set_read_timeout(patience).unwrap();
        stream
    }

    pub fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], "")
    }

    pub fn post(&self, path: &str, body: &Value) -> Reply {
        self.send("POST", path, &[], &body.to_string())
    }

    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut stream = self.connect();
        stream
            .write_all(request(method, path, headers, body).as_bytes())
            .unwrap();
        Reply::read(&mut BufReader::new(stream))
    }

    /// Waits until the log has a line that fits.
    pub fn logged(&self, fits: impl Fn(&Access) -> bool) -> Access {
        for _ in 0..6000 {
            let log = self.log.lock().unwrap();
            if let Some(access) = log.iter().find(|access| fits(access)) {
                return access.clone();
            }
            drop(log);
            thread::sleep(Duration::from_millis(10));
        }
        panic!("the log has no such line");
    }

    /// The value of a line of `/metrics`.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").text;
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.map_or(0.0, |value| value.trim().parse().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !thread::panicking()
        {
            panic!("the server failed");
        }
    }
}

/// The text of a request; headers that are given replace those that it has by itself.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
    let length = body.len().to_string();
    let mut all = vec![("Host", "localhost"), ("Connection", "close")];
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

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub text: String,
}

impl Reply {
    pub fn read(reader: &mut impl BufRead) -> Self {
        let (status, headers) = read_head(reader);
        let mut reply = Self {
            status,
            headers,
            text: String::new(),
        };
        let mut bytes = Vec::new();
        if reply.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = read_chunk(reader) {
                bytes.extend(chunk);
            }
        } else {
            let length = reply.header("content-length").unwrap_or("0");
            bytes.resize(length.parse().unwrap(), 0);
            reader.read_exact(&mut bytes).unwrap();
        }
        reply.text = String::from_utf8(bytes).unwrap();
        reply
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(given, _)| given == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    #[track_caller]
    pub fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        self.json()
    }

    /// The code of an error with this status.
    #[track_caller]
    pub fn fails(self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.text);
        let error = &self.json()["error"];
        assert!(error["message"].as_str().unwrap().len() > 5);
        assert!(error["type"].is_string());
        error["code"].as_str().unwrap().to_owned()
    }

    /// The data of server-sent events; the last is taken off where it is `[DONE]`.
    pub fn events(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "{}", self.text);
        assert_eq!(self.header("content-type"), Some("text/event-stream"));
        let data = self
            .text
            .lines()
            .filter_map(|line| line.strip_prefix("data: "));
        data.filter(|data| *data != "[DONE]")
            .map(|data| serde_json::from_str(data).unwrap())
            .collect()
    }
}

pub fn read_head(reader: &mut impl BufRead) -> (u16, Vec<(String, String)>) {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let status = line
        .split(' ')
        .nth(1)
        .unwrap_or_else(|| panic!("no status in {line:?}"));
    let status = status.parse().unwrap();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        match line.split_once(':') {
            Some((name, value)) => {
                headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
            None => return (status, headers),
        }
    }
}

/// The next chunk; `None` after the last.
pub fn read_chunk(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let length = usize::from_str_radix(line.trim_end(), 16).ok()?;
    let mut bytes = vec![0; length + 2];
    reader.read_exact(&mut bytes).ok()?;
    bytes.truncate(length);
    (length > 0).then_some(bytes)
}
