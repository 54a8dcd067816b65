//! Every limit of this crate, by name.

/// Largest configuration file in bytes.
pub const FILE_BYTES: usize = 1024 * 1024;

/// Most files that one configuration directory may hold.
pub const DIRECTORY_FILES: usize = 256;

/// Largest value of an environment variable in bytes.
pub const ENVIRONMENT_VALUE: usize = 64 * 1024;

/// Deepest nesting of tables and arrays, the section being the first level.
pub const DEPTH: usize = 16;
