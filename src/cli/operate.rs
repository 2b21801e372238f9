//! How the operator's commands are carried out: by the running proxy if there is one over this data directory, else on
//! the store itself.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::{Failure, log};
use crate::config::{Config, Flags};
use crate::control::{self, Answer, Operator, Request};
use crate::server;

/// The form of the answer.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Output {
    /// Answer with one line of JSON, also where it fails (docs/configuration.md has the fields)
    #[arg(long, global = true)]
    pub json: bool,
}

/// Carries out a command, and prints the answer.
pub fn operate(
    flags: &Flags,
    output: Output,
    request: impl FnOnce() -> Result<Request, Failure>,
) -> Result<ExitCode, Failure> {
    let (answer, code) = match ask(flags, request) {
        Ok(answer) => (answer, Failure::RUNTIME),
        Err(failure) => (Answer::failed(failure.message), failure.code),
    };
    let code = if answer.ok { ExitCode::SUCCESS } else { ExitCode::from(code) };
    if output.json {
        let text = serde_json::to_string(&answer).map_err(Failure::runtime)?;
        print(format!("{text}\n").as_bytes())?;
    } else if answer.ok {
        print(answer.to_string().as_bytes())?;
    } else {
        eprintln!("minimix-proxy: {}", answer.to_string().trim_end());
    }
    Ok(code)
}

fn ask(flags: &Flags, request: impl FnOnce() -> Result<Request, Failure>) -> Result<Answer, Failure> {
    let config = Config::load(flags)?;
    log::start(&config.log);
    let request = request()?;
    server::runtime()?.block_on(async {
        let socket = control::path(&config.data);
        let asked = control::ask(&config.data, &request).await;
        let asked = asked.map_err(|cause| Failure::runtime(format!("{}: {cause}", socket.display())))?;
        if let Some(answer) = asked {
            return Ok(answer);
        }
        let store = server::open_store(&config)?;
        let (_stop, stopped) = tokio::sync::watch::channel(false);
        let registry = server::registry(&config, store, [].into(), Default::default(), stopped)?;
        Ok(Operator { registry: Arc::new(registry), sessions: None }.perform(request).await)
    })
}

/// To standard output; a reader that went away (`| head`) is no failure.
pub fn print(text: &[u8]) -> Result<(), Failure> {
    match io::stdout().write_all(text).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::runtime(error)),
        _ => Ok(()),
    }
}
