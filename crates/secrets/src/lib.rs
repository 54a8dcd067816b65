//! May this be shown or stored? Secret types, masking, private files, credentials from the environment.
//!
//! A secret leaks by one of four roads, and each has its gate here:
//!
//! * it is printed: [`Secret`] has no `Display` and a `Debug` that says nothing, and is
//!   overwritten when dropped;
//! * it is part of a text somebody else made (a header, a URL, an error of PVE, a command
//!   line): [`mask`] finds it by the name before it or by its own shape;
//! * it lies in a file that others may read: [`private_file`] refuses such files;
//! * it was given in the environment, where `/proc/PID/environ` shows it as long as the
//!   process lives: [`environ`] moves it out.
//!
//! What a secret is good for is decided elsewhere. When in doubt, [`mask`] hides too much.

mod secret;

pub mod environ;
pub mod mask;
pub mod private_file;
pub mod random;

pub use secret::{Secret, SecretBytes, SecretString};
