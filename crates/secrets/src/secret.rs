//! The type that does not tell.

use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// A text that must not be shown: a password, a ticket, a token's secret.
pub type SecretString = Secret<String>;
/// Bytes that must not be shown: a private key, the content of a private file.
pub type SecretBytes = Secret<Vec<u8>>;

/// A value without `Display` and without `Serialize`, whose `Debug` is `Secret(…)` and whose
/// memory is overwritten when it is dropped.
///
/// The overwriting covers the value's last place in memory. A `String` that was grown on the
/// way left copies behind: build secrets at their full size, and move them in early.
#[derive(Clone)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Takes the value in.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value. Every use of this is a place to review: what it returns can be printed.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl Secret<String> {
    /// Whether both are equal, in a time that depends on the lengths only.
    pub fn same_as(&self, other: &str) -> bool {
        self.0.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

impl Secret<Vec<u8>> {
    /// Whether both are equal, in a time that depends on the lengths only.
    pub fn same_as(&self, other: &[u8]) -> bool {
        self.0.ct_eq(other).into()
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl From<String> for SecretString {
    fn from(value: String) -> Self {
        Self::new(value)
    }
}

impl From<&str> for SecretString {
    fn from(value: &str) -> Self {
        Self::new(value.to_owned())
    }
}

impl From<Vec<u8>> for SecretBytes {
    fn from(value: Vec<u8>) -> Self {
        Self::new(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn debug_says_nothing_even_inside_other_types() {
        let shown =
            format!("{:?} {:#?}", Some(SecretString::from("canary")), SecretBytes::from(vec![7]));
        assert!(!shown.contains("canary") && !shown.contains('7'), "{shown}");
        assert!(shown.contains("Secret(…)"));
    }

    #[test]
    fn equality_looks_at_every_byte_and_the_length() {
        let secret = SecretString::from("abc");
        assert!(secret.same_as("abc"));
        for other in ["", "ab", "abcd", "abd", "bbc"] {
            assert!(!secret.same_as(other), "{other}");
        }
        assert!(SecretBytes::from(vec![1, 2]).same_as(&[1, 2]));
        assert!(!SecretBytes::from(vec![1, 2]).same_as(&[1, 3]));
    }

    #[test]
    fn dropping_overwrites() {
        struct Probe(Arc<AtomicBool>);
        impl Zeroize for Probe {
            fn zeroize(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let seen = Arc::new(AtomicBool::new(false));
        drop(Secret::new(Probe(Arc::clone(&seen))));
        assert!(seen.load(Ordering::SeqCst));
    }
}
