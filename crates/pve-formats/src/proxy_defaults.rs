//! `/etc/default/pveproxy`: assignments for a shell, read without one.
//!
//! Stock sources the file with bash (`PVE::APIServer::Utils::read_proxy_config`), so whoever can
//! write it runs commands as the server. Here it is text: `NAME=VALUE`, comments, `export`, the
//! three ways of quoting. What only a shell could evaluate (`$`, backticks, `;`, redirections,
//! `+=`, arrays, a value over several lines) is refused with its line, because passing over it
//! could drop an address list that bash would have set. What is accepted, bash reads alike: a
//! property test asks it.

use crate::limits::MAX_PROXY_DEFAULTS_BYTES;

/// A setting that stock knows, with what it does there.
pub type Setting = (&'static str, &'static str);

/// Every setting of pveproxy 9; others in the file mean nothing to it.
pub const SETTINGS: [Setting; 15] = [
    ("ALLOW_FROM", "addresses that may connect"),
    ("DENY_FROM", "addresses that may not"),
    ("POLICY", "`allow` or `deny`, for addresses in both lists or in none"),
    ("LISTEN_IP", "the address to listen on"),
    ("CIPHERS", "suites of TLS 1.2 in OpenSSL's grammar"),
    ("CIPHERSUITES", "suites of TLS 1.3, colons between"),
    ("DHPARAMS", "file with Diffie-Hellman parameters"),
    ("HONOR_CIPHER_ORDER", "whether the server's order of suites counts"),
    ("COMPRESSION", "whether answers are compressed"),
    ("DISABLE_TLS_1_2", "whether TLS 1.2 is off"),
    ("DISABLE_TLS_1_3", "whether TLS 1.3 is off"),
    ("TLS_KEY_FILE", "private key of pveproxy-ssl.pem"),
    ("MAX_WORKERS", "processes, 1 to 127"),
    ("PROXY_REAL_IP_HEADER", "header in which a proxy writes the client's address"),
    ("PROXY_REAL_IP_ALLOW_FROM", "proxies that are believed"),
];

/// The assignments of a file, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyDefaults(Vec<Assignment>);

/// One `NAME=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The name as it is written.
    pub name: String,
    /// The value without its quotes. Empty means "not set" to stock.
    pub value: String,
    /// The line, counted from 1.
    pub line: usize,
}

/// Why a file is refused: the line, what is wrong, and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct DefaultsError {
    line: usize,
    reason: Reason,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Reason {
    #[error("{0:?} would need a shell; write the plain value, or put it in single quotes")]
    Shell(char),
    #[error("not an assignment; write NAME=VALUE without blanks around the =")]
    NotAnAssignment,
    #[error("a quote that does not end on its line; close it")]
    OpenQuote,
    #[error("a control character; remove it (a file with Windows line ends has one in each line)")]
    Control,
    #[error("not UTF-8; write plain ASCII")]
    Encoding,
    #[error("the file has more than {MAX_PROXY_DEFAULTS_BYTES} bytes; is it the right one?")]
    TooLarge,
}

impl DefaultsError {
    /// The line at fault, counted from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }

    /// What is wrong and what to do, without the line.
    #[must_use]
    pub fn reason(&self) -> String {
        self.reason.to_string()
    }
}

impl ProxyDefaults {
    /// Reads the bytes of a file.
    ///
    /// # Errors
    /// The first line that is no assignment of plain text.
    pub fn parse(bytes: &[u8]) -> Result<Self, DefaultsError> {
        if bytes.len() > MAX_PROXY_DEFAULTS_BYTES {
            return Err(DefaultsError { line: 1, reason: Reason::TooLarge });
        }
        let mut assignments = Vec::new();
        for (at, bytes) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let line = at + 1;
            let read = std::str::from_utf8(bytes).map_err(|_| Reason::Encoding).and_then(words);
            let read = read.map_err(|reason| DefaultsError { line, reason })?;
            let assigned = read.into_iter().map(|(name, value)| Assignment { name, value, line });
            assignments.extend(assigned);
        }
        Ok(Self(assignments))
    }

    /// The value in force of a setting: the last one, unless it is empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Assignment> {
        let last = self.0.iter().rfind(|assignment| assignment.name == name);
        last.filter(|assignment| !assignment.value.is_empty())
    }

    /// All assignments, in the order of the file.
    pub fn assignments(&self) -> impl Iterator<Item = &Assignment> {
        self.0.iter()
    }
}

/// The assignments of one line.
fn words(line: &str) -> Result<Vec<(String, String)>, Reason> {
    let mut rest = skip_blanks(line);
    if rest.starts_with('#') {
        return Ok(Vec::new());
    }
    if let Some(control) = line.chars().find(|c| c.is_control() && *c != '\t') {
        debug_assert!(control != '\n', "lines were split");
        return Err(Reason::Control);
    }
    if let Some(exported) = rest.strip_prefix("export").filter(|rest| rest.starts_with(is_blank)) {
        rest = skip_blanks(exported);
        if ends(rest) {
            return Err(Reason::NotAnAssignment);
        }
    }
    let mut found = Vec::new();
    while !ends(rest) {
        let (name, after) = name(rest)?;
        let (value, after) = value(after)?;
        found.push((name.to_owned(), value));
        rest = skip_blanks(after);
    }
    Ok(found)
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

fn skip_blanks(text: &str) -> &str {
    text.trim_start_matches(is_blank)
}

/// Whether nothing but a comment is left. Only asked where a word would begin.
fn ends(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with('#')
}

/// The name before a `=`, and what follows that.
fn name(text: &str) -> Result<(&str, &str), Reason> {
    let (name, after) = text.split_once('=').ok_or_else(|| not_an_assignment(text))?;
    let mut characters = name.chars();
    let first = characters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    if first && characters.all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Ok((name, after));
    }
    Err(not_an_assignment(name))
}

/// Says what needs a shell, where that is why.
fn not_an_assignment(text: &str) -> Reason {
    text.chars().find(|c| needs_shell(*c)).map_or(Reason::NotAnAssignment, Reason::Shell)
}

/// Whether bash gives the character a meaning outside of quotes that plain text does not have.
fn needs_shell(c: char) -> bool {
    matches!(c, '$' | '`' | ';' | '&' | '|' | '<' | '>' | '(' | ')')
}

/// The value at the start of `text`, up to a blank outside of quotes, and the rest.
fn value(text: &str) -> Result<(String, &str), Reason> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    // Where bash would put a home directory in the place of a tilde.
    let mut tilde = true;
    while let Some((at, c)) = characters.next() {
        let expands = std::mem::replace(&mut tilde, c == ':');
        match c {
            ' ' | '\t' => return Ok((value, text.get(at..).unwrap_or_default())),
            '\'' => single_quoted(&mut characters, &mut value)?,
            '"' => double_quoted(&mut characters, &mut value)?,
            '\\' => {
                // At the end of a line it would join the next one.
                let (_, escaped) = characters.next().ok_or(Reason::Shell('\\'))?;
                value.push(escaped);
            }
            '~' if expands => return Err(Reason::Shell('~')),
            _ if needs_shell(c) => return Err(Reason::Shell(c)),
            _ => value.push(c),
        }
    }
    Ok((value, ""))
}

fn single_quoted(
    characters: &mut impl Iterator<Item = (usize, char)>,
    value: &mut String,
) -> Result<(), Reason> {
    loop {
        match characters.next().ok_or(Reason::OpenQuote)?.1 {
            '\'' => return Ok(()),
            c => value.push(c),
        }
    }
}

fn double_quoted(
    characters: &mut impl Iterator<Item = (usize, char)>,
    value: &mut String,
) -> Result<(), Reason> {
    loop {
        match characters.next().ok_or(Reason::OpenQuote)?.1 {
            '"' => return Ok(()),
            c @ ('$' | '`') => return Err(Reason::Shell(c)),
            '\\' => match characters.next().ok_or(Reason::OpenQuote)?.1 {
                c @ ('$' | '`' | '"' | '\\') => value.push(c),
                c => value.extend(['\\', c]),
            },
            c => value.push(c),
        }
    }
}

#[cfg(test)]
mod tests;
