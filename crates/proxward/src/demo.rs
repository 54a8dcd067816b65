//! `proxward demo`: a mock cluster with the gate in front, on this machine.

use std::net::TcpListener;
use std::path::PathBuf;

use ::gate::{AccessLogTo, Config, Destination, Listeners, Running, TicketVerification};
use ::mock::{Config as MockConfig, Mock, Seed};
use serde_json::json;
use telemetry::Clock;
use telemetry::audit::{Event, Log, SyncPolicy};
use telemetry::metrics::Registry;
use tls::{Authority, Trust};

use crate::audit;
use crate::cli::{Demo, DemoSeed, Format};
use crate::exit::{Exit, Stop};
use crate::gate::start_fault;
use crate::output::result;
use crate::place::Place;
use crate::signals::Signals;

/// Names the certificate of the demo is made for.
const NAMES: [&str; 3] = ["127.0.0.1", "::1", "localhost"];
const USER: &str = "root@pam";

/// Everything that runs. Fields are dropped from the top: first the gate, then what it needs.
struct Demonstration {
    gate: Running,
    mock: Mock,
    log: Log,
    place: Place,
}

/// Starts everything, says where it is, and ends it all on a signal.
pub(crate) fn run(arguments: &Demo) -> Result<(), Stop> {
    let signals = Signals::install()?;
    let clock = Clock::system();
    audit::start_log(&arguments.log, &clock)?;
    // The port first: the most likely failure, and the cheapest to find.
    let listeners = Listeners::bind(&[arguments.listen]).map_err(start_fault)?;
    let place = Place::open(arguments.state.as_deref())?;
    let log = Log::open(&place.file("audit.jsonl"), clock.clone(), SyncPolicy::Each);
    let log = log.map_err(Stop::usage)?;
    let (password, password_file) = place.password("password")?;
    let authority = Authority::generate("Proxward demo", clock.unix()).map_err(Stop::usage)?;
    let ca = place.write("ca.pem", authority.certificate_pem())?;

    let seed = match arguments.seed {
        DemoSeed::Small => Seed::small(),
        DemoSeed::Cluster => Seed::cluster(),
    };
    let identity = authority.issue(&NAMES, clock.unix()).map_err(Stop::usage)?;
    let pin = identity.fingerprint();
    let mut config = MockConfig::new(Seed { passwords: vec![(USER.to_owned(), password)], ..seed });
    config.clock = clock.clone();
    config.identity = Some(identity);
    config.key_file = arguments.state.is_some().then(|| place.file("ticket.key"));
    let socket = TcpListener::bind("127.0.0.1:0").map_err(Stop::usage)?;
    let mock = Mock::start(config, socket).map_err(Stop::usage)?;

    let upstream = format!("https://{}", mock.local_addr());
    let destination = Destination::new(&upstream, Some(&Trust::Pin(pin))).map_err(Stop::usage)?;
    let mut names = NAMES.map(str::to_owned).to_vec();
    names.push(arguments.listen.ip().to_string());
    names.dedup();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let identity = authority.issue(&names, clock.unix()).map_err(Stop::usage)?;
    let addresses = listeners.local_addrs().map_err(Stop::usage)?;
    let mut config = Config::new(addresses, destination, identity);
    // A key that lies on this machine is not the mock's.
    config.sessions.tickets = Some(TicketVerification::Upstream);
    config.access_log = AccessLogTo::File(place.file("access.log"));
    config.state = arguments.state.is_some().then(|| place.file("gate"));
    let gate = ::gate::start(config, listeners, clock, &Registry::new()).map_err(start_fault)?;

    let gate_url = gate.local_addrs().first().map(|address| format!("https://{address}"));
    let ready = Ready {
        gate: gate_url.unwrap_or_default(),
        mock: upstream,
        ca,
        password_file,
        kept: arguments.state.is_some(),
    };
    let started = Event::new("demo.started").field("gate", ready.gate.as_str());
    log.append(started).map_err(Stop::usage)?;
    let running = Demonstration { gate, mock, log, place };
    result(&match arguments.format {
        Format::Json => ready.json(),
        Format::Text => ready.text(),
    });
    signals.wait();
    end(running)
}

/// The gate first, so that no request is cut off from the mock while it drains.
fn end(demonstration: Demonstration) -> Result<(), Stop> {
    let Demonstration { gate, mock, log, place } = demonstration;
    let stopped = gate.shutdown();
    drop(mock);
    let ended = Event::new("demo.ended").field("cut", stopped.cut).field("failed", stopped.failed);
    let written = log.append(ended);
    drop(log);
    drop(place);
    written.map_err(Stop::usage)?;
    match stopped.failed {
        0 => Ok(()),
        failed => Err(Stop::say(Exit::Bug, format!("{failed} workers of the gate have failed"))),
    }
}

/// Where everything is.
struct Ready {
    gate: String,
    mock: String,
    ca: PathBuf,
    password_file: PathBuf,
    kept: bool,
}

impl Ready {
    fn json(&self) -> String {
        json!({
            "event": "ready",
            "gate": self.gate,
            "mock": self.mock,
            "ca": self.ca,
            "user": USER,
            "password_file": self.password_file,
        })
        .to_string()
    }

    fn text(&self) -> String {
        let Self { gate, mock, ca, password_file, kept } = self;
        let (ca, password_file) = (ca.display(), password_file.display());
        let files = if *kept { "are kept" } else { "end with the demo" };
        format!(
            "Proxward demo: a mock Proxmox VE cluster behind the gate\n\n  \
             gate      {gate}\n  \
             mock      {mock}  (behind the gate)\n  \
             CA        {ca}\n  \
             user      {USER}\n  \
             password  in {password_file}\n\n\
             Try, in another terminal:\n\n  \
             proxward api get /nodes --url {gate} --ca {ca} --user {USER} --password-file {password_file}\n  \
             curl --cacert {ca} -d username={USER} --data-urlencode password@{password_file} {gate}/api2/json/access/ticket\n\n\
             There is no console and no broker yet, and no web interface: the mock answers the API.\n\
             The files {files}. Ctrl-C ends everything."
        )
    }
}
