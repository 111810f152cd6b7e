//! The program, started in the many ways in which somebody may start it.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Resource, geteuid, getrlimit};

use super::Start;
use super::process::{JOTGATE, Process};

impl Process {
    /// And with a limit of file descriptors that it cannot raise.
    pub fn start_with_descriptors(start: Start, log: &str, limit: u32) -> Self {
        let mut command = Command::new("sh");
        let script = format!("ulimit -n {limit} && exec \"$0\" \"$@\"");
        command.args(["-c", &script, JOTGATE]);
        Self::spawn(command, start, log, Stdio::piped())
    }

    /// And on a system that believes in the authorities of this file.
    pub fn start_believing(start: Start, authorities: &Path) -> Self {
        let mut command = Command::new(JOTGATE);
        command
            .env("SSL_CERT_FILE", authorities)
            .env_remove("SSL_CERT_DIR");
        Self::spawn(command, start, "info", Stdio::piped())
    }

    /// And with an allocator that asks for each large piece of memory by itself, and gives it back
    /// at once.
    pub fn start_with_plain_allocator(start: Start, log: &str) -> Self {
        let mut command = Command::new(JOTGATE);
        command.env("MALLOC_MMAP_THRESHOLD_", "131072");
        Self::spawn(command, start, log, Stdio::piped())
    }

    /// And as a service manager does that has opened a socket for it.
    pub fn start_with_socket(start: Start, log: &str, socket: TcpListener) -> Self {
        let mut command = Command::new("sh");
        // The socket comes as standard input, and goes where systemd would put it.
        let script = "exec 3<&0 0</dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" \"$@\"";
        command.args(["-c", script, JOTGATE]);
        Self::spawn_with(
            command,
            start,
            log,
            Stdio::piped(),
            OwnedFd::from(socket).into(),
        )
    }

    /// And as somebody who may not read everything: root gives itself up.
    pub fn start_as_nobody(start: Start) -> Self {
        if !geteuid().is_root() {
            return Self::start(start, "info");
        }
        // Where the program was built, others may not be allowed to look.
        let program = start.folder().join("program");
        std::fs::copy(JOTGATE, &program).unwrap();
        // A private key is its user's alone.
        let key = start.folder().join("certs/tls.key");
        std::os::unix::fs::chown(key, Some(NOBODY), Some(NOBODY)).unwrap();
        let mut command = Command::new("setpriv");
        command.args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")]);
        command.arg("--clear-groups");
        command.arg(program);
        Self::spawn(command, start, "info", Stdio::piped())
    }

    /// Lets one that was started as nobody have no more threads, or as many as others again.
    pub fn limit_threads(&self, may_have_more: bool) {
        let most = match getrlimit(Resource::Nproc).current {
            _ if !may_have_more => "0".to_owned(),
            Some(most) => most.to_string(),
            None => "unlimited".to_owned(),
        };
        let mut prlimit = Command::new("prlimit");
        prlimit.args(["--pid", &self.child.id().to_string()]);
        prlimit.arg(format!("--nproc={most}:"));
        // Not even root may do this to somebody else everywhere.
        if geteuid().is_root() {
            prlimit.uid(NOBODY).gid(NOBODY);
        }
        assert!(prlimit.status().unwrap().success());
    }

    /// And with its keys on a disk of their own, of so many KiB, which it sees alone; where it does
    /// is returned as well. `None` where the system lets nobody have one.
    pub fn start_with_small_disk(start: Start, size: u32) -> Option<(Self, PathBuf)> {
        let mut alone = Command::new("unshare");
        alone.arg("--map-root-user").arg("--mount");
        if !alone.arg("true").status().is_ok_and(|s| s.success()) {
            return None;
        }
        let keys = start.folder().join("keys");
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-ec"]);
        let script = format!(
            "cp -r \"$0\" \"$0.kept\"; mount -t tmpfs -o size={size}k none \"$0\"; \
             cp \"$0.kept\"/* \"$0\"; exec \"$@\""
        );
        command.arg(script).arg(&keys).arg(JOTGATE);
        let process = Self::spawn(command, start, "info", Stdio::piped());
        let root = PathBuf::from(format!("/proc/{}/root", process.child.id()));
        let seen = root.join(keys.strip_prefix("/").unwrap());
        Some((process, seen))
    }

    /// And with so many watches over files as the system lets it have. `None` where that cannot be
    /// told to the system.
    pub fn start_with_few_watches(start: Start, count: u32) -> Option<Self> {
        let script = format!("echo {count} >/proc/sys/user/max_inotify_watches; exec \"$@\"");
        let arguments = ["--map-root-user", "sh", "-ec", &script, "sh"];
        let mut alone = Command::new("unshare");
        let alone = alone.args(arguments).arg("true").output();
        if !alone.is_ok_and(|output| output.status.success()) {
            return None;
        }
        let mut command = Command::new("unshare");
        command.args(arguments).arg(JOTGATE);
        Some(Self::spawn(command, start, "info", Stdio::piped()))
    }

    /// And with a journal behind standard error, as far as it is told.
    pub fn start_with_journal(start: Start) -> Self {
        let mut command = Command::new("sh");
        let script = "JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) exec \"$0\" \"$@\"";
        command.args(["-c", script, JOTGATE]);
        Self::spawn(command, start, "info", Stdio::piped())
    }

    /// And the program that this path leads to.
    pub fn start_from(program: &Path, start: Start) -> Self {
        Self::spawn(Command::new(program), start, "info", Stdio::piped())
    }

    /// And as a service of a manager that listens on this socket, with a watchdog.
    pub fn start_as_service(start: Start, manager: &Path, watchdog: Duration) -> Self {
        let mut command = Command::new(JOTGATE);
        command
            .env("NOTIFY_SOCKET", manager)
            .env("WATCHDOG_USEC", watchdog.as_micros().to_string());
        Self::spawn(command, start, "info", Stdio::piped())
    }

    /// And with messages that nobody reads after the first, those of where it listens.
    pub fn start_unread(start: Start, log: &str) -> Self {
        let config = start.write();
        let mut process = Self::spawn_told(
            Command::new(JOTGATE),
            start,
            config,
            log,
            (Stdio::null(), Stdio::null()),
            Some("listener=\"admin\""),
        );
        process.fill_messages();
        process
    }

    /// And with another place for the access log.
    pub fn start_writing_to(start: Start, stdout: impl Into<Stdio>) -> Self {
        Self::spawn(Command::new(JOTGATE), start, "info", stdout.into())
    }

    /// And as somebody does who has gone to the folder of the configuration, which is written
    /// already.
    pub fn start_in(start: Start, directory: &Path) -> Self {
        let mut command = Command::new("sh");
        // The shell goes there, and tells by which way.
        let script = "cd \"$0\" && exec \"$@\"";
        command.args(["-c", script]).arg(directory).arg(JOTGATE);
        let config = PathBuf::from("jotgate.toml");
        Self::spawn_configured(
            command,
            start,
            config,
            "info",
            (Stdio::piped(), Stdio::null()),
        )
    }
}

/// The user and the group that own nothing.
const NOBODY: u32 = 65534;
