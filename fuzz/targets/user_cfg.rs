//! `user.cfg`: rewriting the file changes nothing, above all no right.
#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use pve_access::{Release, roles};
use pve_formats::user_cfg::UserConfig;

fuzz_target!(|text: &str| {
    let vocabulary = roles::vocabulary(Release::V9);
    let Ok(parsed) = UserConfig::parse(text, &vocabulary) else {
        return;
    };
    assert!(parsed.config.users.contains_key("root@pam"));
    let Ok(written) = parsed.config.write(&vocabulary) else {
        return;
    };
    let again = UserConfig::parse(&written, &vocabulary).expect("not larger than it was").config;
    assert_eq!(again, lasting(parsed.config), "{written:?}");
});

/// The configuration without what PVE does not write: predefined roles that were widened, entries
/// of `root@pam`, those of tokens that are gone, and an address or keys that Perl calls false.
fn lasting(mut config: UserConfig) -> UserConfig {
    config.roles.retain(|name, _| !roles::is_predefined(name));
    let tokens = config
        .users
        .iter()
        .flat_map(|(user, data)| data.tokens.keys().map(move |token| format!("{user}!{token}")));
    let tokens: BTreeSet<String> = tokens.collect();
    for user in config.users.values_mut() {
        user.email.take_if(|email| email == "0");
        user.keys.take_if(|keys| keys.0.same_as("0"));
    }
    for acl in config.acl.values_mut() {
        acl.users.remove("root@pam");
        acl.tokens.retain(|token, _| tokens.contains(token));
    }
    config.acl.retain(|_, acl| !acl.is_empty());
    config
}
