//! From a request to a blueprint, with everything the launcher is handed.

use std::net::TcpListener;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::calls::Published;
use super::observe::Observer;
use super::rules::Rules;
use super::{BuildError, Mode, Request, identity};
use crate::blueprint::{Blueprint, ProcessLimits};
use crate::layer::Layer;
use crate::plan::{self, Directory, Files, Handed, Names, PlanError, Planned as _};
use crate::policy::{Limits, Policy, Profile};
use crate::seccomp::{Egress, Shape};
use crate::sys;
use crate::sys::process::Holder;

/// Listening sockets that may be handed in.
const LISTENERS: usize = 16;
/// Private memory on top of the limit where no control group counts: stacks and reserves that are
/// mapped but not used.
const UNUSED_DATA: u64 = 1 << 30;

/// Ready to start.
pub(super) struct Prepared {
    pub(super) blueprint: Blueprint,
    pub(super) handed: Handed,
    pub(super) listeners: Vec<OwnedFd>,
    pub(super) rules: Rules,
    pub(super) published: Vec<Published>,
    /// Cookies of sockets of the host's that the command may listen on.
    pub(super) may_listen: Vec<u64>,
    pub(super) limits: Limits,
    /// A network namespace that is being made, and where it says that it is there.
    pub(super) ahead: Option<(Holder, OwnedFd)>,
    /// The launcher, opened before rights were given up.
    pub(super) launcher: OwnedFd,
    /// What `rules` were made of.
    pub(super) source: (Policy, Names),
    pub(super) stop: Option<OwnedFd>,
    /// The server that a command waits for, when it is one that waits.
    pub(super) park: Option<OwnedFd>,
    /// Who writes down what a command needs, when it is observed.
    pub(super) observer: Option<Arc<Observer>>,
    /// No control group counts these.
    pub(super) watch_memory: bool,
    pub(super) watch_cpu: bool,
}

pub(super) fn prepare(request: Request<'_>) -> Result<Prepared, BuildError> {
    let policy = request.policy;
    policy.check().planned(Layer::Plan, "policy")?;
    let root = rustix::process::geteuid().is_root();
    let privileged = match request.mode {
        Mode::Auto => root,
        Mode::Privileged if !root => {
            let what = "the privileged mode is for root; use --mode unprivileged";
            return Err(PlanError::new(Layer::Plan, what).into());
        }
        Mode::Privileged => true,
        Mode::Unprivileged => false,
    };
    let names = plan::pin(policy)?;
    let launcher = open_launcher(&request.launcher)?;
    let rules = Rules::new(policy, &names).planned(Layer::Plan, "restricted addresses")?;
    let published = publish(policy)?;
    check_listeners(&request.listeners)?;
    let sockets = published.iter().map(|one| &one.socket).chain(&request.listeners);
    let may_listen = sockets.map(rustix::net::sockopt::socket_cookie).collect::<Result<_, _>>();
    let may_listen = may_listen.planned(Layer::Plan, "look at a listener")?;

    let dir = policy
        .dir
        .as_deref()
        .ok_or_else(|| PlanError::new(Layer::Plan, "no directory was given; say --dir DIR"))?;
    let directory = Directory::open(dir, policy.read_only)?;
    let mut files = Files::new(&directory, root);
    let command = plan::resolve(request.command, &directory, &request.search, &mut files)?;
    for path in &policy.read {
        files.add_readable(path)?;
    }
    for program in &policy.programs {
        plan::add_extra(program, &directory, &request.search, &mut files)?;
    }
    for addon in &policy.addons {
        plan::add_addon(addon, &directory, &mut files)?;
    }
    let Files { mounts, mut handed, .. } = files;
    let identity = root.then(identity::take).transpose()?;
    let owner_becomes = identity.as_ref().map(|identity| identity.uid);
    let mount = directory.mount(owner_becomes, &mut handed, &policy.allow_degraded)?;
    let (groups, missing) = if privileged {
        let hierarchies = plan::Hierarchies::read();
        plan::groups(&hierarchies, &policy.limits, next())
    } else {
        (Vec::new(), vec!["memory", "pids", "cpu"])
    };
    allow_missing(privileged, &missing, policy)?;
    let uid = owner_becomes.unwrap_or_else(|| rustix::process::geteuid().as_raw());
    if let Some(identity) = identity {
        handed.keep(identity.lock);
    }
    if root && !privileged {
        become_unused(uid)?;
    }
    let gid = owner_becomes.unwrap_or_else(|| rustix::process::getegid().as_raw());
    let audit = request.on_denial.is_some();
    let limits = policy.limits.clone();
    let watch_memory = missing.contains(&"memory");
    let blueprint = Blueprint {
        uid,
        gid,
        user_namespace: !privileged,
        arguments: with_flags(policy, command.arguments, &command.executable),
        environment: environment(policy, request.listeners.len()),
        executable: command.executable,
        files: mounts,
        directory: mount,
        etc: etc(&names.hosts(), if privileged { uid } else { 1000 }),
        scratch_bytes: limits.scratch.0,
        scratch_inodes: limits.scratch_inodes,
        proc: policy.proc,
        groups,
        limits: ProcessLimits {
            open_files: limits.open_files,
            // In a user namespace process 1 has the same id, and counts.
            processes: u64::from(limits.pids) + u64::from(!privileged),
            file_bytes: limits.file_size.map(|size| size.0),
            data_bytes: watch_memory.then_some(limits.memory.0.saturating_add(UNUSED_DATA)),
        },
        filter: Shape {
            subprocess: policy.profile == Profile::Build,
            egress: egress(&rules, &published, &request.listeners, audit),
            audit,
            by_path: audit && request.record_paths,
        },
        resolver: false,
        no_jit: policy.profile == Profile::TenantJitless,
        listeners: u32::try_from(request.listeners.len()).unwrap_or(0),
        degraded: policy.allow_degraded.clone(),
        stop_after: request.stop_after,
    };
    Ok(Prepared {
        blueprint,
        handed,
        listeners: request.listeners,
        rules,
        published,
        may_listen,
        watch_memory,
        watch_cpu: missing.contains(&"cpu") && limits.cpus.is_some(),
        limits,
        ahead: None,
        launcher,
        source: (policy.clone(), names),
        stop: request.stop,
        park: None,
        observer: None,
    })
}

/// As [`prepare`], for one run that is observed: with a resolver, and everything that a policy can
/// grant handed to the supervisor.
pub(super) fn prepare_observed(
    request: Request<'_>,
) -> Result<(Prepared, Arc<Observer>), BuildError> {
    let mut prepared = prepare(request)?;
    let blueprint = &mut prepared.blueprint;
    prepared.rules = Rules::Observe;
    blueprint.resolver = true;
    let filter = &mut blueprint.filter;
    (filter.egress, filter.audit, filter.by_path) = (Egress::Udp, true, true);
    // Which program it would start is known only once it has forked.
    filter.subprocess = true;
    for (name, content) in &mut blueprint.etc {
        match name.as_str() {
            "nsswitch.conf" => *content = content.replace("hosts: files", "hosts: files dns"),
            // One question after the other: two at once would take a call that is not observed.
            "resolv.conf" => {
                *content = "nameserver 127.0.0.1\noptions single-request timeout:5\n".to_owned();
            }
            _ => {}
        }
    }
    let observer = Arc::new(Observer::new(&prepared.blueprint));
    prepared.observer = Some(Arc::clone(&observer));
    Ok((prepared, observer))
}

fn open_launcher(path: &Path) -> Result<OwnedFd, PlanError> {
    let opened = std::fs::File::open(path).map(OwnedFd::from);
    opened.planned(Layer::Launcher, format_args!("open {}", path.display()))
}

/// A number that no other cell of this process has.
fn next() -> u64 {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    COUNT.fetch_add(1, Ordering::Relaxed)
}

/// In privileged mode control groups count; without them the supervisor would only watch.
fn allow_missing(privileged: bool, missing: &[&str], policy: &Policy) -> Result<(), PlanError> {
    let layer = |controller: &str| match controller {
        "memory" => Layer::MemoryLimit,
        "pids" => Layer::ProcessLimit,
        _ => Layer::CpuLimit,
    };
    let refused = missing.iter().map(|one| (*one, layer(one)));
    let refused = refused.filter(|(_, layer)| !policy.allow_degraded.contains(layer));
    match refused.into_iter().next() {
        Some((controller, layer)) if privileged => Err(PlanError::new(
            layer,
            format_args!(
                "no control group with '{controller}' that this process may make groups in; \
                 --allow-degraded {layer} lets the supervisor watch instead"
            ),
        )),
        _ => Ok(()),
    }
}

/// Root gives itself up, in every thread, before anything of the cell is started.
fn become_unused(uid: u32) -> Result<(), PlanError> {
    if sys::process::is_threaded() {
        let what =
            "other threads of this program would keep root's rights; start a program of its own";
        return Err(PlanError::new(Layer::Identity, what));
    }
    sys::process::become_user(uid).planned(Layer::Identity, "become an unused user")?;
    // Changing the user made this process one that may not look at itself.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::Dumpable)
        .planned(Layer::Identity, "become an unused user")
}

fn publish(policy: &Policy) -> Result<Vec<Published>, PlanError> {
    let one = |listen: &crate::policy::Listen| {
        let what = || format!("listen on {}", listen.0);
        let socket = TcpListener::bind(listen.0).planned(Layer::Plan, what())?;
        Ok(Published { port: listen.0.port(), socket: socket.into() })
    };
    policy.publish.iter().map(one).collect()
}

/// A unix socket would let its peer hand descriptors in; a connected one is somebody's session.
fn check_listeners(listeners: &[OwnedFd]) -> Result<(), PlanError> {
    use rustix::net::{AddressFamily, sockopt};
    if listeners.len() > LISTENERS {
        return Err(PlanError::new(Layer::Plan, "more than 16 listeners"));
    }
    for listener in listeners {
        let family = sockopt::socket_domain(listener.as_fd());
        let listens = sockopt::socket_acceptconn(listener.as_fd()).unwrap_or(false);
        let fits = matches!(family, Ok(AddressFamily::INET | AddressFamily::INET6)) && listens;
        if !fits {
            let what = "a handed-in descriptor is not a listening TCP socket";
            return Err(PlanError::new(Layer::Plan, what));
        }
    }
    Ok(())
}

/// Who connects and listens. A socket of the host's in the command's hands, even a listener,
/// means that the supervisor has to.
fn egress(rules: &Rules, published: &[Published], handed: &[OwnedFd], audit: bool) -> Egress {
    if rules.has_udp() {
        Egress::Udp
    } else if rules.is_empty() && published.is_empty() && handed.is_empty() && !audit {
        Egress::None
    } else {
        Egress::Tcp
    }
}

fn with_flags(policy: &Policy, mut arguments: Vec<String>, executable: &str) -> Vec<String> {
    let is_node = executable.rsplit('/').next() == Some("node");
    if policy.profile == Profile::TenantJitless && is_node && !arguments.is_empty() {
        arguments.insert(1, "--jitless".to_owned());
    }
    arguments
}

/// Five fixed variables, those of the policy, and those of handed-in listeners (sd_listen_fds(3)).
fn environment(policy: &Policy, listeners: usize) -> Vec<String> {
    let mut fixed = vec![
        ("PATH", "/usr/local/bin:/usr/bin:/bin".to_owned()),
        ("HOME", "/cell".to_owned()),
        ("TMPDIR", "/cell/scratch".to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
        ("USER", "cell".to_owned()),
    ];
    if listeners > 0 {
        fixed.push(("LISTEN_FDS", listeners.to_string()));
        fixed.push(("LISTEN_PID", "2".to_owned()));
    }
    let own = policy.env.iter().map(|(name, value)| format!("{name}={value}"));
    fixed.retain(|(name, _)| !policy.env.contains_key(*name));
    fixed.into_iter().map(|(name, value)| format!("{name}={value}")).chain(own).collect()
}

/// Small files that programs look for: who am I, what is localhost, and that nothing is to be asked.
fn etc(hosts: &str, uid: u32) -> Vec<(String, String)> {
    let file = |name: &str, content: String| (name.to_owned(), content);
    vec![
        file("hosts", hosts.to_owned()),
        file("passwd", format!("cell:x:{uid}:{uid}:cell:/cell:/bin/false\n")),
        file("group", format!("cell:x:{uid}:\n")),
        file("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n".to_owned()),
        file("resolv.conf", "# names are in /etc/hosts\n".to_owned()),
        file("host.conf", "multi on\n".to_owned()),
    ]
}
