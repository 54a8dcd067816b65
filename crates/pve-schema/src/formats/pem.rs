//! PEM texts. Source: PVE::Certificate.

use super::{Row, require};

pub(super) static FORMATS: [Row; 3] = [
    Row::code("pem-certificate", |text| blocks(text, |label| label == "CERTIFICATE", 1)),
    Row::code("pem-certificate-chain", |text| {
        blocks(text, |label| label == "CERTIFICATE", usize::MAX)
    }),
    Row::code("pem-string", |text| blocks(text, |_| true, 1)),
];

/// Text before the first block is passed over; after the last one only blanks may stand.
fn blocks(text: &str, is_label: fn(&str) -> bool, most: usize) -> Result<(), String> {
    let mut rest = text.find(BEGIN).and_then(|at| text.get(at..));
    let mut count = 0_usize;
    while let Some(block) = rest {
        let Some(after) = after_block(block, is_label) else {
            return require(false, REFUSED);
        };
        count += 1;
        rest = (!after.trim_start().is_empty()).then_some(after.trim_start());
    }
    require((1..=most).contains(&count), REFUSED)
}

const BEGIN: &str = "-----BEGIN ";
const REFUSED: &str = "not a valid PEM-formatted string.";

fn after_block(block: &str, is_label: fn(&str) -> bool) -> Option<&str> {
    let (label, rest) = block.strip_prefix(BEGIN)?.split_once("-----")?;
    let (body, after) = rest.split_once(&format!("-----END {label}-----"))?;
    let is_base64 = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
    let digits: String = body.split_whitespace().collect();
    let lawful = digits.trim_end_matches('=').bytes().all(is_base64)
        && digits.bytes().rev().take_while(|b| *b == b'=').count() <= 2
        && body.ends_with('\n');
    (lawful && is_label(label) && !label.contains('\n')).then_some(after)
}

#[cfg(test)]
mod tests {
    use super::super::check_named as check;

    const ONE: &str = "-----BEGIN CERTIFICATE-----\nQUJD\nREU=\n-----END CERTIFICATE-----\n";

    #[test]
    fn certificates_chains_and_keys() {
        assert_eq!(check("pem-certificate", ONE), Ok(()));
        assert_eq!(check("pem-certificate", &format!("subject: x\n{ONE}")), Ok(()));
        assert_eq!(check("pem-certificate-chain", &format!("{ONE}\n{ONE}")), Ok(()));
        assert_eq!(check("pem-string", &ONE.replace("CERTIFICATE", "EC PRIVATE KEY")), Ok(()));
    }

    #[test]
    fn others_are_refused() {
        let refused = Err("not a valid PEM-formatted string.\n".to_owned());
        for text in [
            "",
            "x",
            "-----BEGIN CERTIFICATE-----",
            &ONE.replace("QUJD", "Q$JD"),
            &format!("{ONE}x"),
        ] {
            assert_eq!(check("pem-certificate", text), refused, "{text}");
        }
        assert_eq!(check("pem-certificate", &format!("{ONE}{ONE}")), refused);
        assert_eq!(check("pem-certificate", &ONE.replace("CERTIFICATE", "PRIVATE KEY")), refused);
    }
}
