//! Lets other machines compute on this machine's device.
//!
//! `cargo run --release --features remote --example device_server -- --device cuda --listen 0.0.0.0:3000`, and there
//! `CLINICAL_DEVICE_TOKEN=... answer --device ws://HOST:3000 ...`. Traffic is not encrypted: docs/gpu.md.

mod common;

use std::net::TcpListener;
use std::process::ExitCode;

use anyhow::{Context, Result};
use burn::server::{RemoteServer, TokenAuthorizer, WebSocketTransport};
use clap::Parser;

/// Let other machines compute on this machine's devices, until Ctrl+C
#[derive(Parser)]
struct Arguments {
    /// The devices to offer, all of one kind: cpu, ndarray, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    device: Vec<String>,
    /// Address and port to listen on; the default is for this machine alone
    #[arg(long, default_value = "127.0.0.1:3000")]
    listen: String,
    /// The token that clients must know
    #[arg(long, env = clinical_kernels::TOKEN_VARIABLE, hide_env_values = true)]
    token: String,
    /// Threads of the CPU backend; 0 means all cores
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

fn main() -> ExitCode {
    common::exit(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<()> {
    clinical_kernels::keep_freed_memory();
    clinical_kernels::set_threads(arguments.threads)?;
    let devices = arguments
        .device
        .iter()
        .map(|name| clinical_kernels::parse(name))
        .collect::<Result<Vec<_>, _>>()?;
    let listener = TcpListener::bind(&arguments.listen)
        .with_context(|| format!("cannot listen on {}", arguments.listen))?;
    eprintln!("listening on {}, Ctrl+C ends", listener.local_addr()?);
    let token = TokenAuthorizer::new(arguments.token.clone()).context("the token")?;
    RemoteServer::new(devices)
        .with_authorizer(token)
        .serve(WebSocketTransport::from_listener(listener))?;
    Ok(())
}
