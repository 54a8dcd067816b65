//! Which commands a parked Node.js can become.

use super::wire::Call;
use crate::policy::Policy;

/// Variables that Node.js and the C library read at their start: a slot is built with them.
const EARLY: [&str; 11] =
    ["NODE_", "UV_", "SSL_", "OPENSSL_", "MALLOC_", "GLIBC_", "LC_", "LANG", "TZ", "ICU_", "PATH"];
/// Of these, one that only scripts read.
const LATE: &str = "NODE_ENV";
/// Options for the start of Node.js, of which some run code.
const OPTIONS: &str = "NODE_OPTIONS";

/// The call of a command's words, without those that only a fresh Node.js understands.
pub(super) fn of(words: &[String]) -> Option<Call> {
    let (_, rest) = words.split_first()?;
    let (first, rest) = rest.split_first()?;
    let evaluates = matches!(first.as_str(), "-e" | "--eval" | "-p" | "--print");
    let mut arguments = rest.to_vec();
    let mut code = None;
    if evaluates {
        if arguments.is_empty() {
            return None;
        }
        code = Some(arguments.remove(0));
        // Before a script's name everything that begins so is for Node.js itself.
        if arguments.iter().any(|one| one.starts_with('-')) {
            return None;
        }
    } else if first.starts_with('-') {
        return None;
    } else {
        arguments.insert(0, first.clone());
    }
    let print = first.starts_with("-p") || first == "--print";
    Some(Call { arguments, code, print, environment: Vec::new() })
}

/// Moves the variables that can be set later from a policy to a call; none when one of them has to
/// be there at the start and runs code.
pub(super) fn split_environment(policy: &mut Policy, call: &mut Call) -> Option<()> {
    if policy.env.contains_key(OPTIONS) {
        return None;
    }
    let is_early = |name: &str| name != LATE && EARLY.iter().any(|early| name.starts_with(early));
    let (early, late) =
        std::mem::take(&mut policy.env).into_iter().partition(|(name, _)| is_early(name));
    policy.env = early;
    let late: std::collections::BTreeMap<String, String> = late;
    call.environment = late.into_iter().collect();
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(words: &str) -> Option<Call> {
        of(&words.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn scripts_and_code_are_calls_and_options_of_node_are_not() {
        let script = call("node app.js -v x").unwrap();
        assert_eq!((script.arguments.len(), script.code), (3, None));
        let code = call("node -p 1+1 a").unwrap();
        assert_eq!((code.code.as_deref(), code.print), (Some("1+1"), true));
        for words in ["node", "node -e", "node --jitless app.js", "node -e 1 --jitless", "node -"] {
            assert_eq!(call(words), None, "{words}");
        }
    }

    #[test]
    fn what_node_reads_at_its_start_stays_in_the_policy() {
        let env = [("NODE_ENV", "test"), ("TZ", "UTC"), ("ID", "7")];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let mut policy = Policy { env, ..Policy::default() };
        let mut call = call("node a.js").unwrap();
        split_environment(&mut policy, &mut call).unwrap();
        assert_eq!((policy.env.len(), call.environment.len()), (1, 2));
        policy.env.insert(OPTIONS.to_owned(), "--require ./x.js".to_owned());
        assert_eq!(split_environment(&mut policy, &mut call), None);
    }
}
