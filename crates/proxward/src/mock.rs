//! `proxward mock`.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use ::mock::{Api, Config, ControlListener, Mock as Server};
use secrets::SecretString;
use serde_json::{Map, json};
use telemetry::{Clock, NotATime, Rfc3339};
use tls::{Authority, Identity};

use crate::audit;
use crate::cli::{Format, Mock};
use crate::exit::{Exit, Stop};
use crate::instrument;
use crate::output::result;
use crate::place::{Place, read_secret, read_text};
use crate::signals::Signals;

const USER: &str = "root@pam";
/// Name of the token that is there at every start.
const TOKEN: &str = "root@pam!ci";
/// Largest API document; the one of 9.2 has 1.3 MB.
const DOCUMENT_BYTES: u64 = 16 << 20;
/// Largest public key file.
const KEY_BYTES: u64 = 64 << 10;

/// Starts a mock, says where it is, and ends it on a signal.
pub(crate) fn run(arguments: &Mock) -> Result<(), Stop> {
    let signals = Signals::install()?;
    let clock = Clock::system();
    audit::start_log(&arguments.log, &clock)?;
    if !(0.0..=1e6).contains(&arguments.time_scale) {
        return Err(Stop::say(Exit::Usage, "--time-scale: expected a number from 0 to 1000000"));
    }
    if arguments.list_unmodelled {
        return list_unmodelled(arguments);
    }
    if arguments.instruments.print_seed {
        return print_seed(arguments);
    }
    let listener = TcpListener::bind(arguments.listen).map_err(|error| {
        Stop::say(
            bind_exit(&error),
            format!("listen on {}: {error}; choose another --listen", arguments.listen),
        )
    })?;
    let place = Place::open(None)?;
    let (seed, steps) = instrument::seed(&arguments.seed, arguments.guests)?;
    let mut config = Config { steps, ..Config::new(seed) };
    arguments.instruments.fit(&mut config)?;
    match &arguments.password_file {
        Some(path) => config.passwords.push((USER.to_owned(), read_secret(path)?)),
        None => config.seed.passwords.push((USER.to_owned(), place.password("password")?.0)),
    }
    config.state_file.clone_from(&arguments.state);
    if arguments.clock.is_some() || arguments.control.is_some() {
        let start = arguments.clock.unwrap_or_else(|| clock.unix());
        let runs = arguments.clock.is_none() || arguments.clock_runs;
        let (clock, hands) = Clock::steered(start, runs);
        (config.clock, config.virtual_clock) = (clock, Some(hands));
    }
    config.api = api(&arguments.schema)?;
    config.time_scale = arguments.time_scale;
    config.key_file.clone_from(&arguments.ticket_key);
    let keys = arguments.verify_key.iter().map(|path| read_text(path, KEY_BYTES));
    config.verify_keys = keys.collect::<Result<_, _>>()?;
    config.csrf_secret = arguments.csrf_secret.as_deref().map(read_secret).transpose()?;
    if let Some(place) = &arguments.control {
        config.control = Some(ControlListener::bind(place).map_err(Stop::usage)?);
        config.resettable = true;
    }
    let control = config.control.as_ref().map(ControlListener::to_string);
    let ca = if arguments.no_tls {
        None
    } else {
        Some(certify(arguments, &mut config, &place, &clock)?)
    };
    let server = Server::start(config, listener).map_err(Stop::usage)?;
    let is_own = arguments.instruments.upstream.is_none();
    let token = is_own.then(|| server.token()).transpose().map_err(Stop::usage)?;

    let ready = Ready {
        url: server.url(),
        ca: ca.as_deref(),
        control: control.as_deref(),
        token: token.as_ref(),
    };
    result(&match arguments.format {
        Format::Json => ready.line(),
        Format::Text => ready.text(),
    });
    signals.wait();
    drop(server);
    drop(place);
    Ok(())
}

/// `VERB PATH`, one a line, or a list of such texts.
fn list_unmodelled(arguments: &Mock) -> Result<(), Stop> {
    let methods = ::mock::unmodelled(&api(&arguments.schema)?).map_err(Stop::usage)?;
    let methods = methods.iter().map(|(verb, path)| format!("{verb} {path}"));
    let methods: Vec<String> = methods.collect();
    result(&match arguments.format {
        Format::Text => methods.join("\n"),
        Format::Json => json!(methods).to_string(),
    });
    Ok(())
}

/// What is said when the mock serves. The token opens nothing but this mock.
struct Ready<'r> {
    url: String,
    ca: Option<&'r Path>,
    control: Option<&'r str>,
    /// `None` with another server behind it, which knows its own users.
    token: Option<&'r SecretString>,
}

impl Ready<'_> {
    /// The contract's ready line.
    fn line(&self) -> String {
        let mut line = Map::new();
        line.insert("event".to_owned(), json!("ready"));
        line.insert("url".to_owned(), json!(self.url));
        if let Some(ca) = self.ca {
            line.insert("ca".to_owned(), json!(ca));
        }
        if let Some(token) = self.token {
            line.insert("user".to_owned(), json!(USER));
            line.insert("token".to_owned(), json!(format!("{TOKEN}={}", token.expose())));
        }
        if let Some(control) = self.control {
            line.insert("control".to_owned(), json!(control));
        }
        json!(line).to_string()
    }

    fn text(&self) -> String {
        let ca = self.ca.map_or_else(String::new, |ca| format!("\n  CA     {}", ca.display()));
        let who = self.token.map_or_else(
            || "\n  users  those of the server behind it".to_owned(),
            |token| format!("\n  user   {USER}\n  token  {TOKEN}={}", token.expose()),
        );
        let control = self.control.map_or_else(String::new, |at| format!("\n  control {at}"));
        format!(
            "mock Proxmox VE, ready\n\n  URL    {}{ca}{who}{control}\n\nCtrl-C ends it.",
            self.url
        )
    }
}

/// A time since 1970, as `--clock` takes it.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    text.parse().map(|Rfc3339(time)| time).map_err(|error: NotATime| error.to_string())
}

/// A seed to start from, as a file.
fn print_seed(arguments: &Mock) -> Result<(), Stop> {
    if matches!(arguments.seed, instrument::Choice::File(_)) {
        return Err(Stop::say(Exit::Usage, "--print-seed: the seed is a file already"));
    }
    let (seed, _) = instrument::seed(&arguments.seed, arguments.guests)?;
    result(seed.to_toml().trim_end());
    Ok(())
}

fn api(schema: &Path) -> Result<Api, Stop> {
    match schema.to_str() {
        Some("9") => Ok(Api::V9),
        Some("8") => Ok(Api::V8),
        _ => Ok(Api::Document(read_text(schema, DOCUMENT_BYTES)?)),
    }
}

/// The certificate that was given, or one of an authority of this run. Returns the CA's file.
fn certify(
    arguments: &Mock,
    config: &mut Config,
    place: &Place,
    clock: &Clock,
) -> Result<std::path::PathBuf, Stop> {
    if let (Some(cert), Some(key)) = (&arguments.cert, &arguments.key) {
        config.identity = Some(Identity::load(cert, key).map_err(Stop::usage)?);
        return Ok(cert.clone());
    }
    let authority = Authority::generate("Proxward mock", clock.unix()).map_err(Stop::usage)?;
    let address = arguments.listen.ip().to_string();
    let names = ["127.0.0.1", "::1", "localhost", &address];
    let names = if names[..3].contains(&names[3]) { &names[..3] } else { &names[..] };
    config.identity = Some(authority.issue(names, clock.unix()).map_err(Stop::usage)?);
    place.write("ca.pem", authority.certificate_pem())
}

/// A refused port is a question of permission, a taken one of configuration.
pub(crate) fn bind_exit(error: &std::io::Error) -> Exit {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => Exit::Denied,
        _ => Exit::Usage,
    }
}
