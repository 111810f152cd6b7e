//! `jotgate health`: what a container's health check learns, and how soon.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{Process, Start, Upstream};

/// Asks with a file of this text.
fn health(text: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("jotgate.toml"), text).unwrap();
    Command::new(env!("CARGO_BIN_EXE_jotgate"))
        .arg("health")
        .current_dir(folder.path())
        .env_remove("JOTGATE_LOG")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Nothing else stands in the file, neither certificates nor routes.
fn health_of(address: SocketAddr) -> Output {
    health(&format!("[listen]\nadmin = \"{address}\"\n"))
}

/// Asserts that it fails with one line that says this.
#[track_caller]
fn is_unhealthy(output: &Output, expected: &str) {
    let shown = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{shown}");
    assert!(shown.contains(expected), "no {expected:?} in {shown}");
    assert_eq!(shown.lines().count(), 1, "{shown}");
    assert!(output.stdout.is_empty());
}

/// A listener that reads a request's head and then does what it is told.
fn listener(answer: impl FnOnce(TcpStream, Vec<String>) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let head = lines.map_while(Result::ok);
        let head = head.take_while(|line| !line.is_empty()).collect();
        answer(stream, head);
    });
    address
}

/// A listener that always answers the same.
fn answering(answer: &'static str) -> SocketAddr {
    listener(move |mut stream, _| stream.write_all(answer.as_bytes()).unwrap())
}

#[tokio::test]
async fn a_gateway_that_serves_is_healthy_and_nothing_is_said() {
    let upstream = Upstream::start().await;
    let process = Process::start(Start::with(&upstream), "info");
    let output = health_of(process.admin);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stdout.is_empty() && output.stderr.is_empty());
    let address = process.admin;
    process.end();
    is_unhealthy(&health_of(address), "refused");
}

#[tokio::test]
async fn with_an_address_a_gateway_is_healthy_whatever_has_become_of_its_file() {
    let upstream = Upstream::start().await;
    let process = Process::start(Start::with(&upstream), "info");
    let config = process.folder().join("jotgate.toml");
    std::fs::write(&config, "<<<<<<< HEAD\n[listen\n").unwrap();
    process.wait_for("the last good configuration goes on");
    let ask = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jotgate"));
        let command = command.arg("health").args(more);
        command.current_dir(process.folder()).output().unwrap()
    };
    is_unhealthy(&ask(&[]), "no address to ask");
    let address = process.admin.to_string();
    let output = ask(&["--address", &address]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn readiness_is_what_is_asked_for_and_only_200_is_healthy() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let address = listener(move |mut stream, head| {
        sender.send(head).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    });
    assert_eq!(health_of(address).status.code(), Some(0));
    let head = receiver.recv().unwrap();
    assert_eq!(head[0], "GET /readyz HTTP/1.1");
    assert!(head.contains(&format!("host: {address}")), "{head:?}");
    for (answer, expected) in [
        (
            "HTTP/1.1 503 Service Unavailable\r\n\r\nnot ready",
            "answered 503",
        ),
        (
            "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\n\r\n",
            "answered 302",
        ),
        ("HTTP/1.1 204 No Content\r\n\r\n", "answered 204"),
        ("HTTP/1.1 2000\r\n\r\n", "does not answer as"),
        ("SSH-2.0-x\r\n", "does not answer as"),
        ("", "does not answer as"),
    ] {
        is_unhealthy(&health_of(answering(answer)), expected);
    }
}

#[test]
fn it_waits_two_seconds_in_all_and_reads_a_few_kilobytes() {
    let silent = listener(|mut stream, _| {
        // Until the other side has had enough.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let trickling = listener(|mut stream, _| {
        while stream.write_all(b"H").is_ok() {
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    for address in [silent, trickling] {
        let begun = Instant::now();
        is_unhealthy(&health_of(address), "did not answer within 2s");
        let took = begun.elapsed();
        assert!(took >= Duration::from_secs(2), "{took:?}");
        assert!(took < Duration::from_secs(4), "{took:?}");
    }
    let endless = listener(|mut stream, _| while stream.write_all(&[b'x'; 1024]).is_ok() {});
    is_unhealthy(&health_of(endless), "does not answer as");
}

#[test]
fn an_address_of_every_interface_is_asked_on_loopback() {
    for every in ["", "0.0.0.0"] {
        let port = answering("HTTP/1.1 200 OK\r\n\r\n").port();
        let output = health(&format!("[listen]\nadmin = \"{every}:{port}\"\n"));
        assert_eq!(output.status.code(), Some(0), "{every}: {output:?}");
    }
}

#[test]
fn what_is_wrong_elsewhere_in_the_file_does_not_matter() {
    for wrong in [
        "https = 1",
        "cert = \"absent.crt\"\nkey = \"absent.key\"",
        "zzz = 1\n[loging]\n[[route]]\npath = \"/\"\nauth = \"nobody\"",
        "[tls]\nhsts = \"unfinished",
        "[[[",
    ] {
        let address = answering("HTTP/1.1 200 OK\r\n\r\n");
        let output = health(&format!("[listen]\nadmin = [\"{address}\"]\n{wrong}\n"));
        assert_eq!(output.status.code(), Some(0), "{wrong}: {output:?}");
    }
}

#[test]
fn a_file_without_an_address_says_what_to_do() {
    for text in ["", "[listen]\n", "[listen]\nadmin = \"localhost:1\"\n"] {
        let output = health(text);
        is_unhealthy(&output, "add admin = \"127.0.0.1:9901\" to [listen]");
    }
    is_unhealthy(&health("[listen]\nadmin = \"127.0.0.1:0\"\n"), "port 0");
    let output = Command::new(env!("CARGO_BIN_EXE_jotgate"))
        .args(["health", "--config", "absent.toml"])
        .output()
        .unwrap();
    is_unhealthy(&output, "cannot read absent.toml: No such file");
}
