//! Parses the command line, does what it says, and ends with an exit code that a service manager understands.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use minimix_proxy::cli::operate::{operate, print};
use minimix_proxy::cli::{Cli, Command, Failure, check, log};
use minimix_proxy::config::{Config, Flags};
use minimix_proxy::net::dev_certs;
use minimix_proxy::{hardening, server};

fn main() -> ExitCode {
    if let Err(error) = hardening::start() {
        eprintln!("minimix-proxy: core dumps cannot be turned off: {error}");
        return ExitCode::from(Failure::RUNTIME);
    }
    let cli = Cli::parse();
    if cli.command.is_none() {
        hardening::bound_memory();
    }
    match dispatch(cli) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("minimix-proxy: {}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}

fn dispatch(cli: Cli) -> Result<ExitCode, Failure> {
    let flags = &cli.flags;
    match cli.command {
        None => run(flags)?,
        Some(Command::Check(output)) => {
            let report = check::check(flags);
            let text = if output.json { report.to_json() } else { report.to_string() };
            print(text.as_bytes())?;
            return Ok(if report.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Some(Command::Account(args)) => return operate(flags, args.output, || args.command.request()),
        Some(Command::Session(args)) => return operate(flags, args.output, || Ok(args.command.request())),
        Some(Command::Rooms(args)) => return operate(flags, args.output, || Ok(args.command.request())),
        Some(Command::Key(args)) => return operate(flags, args.output, || Ok(args.command.request())),
        Some(Command::Domain(args)) => return operate(flags, args.output, || Ok(args.command.request())),
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

fn run(flags: &Flags) -> Result<(), Failure> {
    let config = Config::load(flags)?;
    log::start(&config.log);
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    server::runtime()?.block_on(server::run(config))
}
