//! The program itself, in a process of its own: for what a test cannot see from inside.

use std::fs::File;
use std::io::{BufRead, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use super::Start;
use super::gateway::PATIENCE;

/// A running `jotgate run`. It is killed when it is dropped.
pub struct Process {
    child: Child,
    readers: Vec<JoinHandle<()>>,
    written: Arc<Mutex<String>>,
    lines: Receiver<String>,
    pub https: SocketAddr,
    pub admin: SocketAddr,
    pub authority: String,
    start: Start,
}

impl Process {
    /// Starts the program with this filter for its messages.
    pub fn start(start: Start, log: &str) -> Self {
        Self::spawn(Command::new(JOTGATE), start, log, Stdio::piped())
    }

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
        if !rustix::process::geteuid().is_root() {
            return Self::start(start, "info");
        }
        // Where the program was built, others may not be allowed to look.
        let program = start.folder().join("program");
        std::fs::copy(JOTGATE, &program).unwrap();
        // A private key is its user's alone.
        let key = start.folder().join("certs/tls.key");
        std::os::unix::fs::chown(key, Some(65534), Some(65534)).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        command.arg(program);
        Self::spawn(command, start, "info", Stdio::piped())
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

    /// Leaves no room in the pipe of its messages.
    fn fill_messages(&mut self) {
        // Opened anew, or the program would not wait for room either.
        let mut pipe = File::options()
            .write(true)
            .custom_flags(OFlags::NONBLOCK.bits() as i32)
            .open(format!("/proc/{}/fd/2", self.child.id()))
            .unwrap();
        for part in [4096, 1] {
            while pipe.write(&vec![b'\n'; part]).is_ok() {}
        }
    }

    /// Waits until it has ended by itself.
    pub fn ended(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if self.child.try_wait().unwrap().is_some() {
                return true;
            }
            std::thread::yield_now();
        }
        false
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

    fn spawn(command: Command, start: Start, log: &str, stdout: Stdio) -> Self {
        Self::spawn_with(command, start, log, stdout, Stdio::null())
    }

    fn spawn_with(command: Command, start: Start, log: &str, stdout: Stdio, stdin: Stdio) -> Self {
        let config = start.write();
        Self::spawn_configured(command, start, config, log, (stdout, stdin))
    }

    fn spawn_configured(
        command: Command,
        start: Start,
        config: PathBuf,
        log: &str,
        streams: (Stdio, Stdio),
    ) -> Self {
        Self::spawn_told(command, start, config, log, streams, None)
    }

    /// Its messages are read to the first with this in it, if anything; else to their end.
    fn spawn_told(
        mut command: Command,
        start: Start,
        config: PathBuf,
        log: &str,
        (stdout, stdin): (Stdio, Stdio),
        last: Option<&'static str>,
    ) -> Self {
        let mut child = command
            .arg("run")
            .arg("--config")
            .arg(config)
            .args(["--log", log])
            .stdin(stdin)
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let written = Arc::new(Mutex::new(String::new()));
        let (sender, lines) = std::sync::mpsc::channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let mut readers = vec![collect(stderr, written.clone(), sender.clone(), last)];
        if let Some(stdout) = child.stdout.take() {
            readers.push(collect(
                BufReader::new(stdout),
                written.clone(),
                sender,
                None,
            ));
        }
        let mut found = [None, None];
        while found.contains(&None) {
            let Ok(line) = lines.recv_timeout(PATIENCE) else {
                let _ = child.kill();
                let _ = child.wait();
                panic!("it does not listen: {}", written.lock().unwrap());
            };
            for (address, listener) in found.iter_mut().zip(["https", "admin"]) {
                if line.contains(&format!("listener=\"{listener}\"")) {
                    let text = line.split("address=").nth(1).unwrap();
                    let text = text.split_whitespace().next().unwrap();
                    *address = Some(text.parse().unwrap());
                }
            }
        }
        Self {
            child,
            readers,
            written,
            lines,
            https: found[0].unwrap(),
            admin: found[1].unwrap(),
            authority: start.authority().to_owned(),
            start,
        }
    }

    /// Where its configuration, keys and certificates are.
    pub fn folder(&self) -> &Path {
        self.start.folder()
    }

    /// Sends it a signal of this name.
    pub fn signal(&self, name: &str) {
        self.signal_to(self.child.id(), name);
    }

    /// Sends a signal of this name to a process that took its place.
    pub fn signal_to(&self, process: u32, name: &str) {
        let id = process.to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.unwrap().success());
    }

    /// The memory it holds now, in bytes.
    pub fn resident(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The bytes that it has asked for, whether it has touched them or not.
    pub fn allotted(&self) -> u64 {
        self.memory("VmData:")
    }

    /// The file descriptors that it holds now.
    pub fn descriptors(&self) -> usize {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.child.id()));
        open.unwrap().count()
    }

    /// The most memory it ever held, in bytes.
    pub fn peak(&self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        let kilobytes = line.split_whitespace().nth(1).unwrap();
        kilobytes.parse::<u64>().unwrap() * 1024
    }

    /// Waits until it has written a line with this in it, to either stream.
    pub fn wait_for(&self, text: &str) -> String {
        self.wait_longer_for(text, Duration::ZERO)
    }

    /// The same, where it is known to take at least so long.
    pub fn wait_longer_for(&self, text: &str, at_least: Duration) -> String {
        loop {
            let line = self.lines.recv_timeout(at_least + PATIENCE);
            let line = line.unwrap_or_else(|_| {
                panic!("no {text:?} in: {}", self.written.lock().unwrap());
            });
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Everything that it has written so far, to either stream.
    pub fn written(&self) -> String {
        self.written.lock().unwrap().clone()
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it and returns everything that it wrote, to either stream.
    pub fn end(mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        std::mem::take(&mut *self.written.lock().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Those that have taken over are nobody's children.
        let written = self.written.lock().map(|text| text.clone());
        for line in written.unwrap_or_default().lines() {
            if let Some((_, process)) = line.split_once("taken over, draining process=") {
                let _ = Command::new("kill").args(["-s", "KILL", process]).output();
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program.
pub const JOTGATE: &str = env!("CARGO_BIN_EXE_jotgate");

fn collect(
    mut reader: impl BufRead + Send + 'static,
    written: Arc<Mutex<String>>,
    lines: Sender<String>,
    last: Option<&'static str>,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in reader.by_ref().lines() {
            let line = line.unwrap();
            let is_last = last.is_some_and(|last| line.contains(last));
            let mut written = written.lock().unwrap();
            written.push_str(&line);
            written.push('\n');
            let _ = lines.send(line);
            if is_last {
                // Open still: nobody reads it, and nobody is gone.
                std::mem::forget(reader);
                return;
            }
        }
    })
}
