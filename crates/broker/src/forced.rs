//! What a node answers to another node's broker: the program behind `command=` in its
//! `authorized_keys`.

use std::time::Duration;

use crate::config::Settings;
use crate::confine::confine;
use crate::verbs::sensors::{DeadlineFiles, model, read_chips, read_zones, sensors_j};
use crate::worker::WorkerKind;

/// One file of a sensor.
const WITHIN: Duration = Duration::from_millis(700);

/// Answers the words that ssh was given (`SSH_ORIGINAL_COMMAND`), which are one of two; everything
/// else gets the plain reading, as pulse-sensor-proxy's wrapper does. The process first gives up
/// everything but reading `/sys` and `/proc`.
///
/// # Errors
/// One line, when it can not be confined.
pub fn forced_command(words: Option<&str>) -> Result<String, String> {
    let settings = Settings::default();
    let confined = confine(&WorkerKind::Reader.confinement(&settings), &[]);
    confined.map_err(|error| error.to_string())?;
    let mut files = DeadlineFiles::new(WITHIN);
    let chips = read_chips("/".as_ref(), &mut files, &[]);
    Ok(match words {
        Some("sensors.read model") => {
            model(&chips, &read_zones("/".as_ref(), &mut files)).to_string()
        }
        _ => serde_json::json!({"sensors": sensors_j(&chips)}).to_string(),
    })
}
