//! The README's test command: installs what is missing, says so, and runs every test.

use anyhow::{Result, bail};

use crate::{floors, nodes, shell, tidy};

/// A program the tests drive, and the Debian package that holds it.
struct Need {
    package: &'static str,
    why: &'static str,
    /// Succeeds when the package is there.
    probe: (&'static str, &'static [&'static str]),
}

const NEEDS: &[Need] = &[
    Need {
        package: "gcc",
        why: "builds the C of the crypto library",
        probe: ("cc", &["--version"]),
    },
    Need {
        package: "python3-venv",
        why: "stock Python clients get an environment of their own",
        probe: ("python3", &["-c", "import venv, ensurepip"]),
    },
    Need {
        package: "openssl",
        why: "a foreign judge of our certificates",
        probe: ("openssl", &["version"]),
    },
    Need {
        package: "fail2ban",
        why: "reads the lines of failed logins",
        probe: ("fail2ban-regex", &["--version"]),
    },
    Need { package: "nginx-light", why: "a foreign proxy in front", probe: ("nginx", &["-v"]) },
    Need {
        package: "nodejs",
        why: "what cells confine; version 20 or later, else its tests are passed over",
        probe: ("node", &["--version"]),
    },
    Need {
        package: "npm",
        why: "other versions of Node.js for the cells",
        probe: ("npm", &["--version"]),
    },
    Need {
        package: "bubblewrap",
        why: "the sandbox that cells are measured beside",
        probe: ("bwrap", &["--version"]),
    },
    Need { package: "curl", why: "a stock HTTP client", probe: ("curl", &["--version"]) },
    Need {
        package: "procps",
        why: "looks for what a test left behind, and ends it",
        probe: ("pgrep", &["--version"]),
    },
    Need {
        package: "chromium",
        why: "a browser in front of the gate",
        probe: ("chromium", &["--version"]),
    },
    Need { package: "strace", why: "the system calls of the gate", probe: ("strace", &["-V"]) },
    Need { package: "iproute2", why: "networks of a test's own", probe: ("ip", &["-V"]) },
    Need {
        package: "openssh-server",
        why: "nodes that the broker reaches",
        probe: ("test", &["-x", "/usr/sbin/sshd"]),
    },
    Need {
        package: "systemd",
        why: "judges the units that are shipped",
        probe: ("systemd-analyze", &["--version"]),
    },
    Need {
        package: "redis-server",
        why: "the store of several gates",
        probe: ("redis-server", &["--version"]),
    },
    Need {
        package: "nftables",
        why: "shows the bans that were made without it",
        probe: ("test", &["-x", "/usr/sbin/nft"]),
    },
];

/// Where property tests start when nobody says otherwise: a run of the suite judges the change,
/// so it must not depend on luck. Other inputs are the fuzz targets' job, or of another seed.
const PROPERTY_SEED: (&str, &str) = ("PROPTEST_RNG_SEED", "20260101");

/// Static checks, then all tests, then the count.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    tidy::run(&[])?;
    floors::run(&[])?;
    install()?;
    nodes::install_promised();
    shell::run("cargo", &["build", "--package", "proxward"])?;
    shell::run("cargo", &["build", "--package", "proxward-brokerd", "--package", "proxward-cell"])?;
    let seeded = std::env::var_os(PROPERTY_SEED.0).is_some();
    let seed: Vec<(&str, &str)> = if seeded { Vec::new() } else { vec![PROPERTY_SEED] };
    let mut filter: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if shell::succeeds("cargo", &["nextest", "--version"]) {
        let mut command = vec!["nextest", "run", "--workspace", "--no-fail-fast"];
        command.append(&mut filter);
        shell::run_with("cargo", &command, &seed)?;
    } else {
        shell::note("cargo nextest is not installed; cargo test runs the tests, a little slower");
        let mut command =
            vec!["test", "--workspace", "--no-fail-fast", "--lib", "--bins", "--tests"];
        command.append(&mut filter);
        shell::run_with("cargo", &command, &seed)?;
    }
    shell::run("cargo", &["test", "--workspace", "--doc", "--quiet"])
}

/// Replays the recorded exchanges with the profile of the tests.
pub(crate) fn golden(arguments: &[String]) -> Result<()> {
    let mut command = vec!["run", "--quiet", "--package", "e2e", "--bin", "golden", "--"];
    command.extend(arguments.iter().map(String::as_str));
    shell::run("cargo", &command)
}

fn install() -> Result<()> {
    let missing: Vec<&Need> =
        NEEDS.iter().filter(|need| !shell::succeeds(need.probe.0, need.probe.1)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for need in &missing {
        shell::note(&format!("missing: {} ({})", need.package, need.why));
    }
    let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    if !shell::succeeds("apt-get", &["--version"]) {
        bail!("install these first: {}", packages.join(" "));
    }
    let sudo: &[&str] = if shell::read("id", &["-u"])?.trim() == "0" { &[] } else { &["sudo"] };
    let apt = |arguments: &[&str]| {
        let command: Vec<&str> = [sudo, &["apt-get"], arguments].concat();
        let (program, rest) =
            command.split_first().map_or(("", &[][..]), |(first, rest)| (*first, rest));
        shell::run_with(program, rest, &[("DEBIAN_FRONTEND", "noninteractive")])
    };
    apt(&["update", "-qq"])?;
    apt(&[&["install", "-y", "-qq", "--no-install-recommends"], &packages[..]].concat())
}
