//! Serves on loopback, prints the `export` lines for its users, and stops on SIGTERM, on SIGINT, or with `--until-eof`
//! at the end of its standard input.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ArgMatches;
use clap::error::ErrorKind;
use monitoring_sandbox::server::{Options, Server};
use monitoring_sandbox::{flags, probe};
use tokio::signal::unix::{Signal, SignalKind, signal};

fn main() -> ExitCode {
    let matches = flags::command().get_matches();
    let result = match matches.subcommand() {
        Some(("probe", matches)) => run_probe(matches),
        _ => run_server(&matches),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            let _ = writeln!(std::io::stderr(), "monitoring-sandbox: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run_probe(matches: &ArgMatches) -> Result<(), String> {
    let given = matches.get_one::<String>("url").cloned();
    let url = given.or_else(|| std::env::var("SERVICE_URL").ok()).unwrap_or_else(|| {
        let message = "missing URL: give one, or set SERVICE_URL";
        flags::command().error(ErrorKind::MissingRequiredArgument, message).exit()
    });
    let status = probe::probe(&url)?;
    writeln!(std::io::stdout(), "the target answered: {status}").map_err(|error| error.to_string())
}

fn run_server(matches: &ArgMatches) -> Result<(), String> {
    let options = Options {
        port: matches.get_one::<u16>("port").copied().unwrap_or_default(),
        verify_keys: matches.get_many::<PathBuf>("verify-key").into_iter().flatten().cloned().collect(),
        locate_version: flags::locate_version(matches),
        fault: matches.get_one::<String>("fault").cloned(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(async {
        // Before the key file is created, so that no signal leaves it behind.
        let caught = |kind| signal(kind).map_err(|error| format!("cannot catch signals: {error}"));
        let signals = (caught(SignalKind::terminate())?, caught(SignalKind::interrupt())?);
        let server = Server::listen(options).await?;
        print(&server.exports()?).map_err(|error| format!("cannot print the variables: {error}"))?;
        server.serve_until(end(signals, matches.get_flag("until-eof"))).await
    })
}

fn print(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

async fn end((mut terminate, mut interrupt): (Signal, Signal), until_eof: bool) {
    let eof = async {
        if until_eof {
            // At the end, this thread is simply abandoned.
            let (done, wait) = tokio::sync::oneshot::channel();
            std::thread::spawn(move || {
                let _ = std::io::stdin().read_to_end(&mut Vec::new());
                let _ = done.send(());
            });
            let _ = wait.await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = eof => {}
    }
}
