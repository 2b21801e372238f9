//! Parses the command line, does what it says, and ends with an exit code that a service manager understands.
#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use minimix_proxy::cli::{
    AccountCommand, Cli, Command, DomainArgs, DomainCommand, Failure, KeyArgs, KeyCommand, check, log, password,
};
use minimix_proxy::config::{Config, Flags};
use minimix_proxy::control::{self, Request};
use minimix_proxy::net::dev_certs;
use minimix_proxy::{hardening, server};
use secrecy::ExposeSecret;

/// Threads for what blocks (PBKDF2, name look-ups, the store): bounded, so that logins cannot take the machine (S5).
const BLOCKING_THREADS: usize = 32;

fn main() -> ExitCode {
    if let Err(error) = hardening::start() {
        eprintln!("minimix-proxy: core dumps cannot be turned off: {error}");
        return ExitCode::from(Failure::RUNTIME);
    }
    let cli = Cli::parse();
    match dispatch(cli) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("minimix-proxy: {}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}

fn dispatch(cli: Cli) -> Result<ExitCode, Failure> {
    match cli.command {
        None => run(&cli.flags)?,
        Some(Command::Check) => {
            let report = check::check(&cli.flags);
            print(report.to_string().as_bytes())?;
            return Ok(if report.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Some(Command::Account(args)) => account(&cli.flags, args.command)?,
        Some(Command::Domain(DomainArgs { command: DomainCommand::Reset { domain } })) => {
            control(&cli.flags, || Ok(Request::DomainReset { domain }))?;
        }
        Some(Command::Key(KeyArgs { command: KeyCommand::Rotate })) => {
            control(&cli.flags, || Ok(Request::KeyRotate))?;
        }
        Some(Command::DevCerts { out, domains }) => {
            for made in dev_certs::make(&out, &domains)? {
                let what = if made.kept { "kept" } else { "made" };
                print(format!("{what} {}\n", made.certificate.display()).as_bytes())?;
            }
        }
        Some(Command::Completions { shell }) => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "minimix-proxy", &mut text);
            print(&text)?;
        }
        Some(Command::Man) => {
            let mut text = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut text).map_err(Failure::runtime)?;
            print(&text)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// To standard output; a reader that went away (`| head`) is no failure.
fn print(text: &[u8]) -> Result<(), Failure> {
    match io::stdout().write_all(text).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::runtime(error)),
        _ => Ok(()),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().max_blocking_threads(BLOCKING_THREADS).build().map_err(Failure::runtime)
}

fn run(flags: &Flags) -> Result<(), Failure> {
    let config = Config::load(flags)?;
    log::start(&config.log);
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    runtime()?.block_on(server::run(config))
}

fn account(flags: &Flags, command: AccountCommand) -> Result<(), Failure> {
    control(flags, || {
        Ok(match command {
            AccountCommand::Add { jid, password_stdin } => {
                let prompt = format!("Password of {jid}: ");
                let password = password::read(password_stdin, &prompt).map_err(Failure::runtime)?;
                Request::AccountAdd { account: jid.to_string(), password: password.expose_secret().to_owned() }
            }
            AccountCommand::List => Request::AccountList,
            AccountCommand::Remove { jid } => Request::AccountRemove { account: jid.to_string() },
        })
    })
}

/// Through the running proxy if there is one over this data directory, else on the store itself.
fn control(flags: &Flags, request: impl FnOnce() -> Result<Request, Failure>) -> Result<(), Failure> {
    let config = Config::load(flags)?;
    log::start(&config.log);
    let request = request()?;
    let answer = runtime()?.block_on(async {
        let socket = control::path(&config.data);
        let asked = control::ask(&config.data, &request).await;
        let asked = asked.map_err(|cause| Failure::runtime(format!("{}: {cause}", socket.display())))?;
        if let Some(answer) = asked {
            return Ok(answer);
        }
        let store = server::open_store(&config)?;
        let (_stop, stopped) = tokio::sync::watch::channel(false);
        let registry = server::registry(&config, store, [].into(), Default::default(), stopped)?;
        Ok::<_, Failure>(control::perform(&registry, request).await)
    })?;
    let text: String = answer.lines.iter().map(|line| format!("{line}\n")).collect();
    if !answer.ok {
        return Err(Failure::runtime(text.trim_end()));
    }
    print(text.as_bytes())
}
