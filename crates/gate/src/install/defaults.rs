//! pveproxy's defaults with another `LISTEN_IP`, all other bytes as they were.

const KEY: &[u8] = b"LISTEN_IP=";
const LINE: &[u8] = b"LISTEN_IP=\"127.0.0.1\"\n";

/// Each line that sets the address is replaced where it stands, so that a later one does not win;
/// without any, one is added at the end. It is a file of bash: what is not an assignment at the
/// beginning of a line is kept as it is.
pub(super) fn on_loopback(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + LINE.len());
    let mut set = false;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let assignment = line.trim_ascii_start();
        let assignment = assignment.strip_prefix(b"export ").unwrap_or(assignment);
        if assignment.trim_ascii_start().starts_with(KEY) {
            out.extend_from_slice(LINE);
            set = true;
        } else {
            out.extend_from_slice(line);
        }
    }
    if !set {
        if out.last().is_some_and(|last| *last != b'\n') {
            out.push(b'\n');
        }
        out.extend_from_slice(LINE);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_assignment_is_replaced_and_the_rest_kept() {
        let after = |text: &str| String::from_utf8(on_loopback(text.as_bytes())).unwrap();
        assert_eq!(after(""), "LISTEN_IP=\"127.0.0.1\"\n");
        assert_eq!(after("POLICY=deny"), "POLICY=deny\nLISTEN_IP=\"127.0.0.1\"\n");
        assert_eq!(
            after("# LISTEN_IP=1\nLISTEN_IP=\"10.0.0.1\"\n export LISTEN_IP=::\nA=b\n"),
            "# LISTEN_IP=1\nLISTEN_IP=\"127.0.0.1\"\nLISTEN_IP=\"127.0.0.1\"\nA=b\n"
        );
    }

    proptest! {
        #[test]
        fn once_is_enough(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let once = on_loopback(&text);
            prop_assert_eq!(on_loopback(&once), once);
        }
    }
}
