//! The recorded host, as far as its README describes it.

use std::collections::BTreeMap;

use mock::{NodeSeed, Seed, StorageSeed, Version};
use secrets::SecretString;
use serde_json::Value;

use super::corpus::Corpus;

/// Accounts and rules at the start of the recording.
const USER_CFG: &str = "\
user:root@pam:1:0::::
user:alice@pve:1:0::::
token:alice@pve!old:1000000000:0::
user:bob@pve:1:0::::
user:dave@pve:0:0::::
user:erin@pve:1:1000000000::::
user:ops@pve:1:0::::
token:ops@pve!full:0:0::
token:ops@pve!sep:0:1::
user:tina@pve:1:0::::

group:admins:ops@pve::

pool:testpool::::

acl:1:/:alice@pve,tina@pve:PVEAuditor:
acl:1:/:@admins:PVEAdmin:
acl:1:/storage/local:ops@pve:PVEDatastoreAdmin:
";

/// Users whose password is `<name>-test-pw`.
const USERS: [&str; 6] = ["alice", "bob", "dave", "erin", "ops", "tina"];

/// A cluster of one node without a status daemon. Token secrets and the node's fingerprint were
/// made by the recorded host; they are read from the records.
pub(super) fn recorded_host(corpus: &Corpus) -> Seed {
    let password = |text: String| SecretString::new(text);
    let mut passwords: Vec<(String, SecretString)> = USERS
        .iter()
        .map(|name| (format!("{name}@pve"), password(format!("{name}-test-pw"))))
        .collect();
    passwords.push(("root@pam".to_owned(), password("root-test-pw1".to_owned())));
    Seed {
        version: Version {
            version: "8.4.21".to_owned(),
            release: "8.4".to_owned(),
            repoid: "2606ac850d46da29".to_owned(),
        },
        cluster: None,
        nodes: vec![NodeSeed {
            name: "pve1".to_owned(),
            ip: "192.0.2.10".to_owned(),
            ssl_fingerprint: fingerprint(corpus),
            hardware: None,
        }],
        guests: Vec::new(),
        storages: vec![StorageSeed {
            id: "local".to_owned(),
            kind: "dir".to_owned(),
            content: "images,vztmpl,backup,snippets,iso".to_owned(),
            path: Some("/var/lib/vz".to_owned()),
            shared: false,
            size: None,
        }],
        user_cfg: USER_CFG.to_owned(),
        passwords,
        tokens: tokens(corpus),
    }
}

/// The secrets that the recorded clients used, by token id; all zeros was their wrong guess.
fn tokens(corpus: &Corpus) -> Vec<(String, SecretString)> {
    let headers = corpus.records.values().flat_map(|record| &record.request.headers);
    let values = headers.filter_map(|(_, value)| value.strip_prefix("PVEAPIToken="));
    let pairs = values.filter_map(|value| value.split_once('='));
    let real = pairs.filter(|(_, secret)| !secret.starts_with("00000000-"));
    let by_id: BTreeMap<&str, &str> = real.collect();
    by_id
        .into_iter()
        .map(|(id, secret)| (id.to_owned(), SecretString::new(secret.to_owned())))
        .collect()
}

fn fingerprint(corpus: &Corpus) -> Option<String> {
    let answers = corpus.records.values().flat_map(super::corpus::Record::answers);
    answers.filter_map(|answer| answer.pointer("/body/text").and_then(Value::as_str)).find_map(
        |text| {
            let (_, rest) = text.split_once("\"ssl_fingerprint\":\"")?;
            Some(rest.split('"').next()?.to_owned())
        },
    )
}
