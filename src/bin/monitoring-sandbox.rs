//! `monitoring-sandbox`: serves on loopback, prints the `export` lines to use it, ends on SIGTERM, SIGINT
//! or when its parent closes its standard input (`--until-eof`).

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::ArgMatches;
use monitoring_token::new_file::NewFile;
use monitoring_token::sandbox::fault::{Fault, Faults};
use monitoring_token::sandbox::jwt::{Signer, VerifyKeys};
use monitoring_token::sandbox::requests::Requests;
use monitoring_token::sandbox::{Sandbox, flags, gafaelfawr, locate, probe, serve, stackstate};
use monitoring_token::secret::ExposeSecret as _;
use monitoring_token::signal::Signals;

/// The machine that the exported variables name.
const MACHINE: &str = "mlab1-lga0t.mlab-sandbox.measurement-lab.org";

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
    let url =
        given.or_else(|| std::env::var("SERVICE_URL").ok()).ok_or("no URL: give one, or set SERVICE_URL")?;
    let status = probe::probe(&url)?;
    writeln!(std::io::stdout(), "the target answered: {status}").map_err(|error| error.to_string())
}

fn run_server(matches: &ArgMatches) -> Result<(), String> {
    // Says on stderr why a token was rejected.
    let log = tracing_subscriber::fmt().with_ansi(false).with_target(false).with_writer(std::io::stderr);
    let _ = tracing::subscriber::set_global_default(log.finish());
    let signals = Signals::catch().map_err(|error| error.to_string())?;
    let signer = Signer::generate("sandbox")?;
    let mut monitoring_keys = VerifyKeys::default();
    let given: Vec<&PathBuf> = matches.get_many("verify-key").into_iter().flatten().collect();
    for path in &given {
        let wrong = |why: String| format!("{}: {why}", path.display());
        let text = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
        let jwk = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        monitoring_keys.add(&jwk).map_err(wrong)?;
    }
    // A key for users who have none; it lives as long as the sandbox.
    let folder = tempfile::Builder::new()
        .prefix("monitoring-sandbox-")
        .tempdir()
        .map_err(|error| error.to_string())?;
    let key_path = folder.path().join("jwk_sig_EdDSA_sandbox");
    monitoring_keys.add(&signer.public_jwk)?;
    let mut key_file = NewFile::private(&key_path).map_err(|error| error.to_string())?;
    key_file.write_line(signer.private_jwk.expose_secret()).map_err(|error| error.to_string())?;
    key_file.keep();
    let fault = match matches.get_one::<String>("fault") {
        Some(json) => serde_json::from_str::<Fault>(json).map_err(|error| format!("--fault: {error}"))?,
        None => Fault::default(),
    };
    let port = matches.get_one::<u16>("port").copied().unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(async {
        // Loopback only.
        let listener = tokio::net::TcpListener::bind((IpAddr::V4(Ipv4Addr::LOCALHOST), port)).await;
        let listener = listener.map_err(|error| format!("cannot listen on 127.0.0.1:{port}: {error}"))?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let locate_signer = Signer::generate("sandbox-locate")?;
        let sandbox = Arc::new(Sandbox {
            address,
            monitoring_keys,
            locate_signer,
            faults: Faults::new(fault),
            gafaelfawr: gafaelfawr::Environment::new()?,
            stackstate: stackstate::Installation::new()?,
            requests: Requests::default(),
        });
        print_exports(&sandbox, &key_path).map_err(|error| error.to_string())?;
        tokio::select! {
            served = serve(listener, sandbox) => served.map_err(|error| error.to_string()),
            () = asked_to_end(&signals, matches.get_flag("until-eof")) => Ok(()),
        }
    })
}

fn print_exports(sandbox: &Sandbox, key: &std::path::Path) -> std::io::Result<()> {
    let address = sandbox.address;
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "export LOCATE_URL=http://{address}{}", locate::PATH)?;
    writeln!(stdout, "export MONITORING_SIGNER_KEY={}", key.display())?;
    writeln!(stdout, "export MACHINE={MACHINE}")?;
    writeln!(stdout, "export GAFAELFAWR_URL=http://{address}")?;
    writeln!(stdout, "export GAFAELFAWR_ADMIN_TOKEN={}", sandbox.gafaelfawr.admin_token())?;
    writeln!(stdout, "export STS_CLI_URL=http://{address}")?;
    writeln!(stdout, "export STS_CLI_API_TOKEN={}", sandbox.stackstate.api_token())?;
    // The last line: whoever reads until here can begin.
    writeln!(stdout, "export SANDBOX_URL=http://{address}")?;
    stdout.flush()
}

async fn asked_to_end(signals: &Signals, until_eof: bool) {
    let eof = async {
        if until_eof {
            // A thread that is left behind at the end; it holds nothing.
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
        _ = signals.interrupt() => {}
        () = eof => {}
    }
}
