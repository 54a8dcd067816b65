//! Lists of cipher suites as OpenSSL writes them (`openssl-ciphers(1)`), over the suites there are.
//!
//! All suites here are authenticated encryption with ephemeral keys, so a list can only choose
//! among good ones. Words for others (`RC4`, `kRSA`, `AES128-SHA`) select nothing; they are
//! returned, so that a list that meant one of them is not shortened in silence.

use rustls::SupportedCipherSuite;
use rustls::crypto::aws_lc_rs::cipher_suite as suite;

use crate::limits::CIPHER_LIST_MAX;

/// A suite under both names, and the words of the grammar that select it.
struct Row {
    iana: &'static str,
    openssl: &'static str,
    words: &'static [&'static str],
    suite: SupportedCipherSuite,
}

const fn row(
    iana: &'static str,
    openssl: &'static str,
    words: &'static [&'static str],
    suite: SupportedCipherSuite,
) -> Row {
    Row { iana, openssl, words, suite }
}

/// TLS 1.2, in the order that counts where a list says nothing else.
static TLS12: [Row; 6] = [
    row(
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        &["ECDSA", "AES256", "AESGCM", "AES"],
        suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    row(
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        &["ECDSA", "AES128", "AESGCM", "AES"],
        suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    row(
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        &["ECDSA", "CHACHA20"],
        suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    row(
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        &["RSA", "AES256", "AESGCM", "AES"],
        suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ),
    row(
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        &["RSA", "AES128", "AESGCM", "AES"],
        suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ),
    row(
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        "ECDHE-RSA-CHACHA20-POLY1305",
        &["RSA", "CHACHA20"],
        suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
];

/// Words that select every suite of TLS 1.2 there is.
static ALL: [&str; 10] = [
    "ALL",
    "DEFAULT",
    "COMPLEMENTOFDEFAULT",
    "HIGH",
    "FIPS",
    "ECDHE",
    "EECDH",
    "kECDHE",
    "kEECDH",
    "TLSv1.2",
];

/// Words for the signature of the certificate.
static SIGNATURES: [(&str, &str); 2] = [("aRSA", "RSA"), ("aECDSA", "ECDSA")];

/// TLS 1.3, likewise.
static TLS13: [Row; 3] = [
    row("TLS_AES_256_GCM_SHA384", "", &[], suite::TLS13_AES_256_GCM_SHA384),
    row("TLS_AES_128_GCM_SHA256", "", &[], suite::TLS13_AES_128_GCM_SHA256),
    row("TLS_CHACHA20_POLY1305_SHA256", "", &[], suite::TLS13_CHACHA20_POLY1305_SHA256),
];

/// A list that leaves no suite, or is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SuitesError {
    /// Nothing of what is named can be had.
    #[error("none of these suites can be had; there are {}", names().join(", "))]
    Empty,
    /// More than any list needs.
    #[error("longer than {CIPHER_LIST_MAX} bytes")]
    TooLong,
    /// A command of the grammar that would not be followed.
    #[error("{0:?} is no part of a list here; name suites or groups of them")]
    Word(String),
}

/// Suites of TLS 1.2 chosen by a list, and the words in it that select nothing here.
pub(crate) fn tls12(list: &str) -> Result<(Vec<SupportedCipherSuite>, Vec<String>), SuitesError> {
    if list.len() > CIPHER_LIST_MAX {
        return Err(SuitesError::TooLong);
    }
    let mut chosen: Vec<&Row> = Vec::new();
    let mut banned: Vec<&Row> = Vec::new();
    let mut unknown = Vec::new();
    for item in list.split([':', ',', ' ', ';']).filter(|item| !item.is_empty()) {
        if let Some(command) = item.strip_prefix('@') {
            // All suites here have at least 128 bits and no SHA-1; levels up to 2 ask no more.
            let followed = ["STRENGTH", "SECLEVEL=0", "SECLEVEL=1", "SECLEVEL=2"];
            if !followed.contains(&command) {
                return Err(SuitesError::Word(item.to_owned()));
            }
            continue;
        }
        let (sign, words) = match item.split_at_checked(1) {
            Some((sign @ ("!" | "-" | "+"), words)) => (sign, words),
            _ => ("", item),
        };
        let selected: Vec<&Row> = TLS12.iter().filter(|row| selects(words, row)).collect();
        let is_selected = |row: &&Row| selected.iter().any(|other| other.iana == row.iana);
        match sign {
            "!" => {
                chosen.retain(|row| !is_selected(row));
                banned.extend(selected);
            }
            "-" => chosen.retain(|row| !is_selected(row)),
            // To the end, those that are chosen.
            "+" => chosen.sort_by_key(is_selected),
            _ => {
                if selected.is_empty() {
                    unknown.push(item.to_owned());
                }
                let has = |list: &[&Row], row: &Row| list.iter().any(|one| one.iana == row.iana);
                for row in selected {
                    if !has(&chosen, row) && !has(&banned, row) {
                        chosen.push(row);
                    }
                }
            }
        }
    }
    match chosen.is_empty() {
        true => Err(SuitesError::Empty),
        false => Ok((chosen.into_iter().map(|row| row.suite).collect(), unknown)),
    }
}

/// Suites of TLS 1.3 by their names, colons between, and the names that are none of them.
pub(crate) fn tls13(list: &str) -> Result<(Vec<SupportedCipherSuite>, Vec<String>), SuitesError> {
    if list.len() > CIPHER_LIST_MAX {
        return Err(SuitesError::TooLong);
    }
    let (mut chosen, mut unknown) = (Vec::new(), Vec::new());
    for name in list.split([':', ',', ' ']).filter(|name| !name.is_empty()) {
        match TLS13.iter().find(|row| row.iana == name) {
            Some(row) if !chosen.contains(&row.suite) => chosen.push(row.suite),
            Some(_) => {}
            None => unknown.push(name.to_owned()),
        }
    }
    if chosen.is_empty() { Err(SuitesError::Empty) } else { Ok((chosen, unknown)) }
}

/// All suites of either version, in our order.
pub(crate) fn all() -> [Vec<SupportedCipherSuite>; 2] {
    let suites = |rows: &[Row]| rows.iter().map(|row| row.suite).collect();
    [suites(&TLS12), suites(&TLS13)]
}

/// Whether every word of `AESGCM+ECDSA` selects the suite.
fn selects(words: &str, row: &Row) -> bool {
    words.split('+').all(|word| {
        let word = SIGNATURES.iter().find(|(other, _)| *other == word).map_or(word, |(_, own)| own);
        [row.iana, row.openssl].contains(&word) || ALL.contains(&word) || row.words.contains(&word)
    })
}

fn names() -> Vec<&'static str> {
    TLS12.iter().map(|row| row.openssl).chain(TLS13.iter().map(|row| row.iana)).collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    fn chosen(list: &str) -> Vec<&'static str> {
        let (suites, _) = tls12(list).unwrap();
        let name = |suite| TLS12.iter().find(|row| row.suite == suite).unwrap().openssl;
        suites.into_iter().map(name).collect()
    }

    fn unknown(list: &str) -> Vec<String> {
        tls12(list).unwrap().1
    }

    #[test]
    fn the_list_of_the_manual() {
        let list = "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:\
            ECDHE-ECDSA-CHACHA20-POLY1305:DHE-RSA-AES256-GCM-SHA384:AES128-SHA";
        let expected = [
            "ECDHE-ECDSA-AES256-GCM-SHA384",
            "ECDHE-RSA-AES256-GCM-SHA384",
            "ECDHE-ECDSA-CHACHA20-POLY1305",
        ];
        assert_eq!(chosen(list), expected);
        assert_eq!(unknown(list), ["DHE-RSA-AES256-GCM-SHA384", "AES128-SHA"]);
    }

    #[test]
    fn words_and_signs() {
        assert_eq!(chosen("ALL").len(), 6);
        assert_eq!(chosen("HIGH:!aNULL:!MD5").len(), 6);
        assert_eq!(unknown("HIGH:!aNULL:-RC4"), [""; 0]);
        assert_eq!(chosen("ECDHE+AESGCM:!aRSA").len(), 2);
        assert_eq!(chosen("ALL:!CHACHA20:!AES256:!ECDSA"), ["ECDHE-RSA-AES128-GCM-SHA256"]);
        assert_eq!(chosen("!RSA:ALL").len(), 3);
        assert_eq!(chosen("ALL:-RSA:ALL").len(), 6);
        assert_eq!(chosen("CHACHA20:AES128+RSA")[2], "ECDHE-RSA-AES128-GCM-SHA256");
        assert_eq!(chosen("ALL:+AES256:@STRENGTH")[5], "ECDHE-RSA-AES256-GCM-SHA384");
        assert_eq!(tls12("kRSA:RC4"), Err(SuitesError::Empty));
        assert_eq!(tls12(""), Err(SuitesError::Empty));
        assert_eq!(tls12("ALL:@SECLEVEL=5"), Err(SuitesError::Word("@SECLEVEL=5".into())));
        assert_eq!(tls12(&"x".repeat(10_000)), Err(SuitesError::TooLong));
    }

    #[test]
    fn names_of_tls13() {
        let (suites, unknown) =
            tls13("TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_CCM_SHA256").unwrap();
        assert_eq!(suites, [suite::TLS13_CHACHA20_POLY1305_SHA256]);
        assert_eq!(unknown, ["TLS_AES_128_CCM_SHA256"]);
        assert_eq!(tls13("ALL"), Err(SuitesError::Empty));
    }

    /// Our suites of a list as OpenSSL orders and selects them; `None` without openssl.
    fn by_openssl(list: &str) -> Option<Vec<String>> {
        let output =
            Command::new("openssl").args(["ciphers", "-tls1_2", "-s", list]).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let ours =
            text.trim().split(':').filter(|name| TLS12.iter().any(|row| row.openssl == *name));
        Some(ours.map(str::to_owned).collect())
    }

    #[test]
    fn selects_what_openssl_selects() {
        for list in [
            "ECDHE+AESGCM:ECDHE+CHACHA20:!aRSA",
            "EECDH+AESGCM:EDH+AESGCM:AES256+EECDH:!SHA1",
            "HIGH:!aNULL:!kRSA:!MD5:!RC4",
            "ALL:!AES128",
            "ECDHE-RSA-AES128-GCM-SHA256:ECDHE+CHACHA20",
            "AESGCM+aECDSA:kECDHE+AES",
            "DEFAULT:!ECDSA",
            "ALL:!SHA1:!SHA256:!SHA384",
        ] {
            let Some(mut theirs) = by_openssl(list) else {
                println!("openssl is not there: not compared");
                return;
            };
            let mut ours = chosen(list);
            ours.sort_unstable();
            theirs.sort_unstable();
            assert_eq!(ours, theirs, "{list}");
        }
    }

    proptest! {
        #[test]
        fn any_list_is_answered(list in "[A-Za-z0-9!+@:, -]{0,60}|.{0,40}") {
            if let Ok((suites, _)) = tls12(&list) {
                prop_assert!((1..=6).contains(&suites.len()));
            }
            let _ = tls13(&list);
        }
    }
}
