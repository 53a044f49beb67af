//! The server as a process of its own.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clinical_bench::http::Client;
use tempfile::TempDir;

/// How long it may take to be up, and to end.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Served {
    pub address: SocketAddr,
    child: Child,
    folder: TempDir,
}

impl Served {
    /// Starts it, and waits until it answers.
    pub fn start(program: Option<&Path>, slots: usize, kept_notes: u64) -> Result<Self> {
        let own = std::env::current_exe()?;
        let beside = own.with_file_name("examples").join("serve");
        let program = program.unwrap_or(&beside);
        let folder = tempfile::tempdir()?;
        let errors = File::create(folder.path().join("errors"))?;
        let mut child = Command::new(program)
            .args(["--listen", "127.0.0.1:0", "--quiet"])
            .args(["--slots", &slots.to_string()])
            .args(["--kept-notes", &kept_notes.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .with_context(|| {
                format!(
                    "cannot start {}: see scripts/soak_server",
                    program.display()
                )
            })?;
        let mut line = String::new();
        let out = child.stdout.take().context("no output")?;
        BufReader::new(out).read_line(&mut line)?;
        let address = line.trim().strip_prefix("http://");
        let address = address.and_then(|rest| rest.trim_end_matches('/').parse().ok());
        let mut served = Self {
            address: address.context("the server told no address")?,
            child,
            folder,
        };
        let mut client = Client::new(served.address, PATIENCE);
        let start = Instant::now();
        while !client.get("/health").is_ok_and(|reply| reply.status == 200) {
            served.check_runs()?;
            ensure!(start.elapsed() < PATIENCE, "the server is not up");
            thread::sleep(Duration::from_millis(20));
        }
        Ok(served)
    }

    fn errors(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("errors")).unwrap_or_default()
    }

    /// It has not ended.
    pub fn check_runs(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the server ended, {status}: {}", self.errors()),
        }
    }

    /// Its memory, where Linux tells.
    pub fn memory_mib(&self) -> Option<f64> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
        Some(kib / 1024.0)
    }

    /// Ends it as a system does: by SIGTERM, after which it ends by itself and without a word.
    pub fn end(mut self) -> Result<()> {
        let id = self.child.id().to_string();
        let told = Command::new("kill").args(["-TERM", &id]).status()?;
        ensure!(told.success(), "the server cannot be told to end");
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            ensure!(start.elapsed() < PATIENCE, "the server does not end");
            thread::sleep(Duration::from_millis(20));
        };
        let errors = self.errors();
        ensure!(status.success(), "the server ended with {status}: {errors}");
        ensure!(
            errors.is_empty(),
            "the server had something to say: {errors}"
        );
        Ok(())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Nothing where it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The gauges, without the part of their names that all have.
pub fn metrics(client: &mut Client) -> Result<BTreeMap<String, f64>> {
    let reply = client.get("/metrics")?;
    ensure!(reply.status == 200, "/metrics: {}", reply.status);
    let text = String::from_utf8(reply.body)?;
    let lines = text.lines().filter_map(|line| {
        let (name, value) = line.strip_prefix("clinical_serve_")?.split_once(' ')?;
        Some((name.to_owned(), value.trim().parse().ok()?))
    });
    Ok(lines.collect())
}
