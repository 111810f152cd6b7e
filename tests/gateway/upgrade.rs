//! A new process takes the place of a running one, and no request is lost.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::UnixDatagram;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::harness::{H1, JOTGATE, PATIENCE, Process, Stage, Start, Upstream};

/// Ports that are free now, for a process whose successor must find the same in the file.
fn free_ports() -> [u16; 3] {
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

fn start(upstream: &Upstream, workers: usize) -> Start {
    let [https, http, admin] = free_ports();
    Start::with(upstream)
        .ports(https, http, admin)
        .extra(&format!("[server]\nworkers = {workers}\n"))
}

/// The process that answers the operator.
async fn process_of(process: &Process) -> Option<u32> {
    let answer = H1::plain(process.admin).await.get("/readyz", &[]).await;
    let text = answer.text();
    let line = text.lines().find(|line| line.starts_with("process "))?;
    line.split(' ').nth(1)?.parse().ok()
}

/// Sends requests on connections of its own, a few on each, until it is over. Every one must be
/// answered, and none may be refused a connection.
async fn visit(
    (address, authority): (SocketAddr, String),
    requests: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
) {
    while !is_over.load(Ordering::Relaxed) {
        let connect = H1::connect_to(address, &authority, Some("localhost"));
        let mut client = connect.await;
        for _ in 0..5 {
            let answer = client.get("/public/x", &[]).await;
            assert_eq!(answer.status, 200);
            requests.fetch_add(1, Ordering::Relaxed);
            if answer.one("connection") == Some("close") {
                break;
            }
        }
    }
}

#[tokio::test]
async fn p10_ten_upgrades_under_load_lose_no_request() {
    let upstream = Upstream::start().await;
    let process = Process::start(start(&upstream, 2), "info");
    let requests = Arc::new(AtomicU64::new(0));
    let is_over = Arc::new(AtomicBool::new(false));
    let mut visitors = JoinSet::new();
    for _ in 0..16 {
        let (requests, is_over) = (requests.clone(), is_over.clone());
        let whom = (process.https, process.authority.clone());
        visitors.spawn(visit(whom, requests, is_over));
    }
    let mut generations = vec![process_of(&process).await.unwrap()];
    for _ in 0..10 {
        let current = *generations.last().unwrap();
        process.signal_to(current, "USR2");
        let replaced = async {
            loop {
                match process_of(&process).await {
                    Some(other) if other != current => return other,
                    Some(_) | None => {}
                }
            }
        };
        let next = timeout(PATIENCE, replaced).await.expect("nobody took over");
        // The old one drains and ends.
        let ended = async {
            while Path::new(&format!("/proc/{current}/fd/0")).exists() {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, ended).await.expect("the old one stays");
        generations.push(next);
    }
    is_over.store(true, Ordering::Relaxed);
    while let Some(visited) = visitors.join_next().await {
        visited.unwrap();
    }
    let requests = requests.load(Ordering::Relaxed);
    println!("{requests} requests over {} processes", generations.len());
    process.signal_to(*generations.last().unwrap(), "TERM");
}

#[tokio::test]
async fn an_upgrade_to_something_that_does_not_start_changes_nothing() {
    let upstream = Upstream::start().await;
    let process = Process::start(start(&upstream, 1), "info");
    let config = process.folder().join("jotgate.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, "nonsense").unwrap();
    process.wait_for("not applied");
    process.signal("USR2");
    process.wait_for("not upgraded, this process goes on");
    let connect = H1::connect_to(process.https, &process.authority, Some("localhost"));
    assert_eq!(connect.await.get("/public/x", &[]).await.status, 200);
    std::fs::write(&config, text).unwrap();
    process.wait_for("the files are as they were");
}

#[tokio::test]
async fn the_successor_may_have_more_workers_or_fewer() {
    let upstream = Upstream::start().await;
    for (before, after) in [(1, 3), (3, 1)] {
        let process = Process::start(start(&upstream, before), "info");
        let first = process_of(&process).await.unwrap();
        let config = process.folder().join("jotgate.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        let text = text.replace(
            &format!("workers = {before}"),
            &format!("workers = {after}"),
        );
        std::fs::write(&config, text).unwrap();
        process.wait_for("need a restart");
        process.signal("USR2");
        process.wait_for("stopped");
        let second = process_of(&process).await.unwrap();
        assert_ne!(first, second);
        for _ in 0..20 {
            let connect = H1::connect_to(process.https, &process.authority, Some("localhost"));
            assert_eq!(connect.await.get("/public/x", &[]).await.status, 200);
        }
        process.signal_to(second, "TERM");
    }
}

#[tokio::test]
async fn the_command_waits_until_another_process_answers() {
    let upstream = Upstream::start().await;
    let process = Process::start(start(&upstream, 1), "info");
    let first = process_of(&process).await.unwrap();
    let config = process.folder().join("jotgate.toml");
    let upgrade = tokio::task::spawn_blocking(move || {
        std::process::Command::new(env!("CARGO_BIN_EXE_jotgate"))
            .args(["upgrade", "--config"])
            .arg(config)
            .output()
            .unwrap()
    });
    let output = upgrade.await.unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    let second = process_of(&process).await.unwrap();
    assert_eq!(
        said,
        format!("process {second} has taken over from {first}\n")
    );
    process.signal_to(second, "TERM");
}

#[tokio::test]
async fn sockets_of_a_service_manager_are_used() {
    let upstream = Upstream::start().await;
    let start = start(&upstream, 2);
    let taken = TcpListener::bind(start.https_address()).unwrap();
    let process = Process::start_with_socket(start, "info", taken);
    let connect = H1::connect_to(process.https, &process.authority, Some("localhost"));
    assert_eq!(connect.await.get("/public/x", &[]).await.status, 200);
}

#[tokio::test]
async fn a_service_manager_is_told_of_every_step() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    let heard = async |wanted: &str| {
        let mut buffer = [0; 256];
        let heard = async {
            loop {
                let length = manager.recv(&mut buffer).await.unwrap();
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                if let Some(line) = text.lines().find(|line| line.starts_with(wanted)) {
                    return line.to_owned();
                }
            }
        };
        let heard = timeout(PATIENCE, heard).await;
        heard.unwrap_or_else(|_| panic!("nobody says {wanted}"))
    };
    let upstream = Upstream::start().await;
    let start = start(&upstream, 2);
    let process = Process::start_as_service(start, &path, Duration::from_millis(500));
    heard("READY=1").await;
    heard("WATCHDOG=1").await;
    process.signal("HUP");
    heard("RELOADING=1").await;
    heard("READY=1").await;
    let first = process_of(&process).await.unwrap();
    process.signal("USR2");
    heard("READY=1").await;
    let second = heard("MAINPID=").await;
    let second: u32 = second.trim_start_matches("MAINPID=").parse().unwrap();
    assert_ne!(first, second);
    process.wait_for("stopped");
    heard("WATCHDOG=1").await;
    process.signal_to(second, "TERM");
    heard("STOPPING=1").await;
}

/// Puts a script in the place of what a link leads to.
fn replace(link: &Path, script: &str) {
    let new = link.with_extension("new");
    std::fs::write(&new, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(&new, link).unwrap();
}

#[tokio::test]
async fn what_takes_over_is_what_the_path_leads_to_then() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("jotgate");
    symlink(JOTGATE, &link).unwrap();
    let upstream = Upstream::start().await;
    let process = Process::start_from(&link, start(&upstream, 1));
    replace(
        &link,
        &format!("echo the new one >&2; exec {JOTGATE} \"$@\""),
    );
    process.signal("USR2");
    process.wait_for("the new one");
    process.wait_for("stopped");
    let successor = process_of(&process).await.unwrap();
    process.signal_to(successor, "TERM");
}

#[tokio::test]
async fn a_stop_during_an_upgrade_ends_the_new_process_and_drains() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("jotgate");
    symlink(JOTGATE, &link).unwrap();
    let upstream = Stage::open().await;
    let [https, http, admin] = free_ports();
    let start = Start::to(&upstream.url()).ports(https, http, admin);
    let process = Process::start_from(&link, start);
    let connect = H1::connect_to(process.https, &process.authority, Some("localhost"));
    let mut client = connect.await;
    client
        .send("GET /public/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let mut line = upstream.enter().await;
    line.head_text().await;
    replace(&link, "echo \"I am $$ and never ready\" >&2; exec sleep 60");
    process.signal("USR2");
    let said = process.wait_for("never ready");
    let successor = said.split(' ').nth(2).unwrap().to_owned();
    process.signal("TERM");
    process.wait_for("draining; a second signal");
    line.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        .await;
    assert_eq!(client.answer().await.text(), "ok");
    process.wait_for("stopped");
    assert!(!Path::new("/proc").join(successor).exists());
}
