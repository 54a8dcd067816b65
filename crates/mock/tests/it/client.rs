//! A mock and the smallest client for it: one request, one connection.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use mock::{Api, Config, Mock, Seed, StartError};
use secrets::SecretString;
use serde_json::Value;
use telemetry::{Clock, ManualClock};

/// When clocks of tests start, in seconds since 1970.
pub(crate) const START: u64 = 1_795_000_000;

/// A mock with the token `root@pam!ci`, which `using` changes for another.
pub(crate) struct Pve {
    mock: Mock,
    clock: ManualClock,
    token: &'static str,
}

/// Status, reason, and the body's `data` or `errors`.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) reason: String,
    pub(crate) body: Value,
}

impl Answer {
    fn read(mut stream: TcpStream) -> Self {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let line = head.lines().next().unwrap();
        let mut words = line.splitn(3, ' ').skip(1);
        Self {
            status: words.next().unwrap().parse().unwrap(),
            reason: words.next().unwrap_or_default().to_owned(),
            body: serde_json::from_str(body).unwrap_or_default(),
        }
    }

    /// The `data` of a success.
    #[track_caller]
    pub(crate) fn data(self) -> Value {
        assert_eq!(self.status, 200, "{} {}", self.reason, self.body);
        self.body["data"].clone()
    }

    /// The text of a plain failure.
    #[track_caller]
    pub(crate) fn died(self) -> String {
        assert_eq!(self.status, 500, "{} {}", self.reason, self.body);
        self.reason
    }

    /// The text about one wrong parameter.
    #[track_caller]
    pub(crate) fn wrong(self, parameter: &str) -> String {
        assert_eq!(self.status, 400, "{} {}", self.reason, self.body);
        self.body["errors"][parameter].as_str().unwrap_or_default().to_owned()
    }
}

impl Pve {
    /// Tasks end at once.
    pub(crate) fn instant(seed: Seed) -> Self {
        Self::start(Api::V9, seed, 0.0)
    }

    /// The same of another release.
    pub(crate) fn instant_of(api: Api, seed: Seed) -> Self {
        Self::start(api, seed, 0.0)
    }

    /// Tasks take their time by a clock that the test moves.
    pub(crate) fn timed(seed: Seed) -> Self {
        Self::start(Api::V9, seed, 1.0)
    }

    /// As the configuration is changed before the start.
    pub(crate) fn with(seed: Seed, change: impl FnOnce(&mut Config)) -> Self {
        Self::try_with(seed, change).unwrap()
    }

    pub(crate) fn try_with(
        seed: Seed,
        change: impl FnOnce(&mut Config),
    ) -> Result<Self, StartError> {
        Self::begin(seed, 0.0, change)
    }

    fn start(api: Api, seed: Seed, time_scale: f64) -> Self {
        Self::begin(seed, time_scale, |config| config.api = api).unwrap()
    }

    fn begin(
        mut seed: Seed,
        time_scale: f64,
        change: impl FnOnce(&mut Config),
    ) -> Result<Self, StartError> {
        seed.user_cfg += "token:root@pam!ci:0:0::\n";
        seed.tokens.push(("root@pam!ci".to_owned(), SecretString::new("secret".to_owned())));
        let (clock, manual) = Clock::manual(Duration::from_secs(START));
        let mut config = Config { clock, time_scale, ..Config::new(seed) };
        change(&mut config);
        let mock = Mock::start(config, TcpListener::bind("127.0.0.1:0").unwrap())?;
        Ok(Self { mock, clock: manual, token: "root@pam!ci=secret" })
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// The same mock for another token.
    pub(crate) fn using(mut self, token: &'static str) -> Self {
        self.token = token;
        self
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[])
    }

    pub(crate) fn post(&self, path: &str, parameters: &[(&str, &str)]) -> Answer {
        self.call("POST", path, parameters)
    }

    pub(crate) fn put(&self, path: &str, parameters: &[(&str, &str)]) -> Answer {
        self.call("PUT", path, parameters)
    }

    pub(crate) fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path, &[])
    }

    /// How the task that the call left has ended, or `running`.
    #[track_caller]
    pub(crate) fn task(&self, answer: Answer) -> String {
        let upid = answer.data();
        let upid = upid.as_str().unwrap();
        let node = upid.split(':').nth(1).unwrap();
        let status = self.get(&format!("/nodes/{node}/tasks/{upid}/status")).data();
        let shown =
            if status["status"] == "running" { &status["status"] } else { &status["exitstatus"] };
        shown.as_str().unwrap().to_owned()
    }

    /// Posts a form of another type, in two pieces.
    pub(crate) fn send(&self, path: &str, content_type: &str, body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.mock.local_addr()).unwrap();
        write!(
            stream,
            "POST /api2/json{path} HTTP/1.1\r\nAuthorization: PVEAPIToken={}\r\n\
             Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
            self.token,
            body.len()
        )
        .unwrap();
        let (first, second) = body.split_at(body.len() / 2);
        stream.write_all(first).unwrap();
        stream.flush().unwrap();
        stream.write_all(second).unwrap();
        Answer::read(stream)
    }

    /// The mock itself.
    pub(crate) fn mock(&self) -> &Mock {
        &self.mock
    }

    /// All bytes that come back before the connection ends, by whatever end.
    pub(crate) fn raw(&self, method: &str, path: &str) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.mock.local_addr()).unwrap();
        write!(
            stream,
            "{method} /api2/json{path} HTTP/1.1\r\nConnection: close\r\n\
             Authorization: PVEAPIToken={}\r\n\r\n",
            self.token
        )
        .unwrap();
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        bytes
    }

    /// Head and body of what stands beside the API.
    pub(crate) fn page(&self, path: &str, headers: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.mock.local_addr()).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    fn call(&self, method: &str, path: &str, parameters: &[(&str, &str)]) -> Answer {
        self.call_with(&self.authorization(), method, path, parameters)
    }

    /// The header line of the token.
    pub(crate) fn authorization(&self) -> String {
        format!("Authorization: PVEAPIToken={}\r\n", self.token)
    }

    /// As with other credentials than the token; every header ends with a line break.
    pub(crate) fn call_with(
        &self,
        headers: &str,
        method: &str,
        path: &str,
        parameters: &[(&str, &str)],
    ) -> Answer {
        let mut body = String::new();
        for (name, value) in parameters {
            write!(body, "{name}={}&", encoded(value)).unwrap();
        }
        let mut stream = TcpStream::connect(self.mock.local_addr()).unwrap();
        write!(
            stream,
            "{method} /api2/json{path} HTTP/1.1\r\nConnection: close\r\n{headers}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        Answer::read(stream)
    }
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        let _ = match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                write!(encoded, "{}", char::from(byte))
            }
            other => write!(encoded, "%{other:02X}"),
        };
        encoded
    })
}

/// The entry of a list in which `key` has that value.
#[track_caller]
pub(crate) fn entry<'l>(list: &'l Value, key: &str, value: &str) -> &'l Value {
    let found = list.as_array().unwrap().iter().find(|entry| {
        entry[key].as_str().map_or_else(|| entry[key].to_string(), str::to_owned) == value
    });
    found.unwrap_or_else(|| panic!("no {key} {value} in {list}"))
}
