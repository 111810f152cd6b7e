//! A new process takes the place of a running one, and no request is lost.

use std::collections::HashMap;
use std::error::Error;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::Request;
use http_body_util::{BodyExt, Full};
use tokio::net::{TcpStream, UnixDatagram};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::harness::{H1, JOTGATE, PATIENCE, Process, Stage, Start, Upstream, h2_connect_to};

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

/// The version that answers the operator.
async fn version_of(process: &Process) -> String {
    let answer = H1::plain(process.admin).await.get("/metrics", &[]).await;
    let text = answer.text();
    let (_, version) = text.split_once("jotgate_build_info{version=\"").unwrap();
    version.split('"').next().unwrap().to_owned()
}

const OURS: &str = env!("CARGO_PKG_VERSION");

/// Makes a program of another version, which this returns: ours with another number in it.
fn make_another_version(path: &Path) -> String {
    let theirs = format!("{}z", &OURS[..OURS.len() - 1]);
    let script = format!("s/{}/{theirs}/g", OURS.replace('.', "\\."));
    let mut sed = std::process::Command::new("sed");
    let program = sed.env("LC_ALL", "C").arg(script).arg(JOTGATE);
    std::fs::write(path, program.output().unwrap().stdout).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    theirs
}

/// Waits until a process has ended, whether somebody has asked how or not.
async fn is_gone(process: u32) {
    let ended = async {
        while Path::new(&format!("/proc/{process}/fd/0")).exists() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, ended).await.expect("it stays");
}

/// Steady traffic, of which every request is another one.
#[derive(Clone)]
struct Visits {
    address: SocketAddr,
    authority: String,
    requests: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    /// How many met a GOAWAY and were sent again.
    again: Arc<AtomicU64>,
}

/// Whether the client has been told that nobody has seen the request (RFC 9113 §6.8).
fn is_unprocessed(error: &hyper::Error) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref());
    error.is_canceled()
        || source.is_some_and(|error: &h2::Error| {
            error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR)
        })
}

impl Visits {
    fn next(&self) -> Option<String> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let is_over = self.is_over.load(Ordering::Relaxed);
        (!is_over).then(|| format!("/public/{number}"))
    }
}

/// Sends requests on connections of its own, a few on each, until it is over. Every one must be
/// answered, and none may be refused a connection.
async fn visit(visits: Visits) {
    loop {
        let connect = H1::connect_to(visits.address, &visits.authority, Some("localhost"));
        let mut client = connect.await;
        for _ in 0..5 {
            let Some(path) = visits.next() else { return };
            let answer = client.get(&path, &[]).await;
            assert_eq!(answer.status, 200);
            if answer.one("connection") == Some("close") {
                break;
            }
        }
    }
}

/// The same over HTTP/2, on each connection for as long as it lasts. What a GOAWAY says that nobody
/// has seen is sent again on the next one.
async fn visit_by_http2(visits: Visits) {
    let mut unseen = None;
    loop {
        let mut client = h2_connect_to(visits.address, &visits.authority).await;
        // Until it is told with GOAWAY to go.
        while client.ready().await.is_ok() {
            let Some(path) = unseen.take().or_else(|| visits.next()) else {
                return;
            };
            let request = Request::get(format!("https://localhost{path}"));
            let request = request.body(Full::default()).unwrap();
            match client.send_request(request).await {
                Ok(answer) => {
                    assert_eq!(answer.status(), 200);
                    answer.into_body().collect().await.unwrap();
                }
                Err(error) => {
                    assert!(is_unprocessed(&error), "{error:?}");
                    visits.again.fetch_add(1, Ordering::Relaxed);
                    unseen = Some(path);
                }
            }
        }
    }
}

#[tokio::test]
async fn p10_ten_upgrades_between_two_versions_under_load_lose_no_request() {
    let seen = Arc::new(Mutex::new(HashMap::<String, usize>::new()));
    let upstream = Upstream::answering({
        let seen = seen.clone();
        move |request| {
            let line = request.line.clone();
            *seen.lock().unwrap().entry(line).or_default() += 1;
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec()
        }
    })
    .await;
    let start = start(&upstream, 2);
    let link = start.folder().join("jotgate");
    let other = start.folder().join("other");
    let versions = [OURS.to_owned(), make_another_version(&other)];
    symlink(JOTGATE, &link).unwrap();
    let process = Process::start_from(&link, start);
    let visits = Visits {
        address: process.https,
        authority: process.authority.clone(),
        requests: Arc::default(),
        is_over: Arc::default(),
        again: Arc::default(),
    };
    let mut visitors = JoinSet::new();
    for _ in 0..12 {
        visitors.spawn(visit(visits.clone()));
        visitors.spawn(visit_by_http2(visits.clone()));
    }
    let mut generations = vec![process_of(&process).await.unwrap()];
    for number in 1..=10 {
        let next = link.with_extension("next");
        symlink([Path::new(JOTGATE), &other][number % 2], &next).unwrap();
        std::fs::rename(&next, &link).unwrap();
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
        is_gone(current).await;
        assert_eq!(version_of(&process).await, versions[number % 2]);
        generations.push(next);
    }
    visits.is_over.store(true, Ordering::Relaxed);
    while let Some(visited) = visitors.join_next().await {
        visited.unwrap();
    }
    let seen = seen.lock().unwrap();
    println!(
        "{} requests over {} processes, {} of them sent again",
        seen.len(),
        generations.len(),
        visits.again.load(Ordering::Relaxed),
    );
    assert!(seen.len() > 1000, "only {}", seen.len());
    let twice: Vec<_> = seen.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "sent twice: {twice:?}");
    process.signal_to(*generations.last().unwrap(), "TERM");
}

/// What `jotgate upgrade` says of it, in less time than a gateway waits for its successor.
async fn upgrade(config: &Path) -> std::process::Output {
    timeout(PATIENCE, upgrading(config)).await.unwrap().unwrap()
}

fn upgrading(config: &Path) -> JoinHandle<std::process::Output> {
    let mut command = std::process::Command::new(JOTGATE);
    command.args(["upgrade", "--config"]).arg(config);
    tokio::task::spawn_blocking(move || command.output().unwrap())
}

#[tokio::test]
async fn an_upgrade_to_something_that_does_not_start_changes_nothing() {
    let upstream = Upstream::start().await;
    let process = Process::start(start(&upstream, 1), "info");
    let config = process.folder().join("jotgate.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}\n[nonsense]\n")).unwrap();
    process.wait_for("not applied");
    let said = upgrade(&config).await;
    assert_eq!(said.status.code(), Some(1));
    let line = process.wait_for("not upgraded, this process goes on");
    assert!(
        line.contains("why=what it has said of it stands before"),
        "{line}"
    );
    let said = String::from_utf8(said.stderr).unwrap();
    assert!(said.contains("is still the one that serves"), "{said}");
    let metrics = H1::plain(process.admin).await.get("/metrics", &[]).await;
    assert!(
        metrics
            .text()
            .contains("\njotgate_failed_upgrades_total 1\n")
    );
    let connect = H1::connect_to(process.https, &process.authority, Some("localhost"));
    assert_eq!(connect.await.get("/public/x", &[]).await.status, 200);
    std::fs::write(&config, text).unwrap();
    process.wait_for("the files are as they were");
}

#[tokio::test]
async fn the_command_says_by_its_code_that_there_was_nobody_to_ask() {
    let upstream = Upstream::start().await;
    let start = start(&upstream, 1);
    let said = upgrade(&start.write()).await;
    assert_eq!(said.status.code(), Some(2));
    let said = String::from_utf8(said.stderr).unwrap();
    assert!(said.contains("no gateway is running"), "{said}");
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
    let start = start(&upstream, 1);
    // Whatever the version is called.
    let program = start.folder().join("jotgate-1.2.3");
    symlink(JOTGATE, &program).unwrap();
    let process = Process::start_from(&program, start);
    let first = process_of(&process).await.unwrap();
    let config = process.folder().join("jotgate.toml");
    let output = upgrade(&config).await;
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
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let start = Start::with(&upstream).ports(port, 0, 0);
    let start = start.extra("[server]\nworkers = 2\n");
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
    // Nothing of the new one before it is known: from strangers a manager takes no word.
    let second = heard("").await;
    let second = if second == "WATCHDOG=1" {
        heard("").await
    } else {
        second
    };
    let second: u32 = second.trim_start_matches("MAINPID=").parse().unwrap();
    assert_ne!(first, second);
    heard("READY=1").await;
    process.wait_for("stopped");
    heard("WATCHDOG=1").await;
    process.signal_to(second, "TERM");
    heard("STOPPING=1").await;
}

#[tokio::test]
async fn a_journal_is_told_how_much_each_message_matters() {
    let upstream = Upstream::start().await;
    let process = Process::start_with_journal(start(&upstream, 1));
    process.signal("HUP");
    let said = process.wait_for("nothing has changed");
    assert!(said.starts_with("<6>"), "{said}");
    let process = Process::start(start(&upstream, 1), "info");
    process.signal("HUP");
    let said = process.wait_for("nothing has changed");
    assert!(!said.starts_with('<'), "{said}");
}

/// Sends a request that the upstream does not answer yet. Returns who waits for the answer, and who
/// has to give it.
async fn keep_busy(process: &Process, upstream: &Stage) -> (H1, H1<TcpStream>) {
    let connect = H1::connect_to(process.https, &process.authority, Some("localhost"));
    let mut client = connect.await;
    client
        .send("GET /public/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let mut line = upstream.enter().await;
    line.head_text().await;
    (client, line)
}

#[tokio::test]
async fn the_new_process_is_nobodys_child_and_stays_until_the_old_one_is_gone() {
    for is_patient in [true, false] {
        let upstream = Stage::open().await;
        let [https, http, admin] = free_ports();
        let start = Start::to(&upstream.url()).ports(https, http, admin);
        let process = Process::start(start, "info");
        let (mut client, mut line) = keep_busy(&process, &upstream).await;
        let first = process_of(&process).await.unwrap();
        process.signal("USR2");
        let said = process.wait_for("taken over");
        let (_, second) = said.split_once("process=").unwrap();
        let second: u32 = second.trim().parse().unwrap();
        let status = std::fs::read_to_string(format!("/proc/{second}/status")).unwrap();
        let parent = format!("PPid:\t{first}\n");
        assert!(!status.contains(&parent), "the old one's: {status}");
        process.signal_to(second, "TERM");
        process.wait_for("draining; a second signal");
        // Its own work is done: nobody listens any more.
        while TcpStream::connect(process.admin).await.is_ok() {}
        if is_patient {
            line.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                .await;
            assert_eq!(client.answer().await.text(), "ok");
            process.wait_for("stopped");
            process.wait_for("stopped");
        } else {
            process.signal_to(second, "TERM");
            process.wait_for("ended at once");
        }
    }
}

#[tokio::test]
async fn an_upgrade_that_is_asked_for_during_a_reload_is_not_forgotten() {
    let upstream = Upstream::start().await;
    let process = Process::start(start(&upstream, 1), "info");
    process.signal("HUP");
    process.signal("USR2");
    process.wait_for("nothing has changed");
    process.wait_for("taken over");
    process.wait_for("stopped");
    let second = process_of(&process).await.unwrap();
    process.signal_to(second, "TERM");
}

#[tokio::test]
async fn a_worker_that_has_drained_does_not_stand_still() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let _manager = UnixDatagram::bind(&path).unwrap();
    let upstream = Stage::open().await;
    let start = Start::to(&upstream.url()).extra("[server]\nworkers = 2\n");
    let process = Process::start_as_service(start, &path, Duration::from_millis(40));
    let (mut client, mut line) = keep_busy(&process, &upstream).await;
    process.signal("TERM");
    process.wait_for("draining; a second signal");
    let status = async || {
        let mut operator = H1::plain(process.admin).await;
        operator.get("/readyz", &[]).await.status
    };
    let begins = async { while status().await != 503 {} };
    timeout(PATIENCE, begins).await.expect("it does not drain");
    // As long as a watchdog would have asked more than once.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(100) {
        assert_eq!(status().await, 503);
    }
    line.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        .await;
    assert_eq!(client.answer().await.text(), "ok");
    process.wait_for("stopped");
    let written = process.end();
    let (_, since) = written.split_once("draining; a second signal").unwrap();
    assert!(!since.contains("stands still"), "{since}");
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
async fn what_takes_over_is_started_in_the_folder_that_stands_there_then() {
    let upstream = Upstream::start().await;
    let start = start(&upstream, 1);
    let config = std::fs::read_to_string(start.write()).unwrap();
    let (work, gone) = (start.folder().join("work"), start.folder().join("gone"));
    let certs = start.folder().join("certs");
    let keys = start.folder().join("keys");
    let make = |config: &str| {
        std::fs::create_dir(&work).unwrap();
        symlink(&certs, work.join("certs")).unwrap();
        symlink(&keys, work.join("keys")).unwrap();
        std::fs::write(work.join("jotgate.toml"), config).unwrap();
    };
    make(&config);
    let process = Process::start_in(start, &work);
    std::fs::rename(&work, &gone).unwrap();
    make(&config.replace("/public/", "/open/"));
    process.wait_for("configuration applied");
    std::fs::remove_dir_all(&gone).unwrap();
    process.signal("USR2");
    process.wait_for("stopped");
    let connect = H1::connect_to(process.https, &process.authority, Some("localhost"));
    assert_eq!(connect.await.get("/open/x", &[]).await.status, 200);
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
    let (mut client, mut line) = keep_busy(&process, &upstream).await;
    replace(&link, "echo \"I am $$ and never ready\" >&2; exec sleep 60");
    process.signal("USR2");
    let said = process.wait_for("never ready");
    let successor = said.split(' ').nth(2).unwrap().to_owned();
    // Whoever wants a reload meanwhile gets one.
    process.signal("HUP");
    process.wait_for("nothing has changed");
    process.signal("TERM");
    process.wait_for("draining; a second signal");
    line.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        .await;
    assert_eq!(client.answer().await.text(), "ok");
    process.wait_for("stopped");
    is_gone(successor.parse().unwrap()).await;
}

#[tokio::test]
async fn a_stop_that_meets_the_moment_of_taking_over_is_for_both() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    // Does not listen to who takes over.
    let _manager = UnixDatagram::bind(&path).unwrap();
    let upstream = Stage::open().await;
    let [https, http, admin] = free_ports();
    let start = Start::to(&upstream.url()).ports(https, http, admin);
    let process = Process::start_as_service(start, &path, Duration::from_secs(60));
    let (mut client, mut line) = keep_busy(&process, &upstream).await;
    process.signal("USR2");
    process.wait_for("listener=\"admin\"");
    process.signal("TERM");
    process.wait_for("not wanted any more, draining");
    // It has nothing to do. The old one ends after it.
    process.wait_for("stopped");
    line.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        .await;
    assert_eq!(client.answer().await.text(), "ok");
    process.wait_for("stopped");
    let written = process.end();
    assert!(!written.contains("ended at once"), "{written}");
    assert!(!written.contains("has taken over"), "{written}");
}

#[tokio::test]
async fn p10_the_new_process_serves_if_the_old_one_dies_before_it_is_ready() {
    let folder = tempfile::tempdir().unwrap();
    let (link, gate) = (folder.path().join("jotgate"), folder.path().join("gate"));
    let made = std::process::Command::new("mkfifo").arg(&gate).status();
    assert!(made.unwrap().success());
    symlink(JOTGATE, &link).unwrap();
    let upstream = Upstream::start().await;
    let mut process = Process::start_from(&link, start(&upstream, 1));
    let gate = gate.display();
    let script = format!("echo waits >&2; read word <{gate}; exec {JOTGATE} \"$@\"");
    replace(&link, &script);
    process.signal("USR2");
    process.wait_for("waits");
    // It has the sockets; whoever connects meanwhile is served by it.
    process.kill();
    let connect = H1::connect_to(process.https, &process.authority, Some("localhost"));
    let asked = async { connect.await.get("/public/x", &[]).await.status };
    let opened = async {
        let go = format!("echo go >{gate}");
        let told = tokio::process::Command::new("sh")
            .args(["-c", &go])
            .status();
        assert!(told.await.unwrap().success());
    };
    let (status, ()) = tokio::join!(asked, opened);
    assert_eq!(status, 200);
    let successor = process_of(&process).await.unwrap();
    process.signal_to(successor, "TERM");
    is_gone(successor).await;
}

#[tokio::test]
async fn the_command_ends_when_nobody_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("jotgate");
    symlink(JOTGATE, &link).unwrap();
    let upstream = Upstream::start().await;
    let mut process = Process::start_from(&link, start(&upstream, 1));
    replace(&link, "echo \"I am never ready\" >&2; exec sleep 60");
    let config = process.folder().join("jotgate.toml");
    let command = upgrading(&config);
    process.wait_for("never ready");
    process.kill();
    let said = timeout(PATIENCE, command).await.unwrap().unwrap();
    assert_eq!(said.status.code(), Some(1));
    let said = String::from_utf8(said.stderr).unwrap();
    assert!(said.contains("no other has taken its place"), "{said}");
}
