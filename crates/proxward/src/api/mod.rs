//! `proxward api`: one call of the API, shown as a table or as JSON.

mod table;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use pve_client::{Client, ClientError, Credentials, Endpoint, Params, Reply};
use secrets::SecretString;
use tls::{HandshakeError, Trust};

use crate::cli::{Api, Call, Format, Target};
use crate::exit::{Exit, Stop};
use crate::output::result;
use crate::place::{first_line, read_secret, read_text};

/// Largest CA file.
const CA_BYTES: u64 = 1 << 20;
/// Most bytes of a secret on stdin.
const SECRET_BYTES: u64 = 4096;

/// Credentials that came in the environment, by the variable's name.
type Environment = BTreeMap<String, SecretString>;

pub(crate) fn run(arguments: &Api, environment: Environment) -> Result<(), Stop> {
    let (Call::Get(target)
    | Call::Ls(target)
    | Call::Create(target)
    | Call::Set(target)
    | Call::Delete(target)) = &arguments.call;
    let client = connect(target, environment)?;
    let parameters = parameters(&target.data)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Stop::usage)?;
    let reply = runtime.block_on(async {
        match &arguments.call {
            Call::Get(_) | Call::Ls(_) => client.get(&target.path, &parameters).await,
            Call::Create(_) => client.create(&target.path, &parameters).await,
            Call::Set(_) => client.set(&target.path, &parameters).await,
            Call::Delete(_) => client.delete(&target.path, &parameters).await,
        }
    });
    let reply = reply.map_err(fault)?;
    let ls = matches!(arguments.call, Call::Ls(_));
    show(&reply, target.format, ls);
    Ok(())
}

fn show(reply: &Reply, format: Format, ls: bool) {
    if let Some(raw) = &reply.raw {
        return result(String::from_utf8_lossy(raw).trim_end());
    }
    match format {
        Format::Json => result(&reply.data.to_string()),
        Format::Text if ls => result(&table::names(&reply.data)),
        Format::Text => result(&table::render(&reply.data)),
    }
}

fn connect(target: &Target, mut environment: Environment) -> Result<Client, Stop> {
    let endpoint: Endpoint = target.url.parse().map_err(Stop::usage)?;
    let trust = match (&target.ca, &target.fingerprint) {
        (Some(path), _) => Some(Trust::Authority(read_text(path, CA_BYTES)?.into_bytes())),
        (None, Some(text)) => Some(Trust::Pin(text.parse().map_err(Stop::usage)?)),
        (None, None) => None,
    };
    if trust.is_none() && !endpoint.is_plain() {
        let text =
            "the server's certificate can not be judged; give --ca FILE or --fingerprint SHA256";
        return Err(Stop::say(Exit::Usage, text));
    }
    let credentials = if let Some(path) = &target.token_file {
        token(&secret(path)?)?
    } else if let Some(user) = &target.user {
        let password = match &target.password_file {
            Some(path) => secret(path)?,
            None => environment.remove("PROXWARD_PASSWORD").ok_or_else(|| {
                Stop::say(
                    Exit::Usage,
                    "no password; give --password-file FILE or PROXWARD_PASSWORD",
                )
            })?,
        };
        let user = user.parse().map_err(Stop::usage)?;
        Credentials::Password { user, password, second_factor: None }
    } else {
        match environment.remove("PROXWARD_TOKEN") {
            Some(text) => token(&text)?,
            None => Credentials::None,
        }
    };
    Client::new(endpoint, trust.as_ref(), credentials).map_err(fault)
}

/// `user@realm!name=SECRET`; the last `=` separates the secret.
fn token(text: &SecretString) -> Result<Credentials, Stop> {
    let malformed =
        || Stop::say(Exit::Usage, "an API token is written user@realm!name=SECRET, on one line");
    let (id, secret) = text.expose().rsplit_once('=').ok_or_else(malformed)?;
    let id = id.parse().map_err(|_| malformed())?;
    Ok(Credentials::Token { id, secret: SecretString::from(secret) })
}

/// One line from a private file, or from stdin for `-`.
pub(crate) fn secret(path: &Path) -> Result<SecretString, Stop> {
    if path != Path::new("-") {
        return read_secret(path);
    }
    let mut bytes = Vec::new();
    std::io::stdin().lock().take(SECRET_BYTES).read_to_end(&mut bytes).map_err(Stop::usage)?;
    first_line(Path::new("stdin"), &bytes)
}

fn parameters(data: &[String]) -> Result<Params, Stop> {
    data.iter().try_fold(Params::new(), |parameters, pair| match pair.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok(parameters.with(name, value)),
        _ => Err(Stop::say(Exit::Usage, format!("-d {pair}: expected KEY=VALUE"))),
    })
}

/// The exit code of a failed call, and what to do about it where that is known.
fn fault(error: ClientError) -> Stop {
    match &error {
        ClientError::Usage(_) | ClientError::Trust(_) => Stop::usage(error),
        ClientError::Auth { .. }
        | ClientError::SecondFactor { .. }
        | ClientError::Permission { .. } => Stop::new(Exit::Denied, error),
        ClientError::Tls(HandshakeError::Untrusted { .. }) => Stop::new(Exit::Unreachable, error),
        ClientError::Connect { .. } => Stop::say(
            Exit::Unreachable,
            format!("{error}; is the server running, and --url right?"),
        ),
        ClientError::Tls(_) | ClientError::Timeout { .. } | ClientError::Protocol(_) => {
            Stop::new(Exit::Unreachable, error)
        }
        _ => Stop::new(Exit::Api, error),
    }
}
