//! Readers of bytes from outside, for the fuzz targets; not part of the API.
