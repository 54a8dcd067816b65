//! The one runner of other programs.
