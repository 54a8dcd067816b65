use state::Memory;

use super::*;

const START: Duration = Duration::from_secs(1000);

fn rules(text: &str) -> PolicyRules {
    serde_json::from_str::<PolicySettings>(text).unwrap().check().unwrap()
}

fn old() -> PolicyRules {
    rules(r#"{"profiles":["no-shell"]}"#)
}

fn new() -> PolicyRules {
    rules(r#"{"default":"deny"}"#)
}

fn later(seconds: u64) -> Duration {
    START + Duration::from_secs(seconds)
}

fn denies(policy: &Policy, now: Duration) -> bool {
    policy.generation(now);
    policy.current().rules.settings == new().settings
}

fn seen() -> Option<Seen> {
    Some(Seen { user: "root@pam".into(), client: "192.0.2.1".parse().unwrap() })
}

fn wait<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// A gate that was stopped, and what it has left behind.
fn restart(writer: &Arc<Writer>) -> (Vec<Entry>, Option<Arc<Writer>>) {
    let mut store = writer.shutdown().unwrap();
    let stored = store.load(Table::Pending).unwrap();
    (stored, Some(Arc::new(Writer::start(store).unwrap())))
}

fn begin(rules: PolicyRules, stored: &[Entry], keeper: Option<&Arc<Writer>>) -> Policy {
    Policy::begin(rules, stored, (keeper, None), START).unwrap()
}

fn writer() -> Arc<Writer> {
    Arc::new(Writer::start(Box::new(Memory::new())).unwrap())
}

#[test]
fn a_change_nobody_confirms_is_taken_back() {
    let policy = begin(old(), &[], None);
    assert_eq!(policy.propose(old(), START).unwrap(), None);
    let proposed = policy.propose(new(), START).unwrap().unwrap();
    let before = policy.generation(START);
    assert!(denies(&policy, later(59)));
    assert!(!denies(&policy, later(60)));
    assert_ne!(policy.generation(later(60)), before);
    let confirmed = wait(policy.confirm(&proposed.id, &Proof::Connection(later(1)), later(61)));
    assert!(matches!(confirmed, Err(NotConfirmed::Unknown)));
}

#[test]
fn a_connection_made_before_the_change_proves_nothing() {
    let policy = begin(old(), &[], None);
    let id = policy.propose(new(), later(10)).unwrap().unwrap().id;
    let confirm = |proof| wait(policy.confirm(&id, &proof, later(20)));
    assert!(matches!(confirm(Proof::Connection(later(9))), Err(NotConfirmed::OldConnection)));
    assert!(matches!(confirm(Proof::Operator), Err(NotConfirmed::NobodySeen)));
    policy.saw(later(9), seen);
    assert!(matches!(confirm(Proof::Operator), Err(NotConfirmed::NobodySeen)));
    policy.saw(later(11), seen);
    assert_eq!(confirm(Proof::Operator).unwrap(), seen());
    assert!(denies(&policy, later(1000)));
}

#[test]
fn a_restart_goes_back_to_what_was_confirmed() {
    let first = writer();
    let policy = begin(old(), &[], Some(&first));
    policy.propose(new(), START).unwrap().unwrap();
    let (stored, second) = restart(&first);
    // The file says the new ones, which were not confirmed.
    let policy = begin(new(), &stored, second.as_ref());
    assert!(!denies(&policy, START));
    // A reload tries them again, and now they are confirmed.
    let id = policy.propose(new(), START).unwrap().unwrap().id;
    wait(policy.confirm(&id, &Proof::Connection(later(1)), later(2))).unwrap();
    let (stored, third) = restart(&second.unwrap());
    let policy = begin(new(), &stored, third.as_ref());
    assert!(denies(&policy, later(1000)));
}

#[test]
fn a_start_with_other_rules_is_a_change() {
    let first = writer();
    begin(old(), &[], Some(&first));
    let (stored, second) = restart(&first);
    let policy = begin(new(), &stored, second.as_ref());
    assert!(denies(&policy, later(59)));
    assert!(!denies(&policy, later(60)));
}

#[test]
fn proposing_what_is_confirmed_ends_the_trial() {
    let policy = begin(old(), &[], None);
    policy.propose(new(), START).unwrap().unwrap();
    assert_eq!(policy.propose(old(), later(1)).unwrap(), None);
    assert!(!denies(&policy, later(2)));
    // One trial after the other goes back to what was confirmed, not to the other trial.
    policy.propose(new(), later(3)).unwrap().unwrap();
    policy.propose(rules(r#"{"profiles":["read-only"]}"#), later(4)).unwrap().unwrap();
    policy.generation(later(64));
    assert_eq!(policy.current().rules.settings, old().settings);
}
