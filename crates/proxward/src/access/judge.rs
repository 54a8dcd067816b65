//! `proxward access judge`: one answer a line, in the order of the questions.

use std::io::{BufRead, BufReader, Read as _, Write, stdin, stdout};

use pve_access::limits::MAX_JUDGE_LINE_BYTES;
use pve_access::{Release, judge};

use crate::exit::{Exit, Stop};

pub(crate) fn run(release: Release) -> Result<(), Stop> {
    let mut input = BufReader::new(stdin().lock());
    let mut output = stdout().lock();
    let mut line = Vec::new();
    for number in 1_u64.. {
        if !next_line(&mut input, &mut line).map_err(|error| at(number, &error))? {
            break;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let answer = judge::answer(release, &line).map_err(|error| at(number, &error))?;
        match write(&mut output, &answer) {
            Ok(()) => {}
            // A reader that has seen enough is not an error of ours.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => break,
            Err(error) => return Err(Stop::say(Exit::Usage, format!("stdout: {error}"))),
        }
    }
    Ok(())
}

/// Reads a line, one byte more than is allowed at most; false at the end.
fn next_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<bool> {
    line.clear();
    let most = u64::try_from(MAX_JUDGE_LINE_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    Ok(input.take(most).read_until(b'\n', line)? > 0)
}

fn write(output: &mut impl Write, answer: &judge::Answer) -> std::io::Result<()> {
    serde_json::to_writer(&mut *output, answer)?;
    output.write_all(b"\n")?;
    output.flush()
}

fn at(number: u64, error: &dyn std::fmt::Display) -> Stop {
    Stop::say(Exit::Usage, format!("line {number}: {error}"))
}
