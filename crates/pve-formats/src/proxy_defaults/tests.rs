use std::process::Command;

use proptest::prelude::*;

use super::{ProxyDefaults, SETTINGS};

fn read(text: &str) -> Result<Vec<(String, String, usize)>, String> {
    let read = ProxyDefaults::parse(text.as_bytes()).map_err(|error| error.to_string())?;
    let row = |a: &super::Assignment| (a.name.clone(), a.value.clone(), a.line);
    Ok(read.assignments().map(row).collect())
}

fn one(line: &str) -> Result<String, String> {
    let read = read(line)?;
    assert_eq!(read.len(), 1, "{line}");
    Ok(read[0].1.clone())
}

#[test]
fn the_forms_of_the_manual() {
    let text = "# addresses\n\nALLOW_FROM=\"10.0.0.1-10.0.0.5,192.168.0.0/22\"\n\
        DENY_FROM='all'  # the rest\n\texport POLICY=allow\nLISTEN_IP=192.0.2.1\nA=1 B=2\nEMPTY=\n";
    let expected = [
        ("ALLOW_FROM", "10.0.0.1-10.0.0.5,192.168.0.0/22", 3),
        ("DENY_FROM", "all", 4),
        ("POLICY", "allow", 5),
        ("LISTEN_IP", "192.0.2.1", 6),
        ("A", "1", 7),
        ("B", "2", 7),
        ("EMPTY", "", 8),
    ];
    let expected = expected.map(|(name, value, line)| (name.to_owned(), value.to_owned(), line));
    assert_eq!(read(text).unwrap(), expected);
}

#[test]
fn the_last_one_counts_and_an_empty_one_is_none() {
    let read = ProxyDefaults::parse(b"POLICY=allow\nPOLICY=deny\nCIPHERS=x\nCIPHERS=\n").unwrap();
    assert_eq!(
        read.get("POLICY").map(|found| (found.value.as_str(), found.line)),
        Some(("deny", 2))
    );
    assert_eq!(read.get("CIPHERS"), None);
    assert_eq!(read.get("POLIC"), None);
}

#[test]
fn quotes_as_a_shell_reads_them() {
    for (line, value) in [
        ("A='a b'", "a b"),
        ("A='$x `y` ;'", "$x `y` ;"),
        (r#"A="a \"b\" \$c \\ \d""#, r#"a "b" $c \ \d"#),
        (r"A=a\ b\$c\\", r"a b$c\"),
        (r#"A=a'b'"c"d"#, "abcd"),
        ("A=a#b", "a#b"),
        ("A=#b", "#b"),
        ("A=b=c", "b=c"),
        ("A=*?[x]{a,b}!", "*?[x]{a,b}!"),
        ("A=a~", "a~"),
        ("A='~'", "~"),
        ("A=é", "é"),
    ] {
        assert_eq!(one(line).as_deref(), Ok(value), "{line}");
    }
}

#[test]
fn what_needs_a_shell_is_refused_with_its_line() {
    for (line, words) in [
        ("A=$B", "'$' would need a shell"),
        ("A=\"$(id)\"", "'$' would need a shell"),
        ("A=`id`", "'`' would need a shell"),
        ("A=\"`id`\"", "'`' would need a shell"),
        ("A=1;", "';' would need a shell"),
        ("A=1; rm x", "';' would need a shell"),
        ("A=1 && id", "'&' would need a shell"),
        ("A=1|id", "'|' would need a shell"),
        ("A=1 >x", "'>' would need a shell"),
        ("A=(1 2)", "'(' would need a shell"),
        ("A=~/x", "'~' would need a shell"),
        ("A=x:~/x", "'~' would need a shell"),
        ("A=1\\", "'\\\\' would need a shell"),
        ("A+=1", "not an assignment"),
        ("A[0]=1", "not an assignment"),
        ("A =1", "not an assignment"),
        ("A= id", "not an assignment"),
        ("A=1 id", "not an assignment"),
        ("export A", "not an assignment"),
        ("export", "not an assignment"),
        ("unset A", "not an assignment"),
        (". /etc/other", "not an assignment"),
        ("1A=1", "not an assignment"),
        ("=1", "not an assignment"),
        ("if [ x = y ]", "not an assignment"),
        ("A='1", "does not end"),
        ("A=\"1", "does not end"),
        ("A=\"1\\", "does not end"),
        ("A=1\r", "control character"),
        ("A='\u{7}'", "control character"),
    ] {
        let error = read(&format!("# one\n{line}\n")).unwrap_err();
        assert!(error.starts_with("line 2: ") && error.contains(words), "{line}: {error}");
    }
    assert!(ProxyDefaults::parse(b"A=\xff").unwrap_err().to_string().contains("UTF-8"));
    assert!(ProxyDefaults::parse(&vec![b'\n'; 100_000]).unwrap_err().to_string().contains("bytes"));
}

#[test]
fn settings_are_named_once() {
    let mut names = SETTINGS.map(|(name, _)| name).to_vec();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), SETTINGS.len());
}

/// What bash makes of `A` in each file, files one after the other.
fn by_bash(files: &[String]) -> Option<Vec<String>> {
    let directory = std::env::temp_dir().join(format!("proxy-defaults-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    for (at, file) in files.iter().enumerate() {
        std::fs::write(directory.join(at.to_string()), file).unwrap();
    }
    let script =
        "cd \"$1\" && for ((i = 0; i < $2; i++)); do (. ./$i; printf '%s\\0' \"$A\"); done";
    let ran = Command::new("bash")
        .args(["--norc", "--noprofile", "-c", script, "bash"])
        .arg(&directory)
        .arg(files.len().to_string())
        .env_clear()
        .output();
    std::fs::remove_dir_all(&directory).unwrap();
    let output = ran.ok().filter(|output| output.status.success())?;
    let values = output.stdout.split(|byte| *byte == 0);
    let values = values.map(|value| String::from_utf8_lossy(value).into_owned());
    Some(values.take(files.len()).collect())
}

proptest! {
    #[test]
    fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), text in ".{0,100}") {
        let _ = ProxyDefaults::parse(&bytes);
        let _ = ProxyDefaults::parse(text.as_bytes());
    }

    #[test]
    fn any_text_can_be_written_in_single_quotes(value in "[^'\\pC]{0,60}", indent in "[ \t]{0,3}") {
        prop_assert_eq!(one(&format!("{indent}A='{value}' # x")), Ok(value));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    #[test]
    fn what_is_accepted_bash_reads_alike(
        lines in prop::collection::vec("A=[a'\"\\\\$#;~: \t!*={}(é%]{0,9}( A=[a'\"#]{0,3})?", 300),
    ) {
        let accepted: Vec<String> = lines
            .into_iter()
            .filter(|line| ProxyDefaults::parse(line.as_bytes()).is_ok())
            .collect();
        let ours = accepted.iter().map(|line| {
            let read = ProxyDefaults::parse(line.as_bytes()).unwrap();
            read.get("A").map(|found| found.value.clone()).unwrap_or_default()
        });
        let ours: Vec<String> = ours.collect();
        if let Some(theirs) = by_bash(&accepted) {
            for ((line, ours), theirs) in accepted.iter().zip(&ours).zip(&theirs) {
                prop_assert_eq!(ours, theirs, "{}", line);
            }
        } else {
            println!("bash is not there: not compared");
        }
    }
}
