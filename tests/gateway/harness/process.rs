//! The program itself, in a process of its own: for what a test cannot see from inside.

use std::fs::File;
use std::io::{BufRead, BufReader, Write as _};
use std::net::SocketAddr;
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
    pub(super) child: Child,
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

    /// Leaves no room in the pipe of its messages.
    pub(super) fn fill_messages(&mut self) {
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

    pub(super) fn spawn(command: Command, start: Start, log: &str, stdout: Stdio) -> Self {
        Self::spawn_with(command, start, log, stdout, Stdio::null())
    }

    pub(super) fn spawn_with(
        command: Command,
        start: Start,
        log: &str,
        stdout: Stdio,
        stdin: Stdio,
    ) -> Self {
        let config = start.write();
        Self::spawn_configured(command, start, config, log, (stdout, stdin))
    }

    pub(super) fn spawn_configured(
        command: Command,
        start: Start,
        config: PathBuf,
        log: &str,
        streams: (Stdio, Stdio),
    ) -> Self {
        Self::spawn_told(command, start, config, log, streams, None)
    }

    /// Its messages are read to the first with this in it, if anything; else to their end.
    pub(super) fn spawn_told(
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
