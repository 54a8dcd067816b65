//! `proxward gate`.

use std::path::Path;

use ::gate::{Listeners, Open, Running, StartError, Takeover, TakeoverError, confine, prepare};
use process::Accounts;
use settings::Document;
use telemetry::Clock;
use telemetry::metrics::Registry;

use crate::cli::{Gate, GateOrder};
use crate::exit::{Exit, Stop};
use crate::mock::bind_exit;
use crate::output::note;
use crate::signals::{Signals, Wish};
use crate::{audit, config};
use service::{Service, Sockets};

mod background;
pub(crate) mod bans;
pub(crate) mod check;
pub(crate) mod confirm;
pub(crate) mod explain;
mod place;
mod reload;
mod service;

/// An order to a gate that runs, or a gate.
pub(crate) fn run(arguments: &Gate) -> Result<(), Stop> {
    match &arguments.order {
        Some(GateOrder::Bans(arguments)) => bans::run(arguments),
        Some(GateOrder::Explain(arguments)) => explain::run(arguments),
        Some(GateOrder::Confirm(arguments)) => confirm::run(arguments),
        Some(GateOrder::Check(arguments)) => check::run(arguments),
        Some(GateOrder::Install(arguments)) => place::put(arguments),
        Some(GateOrder::Remove(arguments)) => place::take(arguments),
        None if arguments.background => background::start(arguments),
        None => serve(arguments),
    }
}

/// Starts the gate, reads its configuration anew on SIGHUP, and ends it on another signal, after
/// its connections have drained.
fn serve(arguments: &Gate) -> Result<(), Stop> {
    let mut signals = Signals::install()?;
    let clock = Clock::system();
    audit::start_log(&arguments.log, &clock)?;
    let mut document = document(arguments)?;
    let mut config = config::gate(&document)?;
    let service = Service::from_env();
    config.watchdog = service.watchdog();
    let mut before = match (arguments.takeover, &config.state) {
        (false, _) => None,
        (true, Some(state)) => Some(Takeover::begin(state).map_err(lost)?),
        (true, None) => return Err(no_state()),
    };
    let listeners = match &mut before {
        Some(before) => before.listeners(&config.listen, &config.follow),
        None => match service::sockets()? {
            Sockets { handed_in, kept } if handed_in.is_empty() => {
                Listeners::taken(kept, &config.listen, &config.follow)
            }
            Sockets { handed_in, .. } => Ok(Listeners::from_sockets(handed_in)),
        },
    };
    let listeners = listeners.map_err(start_fault)?;
    // What a reload reads, and what it may read then.
    config.readable.extend(config::files(arguments.config.as_deref()));
    // With one thread, after what only root may do, before any byte from outside.
    confine(&mut config, &Accounts::read(Path::new("/"))).map_err(Stop::usage)?;
    if let Some(before) = &mut before {
        before.release().map_err(lost)?;
    }
    let running = prepare(config, listeners, clock, &Registry::new()).map_err(start_fault)?;
    if let Some(before) = &mut before {
        before.done().map_err(lost)?;
    }
    running.serve();
    for address in running.local_addrs() {
        note(&format!("gate: ready on https://{address}"));
    }
    if let Some(at) = running.metrics_address() {
        note(&format!("gate: metrics on {at}"));
    }
    service.ready(running.heartbeat())?;
    // The manager knows of this process now: the other one may go.
    drop(before);
    let mut listening = running.listening();
    // None where they were handed in; what was kept before that is let go of.
    let open = listening.as_mut().map(|open| open.borrow_and_update().clone());
    service.keep(&open.unwrap_or_default());
    loop {
        match signals.next_or(happens(&running, &mut listening)) {
            Err(Wish::End) => break,
            Err(Wish::Reload) => {
                service.reloading();
                note(&reload::reload(&running, arguments, &mut document));
                service.reloaded();
            }
            Ok(Happened::Listening(open)) => service.keep(&open),
            Ok(Happened::TakenOver) => {
                service.succeeded();
                note("gate: another process has taken over; this one ends with its last console");
                // There is nothing left to read anew.
                while signals.next_or(running.ended()) == Err(Wish::Reload) {}
                break;
            }
        }
    }
    service.stopping();
    let stopped = running.shutdown();
    match stopped.failed {
        0 => Ok(()),
        failed => Err(Stop::say(Exit::Bug, format!("{failed} workers of the gate have failed"))),
    }
}

/// What is no signal.
enum Happened {
    TakenOver,
    Listening(Open),
}

async fn happens(
    running: &Running,
    listening: &mut Option<tokio::sync::watch::Receiver<Open>>,
) -> Happened {
    let changed = async {
        if let Some(listening) = listening
            && listening.changed().await.is_ok()
        {
            return listening.borrow_and_update().clone();
        }
        std::future::pending().await
    };
    tokio::select! {
        biased;
        () = running.taken_over() => Happened::TakenOver,
        open = changed => Happened::Listening(open),
    }
}

fn no_state() -> Stop {
    let text = "--takeover: the gate that runs is found by its state directory; name it";
    Stop::say(Exit::Usage, text)
}

fn lost(error: TakeoverError) -> Stop {
    Stop::new(Exit::Unreachable, error)
}

/// Files and environment, then the flags.
fn document(arguments: &Gate) -> Result<Document, Stop> {
    let layers = config::layers(arguments.config.as_deref());
    let layers = layers.flag("gate.listen", "--listen", arguments.listen.iter().cloned());
    let single = [
        ("gate.upstream", "--upstream", &arguments.upstream),
        ("gate.upstream_fingerprint", "--upstream-fingerprint", &arguments.upstream_fingerprint),
        ("gate.upstream_ca", "--upstream-ca", &arguments.upstream_ca),
        ("gate.daemon", "--daemon", &arguments.daemon),
        ("gate.cert", "--cert", &arguments.cert),
        ("gate.key", "--key", &arguments.key),
        ("gate.state", "--state", &arguments.state),
        ("gate.pveproxy_defaults", "--pveproxy-defaults", &arguments.pveproxy_defaults),
    ];
    let layers = single
        .into_iter()
        .fold(layers, |layers, (key, flag, value)| layers.flag(key, flag, value.iter().cloned()));
    config::load(layers)
}

/// Why the gate did not start, with the exit code of its cause.
pub(crate) fn start_fault(error: StartError) -> Stop {
    match &error {
        StartError::Bind { source, .. } => {
            Stop::say(bind_exit(source), format!("{error} --listen takes another address or port"))
        }
        _ if error.is_unreachable() => Stop::new(Exit::Unreachable, error),
        _ => Stop::usage(error),
    }
}
