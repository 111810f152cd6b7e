//! How upstreams are connected to: TLS, names that move, and how many connections they get.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jotgate::cli::run;
use jotgate::control::Resolver;
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyPair};
use tokio::sync::{Barrier, watch};
use tokio::time::timeout;

use crate::harness::{
    Authority, H1, PATIENCE, Process, Script, Stage, Start, TestGateway, TlsFront, Upstream,
};

/// A public route to this target, with these keys of its own.
pub fn route(to: &str, more: &str) -> String {
    format!("[[route]]\npath = \"/\"\nto = \"{to}\"\nauth = \"public\"\n{more}\n")
}

fn https(front: &TlsFront) -> String {
    format!("https://localhost:{}", front.address.port())
}

/// The status and the reason of one request on a new connection.
async fn ask(gateway: &TestGateway, number: usize) -> (u16, String) {
    let answer = gateway.h1().await.get("/x", &[]).await;
    let event = gateway.events(number).await.remove(number - 1);
    (answer.status, event["reason"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn an_upstream_over_tls_is_believed_if_its_authority_is() {
    let upstream = Upstream::start().await;
    let authority = Authority::new();
    let front = TlsFront::start(upstream.address, &authority, &["localhost"], None).await;
    let gateway = Start::routes(&route(&https(&front), r#"upstream = { ca = "ca.pem" }"#))
        .file("ca.pem", authority.pem())
        .start();
    let mut client = gateway.h1().await;
    for _ in 0..3 {
        assert_eq!(client.get("/x", &[]).await.status, 200);
    }
    let received = upstream.received();
    assert_eq!(received.len(), 3);
    assert_eq!(received[0].one("host"), Some("localhost"), "the client's");
    assert_eq!(front.handshakes(), 1, "the connection is kept");
}

/// A certificate as `openssl req -x509` makes it: its own authority.
fn own(name: &str, until: i32) -> (String, String) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    let key = KeyPair::generate().unwrap();
    let cert = params.self_signed(&key).unwrap().pem();
    (cert, key.serialize_pem())
}

#[tokio::test]
async fn an_upstreams_own_certificate_is_believed_if_it_is_the_one_that_is_named() {
    let upstream = Upstream::start().await;
    let [good, other, expired, elsewhere] = [
        own("localhost", 4096),
        own("localhost", 4096),
        own("localhost", 2021),
        own("elsewhere.test", 4096),
    ];
    for (shown, named, expected) in [
        (&good, vec![&other, &good], (200, "ok")),
        (&good, vec![&other], (502, "upstream_tls")),
        (&expired, vec![&expired], (502, "upstream_tls")),
        (&elsewhere, vec![&elsewhere], (502, "upstream_tls")),
    ] {
        let front = TlsFront::showing(upstream.address, shown.clone(), None).await;
        let named: String = named.iter().map(|(cert, _)| cert.as_str()).collect();
        let gateway = Start::routes(&route(&https(&front), r#"upstream = { ca = "ca.pem" }"#))
            .file("ca.pem", named)
            .start();
        let (status, reason) = ask(&gateway, 1).await;
        assert_eq!((status, reason.as_str()), expected);
    }
}

#[tokio::test]
async fn an_upstreams_certificate_is_looked_at_for_every_connection() {
    let upstream = Upstream::start().await;
    let authority = Authority::new();
    let front = TlsFront::start(upstream.address, &authority, &["localhost"], None).await;
    let gateway = Start::routes(&route(&https(&front), ""))
        .extra("[upstream]\nca = \"ca.pem\"\nkeepalive = \"0s\"\n[server]\nworkers = 1\n")
        .file("ca.pem", authority.pem())
        .start();
    let mut client = gateway.h1().await;
    for _ in 0..3 {
        assert_eq!(client.get("/x", &[]).await.status, 200);
    }
    assert_eq!((front.handshakes(), front.resumed()), (3, 0));
}

#[test]
fn authorities_that_are_glued_together_are_refused_with_the_line() {
    jotgate::crypto::install();
    let [one, other] = [Authority::new(), Authority::new()].map(|one| one.pem().to_owned());
    let load = |ca: String| {
        let start = Start::routes(&route("https://localhost:1", ""))
            .extra("[upstream]\nca = \"ca.pem\"\n")
            .file("ca.pem", ca);
        run::load(&start.write())
    };
    let line = one.lines().count();
    let error = match load(format!("{}{other}", one.trim_end())) {
        Ok(_) => panic!("it loaded"),
        Err(error) => error.to_string(),
    };
    assert!(error.contains(&format!("ca.pem: line {line}: ")), "{error}");
    assert!(load(format!("\u{feff}{one}{other}")).is_ok());
}

#[tokio::test]
async fn what_the_system_believes_is_read_again_when_the_files_are_looked_at() {
    let upstream = Upstream::start().await;
    let authority = Authority::new();
    let front = TlsFront::start(upstream.address, &authority, &["localhost"], None).await;
    let start =
        Start::routes(&route(&https(&front), "")).file("system.pem", Authority::new().pem());
    let system = start.folder().join("system.pem");
    let process = Process::start_believing(start, &system);
    let mut client = H1::connect_to(process.https, &process.authority, Some("localhost")).await;
    assert_eq!(client.get("/x", &[]).await.status, 502);

    std::fs::write(&system, authority.pem()).unwrap();
    process.signal("HUP");
    process.wait_for("configuration applied");
    assert_eq!(client.get("/x", &[]).await.status, 200);

    // It is being written: what was there last is believed.
    std::fs::write(&system, "").unwrap();
    process.signal("HUP");
    process.wait_for("waiting for files to be complete");
    assert_eq!(client.get("/x", &[]).await.status, 200);

    // Nobody is believed any more who is not believed by the system.
    std::fs::write(&system, Authority::new().pem()).unwrap();
    process.signal("HUP");
    process.wait_for("configuration applied");
    assert_eq!(client.get("/x", &[]).await.status, 502);
    assert_eq!(upstream.received().len(), 2);
}

#[tokio::test]
async fn an_upstream_with_another_name_or_authority_gets_no_request() {
    let upstream = Upstream::start().await;
    let authority = Authority::new();
    let other_name = TlsFront::start(upstream.address, &authority, &["other.test"], None).await;
    let other_authority =
        TlsFront::start(upstream.address, &Authority::new(), &["localhost"], None).await;
    for front in [&other_name, &other_authority] {
        let gateway = Start::routes(&route(&https(front), ""))
            .extra("[upstream]\nca = \"ca.pem\"\n")
            .file("ca.pem", authority.pem())
            .start();
        assert_eq!(ask(&gateway, 1).await, (502, "upstream_tls".to_owned()));
        // What the client says of hosts does not decide which name the certificate must have.
        let host = "Host: other.test";
        let mut client = gateway.h1().await;
        client
            .send(format!("GET /x HTTP/1.1\r\n{host}\r\n\r\n"))
            .await;
        assert_ne!(client.answer().await.status, 200);
    }
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn an_upstream_that_asks_for_a_certificate_is_shown_the_one_there_is() {
    let upstream = Upstream::start().await;
    let (authority, clients) = (Authority::new(), Authority::new());
    let front = TlsFront::start(upstream.address, &authority, &["localhost"], Some(&clients)).await;
    let (cert, key) = clients.leaf(&["gateway.test"]);
    let start = |more: &str| {
        Start::routes(&route(
            &https(&front),
            &format!("upstream = {{ ca = \"ca.pem\"{more} }}"),
        ))
        .file("ca.pem", authority.pem())
        .file("client.crt", &cert)
        .file("client.key", &key)
        .start()
    };
    let with = start(r#", cert = "client.crt", key = "client.key""#);
    assert_eq!(ask(&with, 1).await, (200, "ok".to_owned()));
    let without = start("");
    let (status, reason) = ask(&without, 1).await;
    // In TLS 1.3 the refusal comes after the handshake, in place of the answer.
    assert_eq!((status, reason.as_str()), (502, "upstream_tls"));
    assert_eq!(upstream.received().len(), 1);
}

/// Two certificates to show, the one with a name until 2100, the other with no more than its
/// subject and already over.
fn shown_to_upstreams() -> Start {
    let clients = Authority::new();
    let mut nameless = CertificateParams::new(Vec::new()).unwrap();
    nameless.not_after = rcgen::date_time_ymd(2021, 1, 1);
    nameless.distinguished_name = DistinguishedName::new();
    let name = &mut nameless.distinguished_name;
    name.push(DnType::CommonName, "the gateway");
    let leaves = [
        ("named", clients.leaf_until(&["gateway.test"], 2100)),
        ("nameless", clients.sign(nameless)),
    ];
    let routes = leaves.iter().map(|(file, _)| {
        format!(
            r#"
            [[route]]
            path = "/{file}/"
            to = "https://127.0.0.1:1"
            auth = "public"
            upstream = {{ ca = "ca.pem", cert = "{file}.crt", key = "{file}.key" }}
            [[route]]
            path = "/{file}/too/"
            to = "https://127.0.0.1:2"
            auth = "public"
            upstream = {{ ca = "ca.pem", cert = "{file}.crt", key = "{file}.key" }}
            "#
        )
    });
    let start = Start::routes(&routes.collect::<String>()).file("ca.pem", clients.pem());
    leaves.iter().fold(start, |start, (file, (cert, key))| {
        start
            .file(&format!("{file}.crt"), cert)
            .file(&format!("{file}.key"), key)
    })
}

#[tokio::test]
async fn the_end_of_a_certificate_that_upstreams_are_shown_is_told() {
    let gateway = shown_to_upstreams().start();
    let mut operator = H1::plain(gateway.admin()).await;
    let metrics = operator.get("/metrics", &[]).await.text();
    for expected in [
        r#"jotgate_certificate_expiry_seconds{name="gateway.test"} 4102444800"#,
        r#"jotgate_certificate_expiry_seconds{name="the gateway"} 1609459200"#,
    ] {
        assert!(metrics.contains(expected), "no {expected} in\n{metrics}");
    }
    let ready = operator.get("/readyz", &[]).await.text();
    for expected in [
        "certificate for upstreams until 2100-01-01T00:00:00Z: gateway.test\n",
        "certificate for upstreams until 2021-01-01T00:00:00Z: the gateway\n",
    ] {
        assert_eq!(ready.matches(expected).count(), 1, "{ready}");
    }
}

#[test]
fn check_lists_certificates_that_upstreams_are_shown_and_warns_when_they_are_over() {
    let start = shown_to_upstreams();
    start.write();
    let output = Command::new(env!("CARGO_BIN_EXE_jotgate"))
        .arg("check")
        .current_dir(start.folder())
        .output()
        .unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    for expected in [
        "  named.crt: gateway.test, valid until 2100-01-01 (",
        "  nameless.crt: the gateway, EXPIRED on 2021-01-01, shown to upstreams\n",
    ] {
        assert_eq!(out.matches(expected).count(), 1, "{expected:?} in\n{out}");
    }
    let expected = "warning: nameless.crt: EXPIRED on 2021-01-01; upstreams refuse it";
    assert_eq!(err.matches(expected).count(), 1, "{err}");
    assert!(!err.contains("warning: named.crt"), "{err}");
}

#[tokio::test]
async fn routes_with_the_same_origin_share_its_connections_whatever_their_base_path() {
    let upstream = Upstream::start().await;
    let to = upstream.url();
    let gateway = Start::routes(&format!(
        r#"
        [[route]]
        path = "/a/"
        to = "{to}/one"
        auth = "public"
        [[route]]
        path = "/b/"
        to = "{to}/two/"
        auth = "public"
        "#
    ))
    .start();
    let mut client = gateway.h1().await;
    for path in ["/a/", "/b/", "/a/"] {
        assert_eq!(client.get(path, &[]).await.status, 200);
    }
    assert_eq!(upstream.connections(), 1);
    assert_eq!(upstream.received()[1].line, "GET /two/b/ HTTP/1.1");
}

/// A name server in the test's hands.
#[derive(Clone)]
pub struct Names {
    known: Arc<Mutex<Option<Vec<SocketAddr>>>>,
    asked: watch::Sender<u64>,
}

impl Names {
    pub fn new() -> Self {
        Self {
            known: Arc::default(),
            asked: watch::Sender::new(0),
        }
    }

    /// What the name resolves to from now on; `None` is no answer.
    pub fn say(&self, addresses: Option<&[SocketAddr]>) {
        *self.known.lock().unwrap() = addresses.map(<[_]>::to_vec);
    }

    /// Returns once the gateway has heard what was said last: it has asked since, and then again.
    async fn heard(&self) {
        let mut asked = self.asked.subscribe();
        let before = *asked.borrow();
        let heard = asked.wait_for(|asked| *asked >= before + 2);
        timeout(PATIENCE, heard)
            .await
            .expect("nobody asks")
            .unwrap();
    }

    pub fn resolver(&self) -> Resolver {
        let names = self.clone();
        Resolver::new(move |host, _| {
            assert_eq!(host, "app.test");
            names.asked.send_modify(|asked| *asked += 1);
            let known = names.known.lock().unwrap().clone();
            known.ok_or_else(|| io::Error::other("the name server is gone"))
        })
    }
}

#[tokio::test]
async fn p14_a_name_may_fail_at_the_start_move_and_fail_again() {
    let (one, two) = (Upstream::start().await, Upstream::start().await);
    let names = Names::new();
    let gateway = Start::routes(&route("http://app.test", ""))
        .extra("[upstream]\nresolve = \"100ms\"\nkeepalive = \"1h\"\n")
        .resolver(names.resolver())
        .start();
    assert_eq!(
        ask(&gateway, 1).await,
        (502, "upstream_unresolved".to_owned())
    );
    // The kept connection to the old address is of no use once it has moved.
    for upstream in [&one, &two, &one] {
        names.say(Some(&[upstream.address]));
        names.heard().await;
        let before = upstream.received().len();
        assert_eq!(gateway.h1().await.get("/x", &[]).await.status, 200);
        assert_eq!(upstream.received().len(), before + 1);
        // The last good addresses are kept.
        names.say(None);
        names.heard().await;
        assert_eq!(gateway.h1().await.get("/x", &[]).await.status, 200);
        assert_eq!(upstream.received().len(), before + 2);
    }
}

#[tokio::test]
async fn p14_names_are_looked_up_again_once_the_system_has_threads_again() {
    let upstream = Upstream::start().await;
    let to = format!("http://localhost:{}", upstream.address.port());
    let start = Start::routes(&route(&to, "")).extra("[upstream]\nresolve = \"100ms\"\n");
    let everybody = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(start.folder(), everybody).unwrap();
    let process = Process::start_as_nobody(start);
    process.wait_for("upstream resolved");
    process.limit_threads(false);
    let why = process.wait_for("cannot resolve an upstream's name");
    assert!(why.contains("temporarily unavailable"), "{why}");
    let mut client = H1::connect_to(process.https, &process.authority, Some("localhost")).await;
    assert_eq!(client.get("/x", &[]).await.status, 200);
    process.limit_threads(true);
    process.wait_for("an upstream's name resolves again");
}

#[tokio::test]
async fn p14_other_settings_for_an_upstream_do_not_make_its_addresses_unknown() {
    let upstream = Upstream::start().await;
    let names = Names::new();
    names.say(Some(&[upstream.address]));
    let gateway = Start::routes(&route("http://app.test", ""))
        .extra("[upstream]\nresolve = \"100ms\"\n")
        .resolver(names.resolver())
        .start();
    let mut client = gateway.h1().await;
    assert_eq!(client.get("/x", &[]).await.status, 200);
    names.say(None);
    names.heard().await;
    let file = gateway.folder().join("jotgate.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let other = text.replace("[upstream]", "[upstream]\nmax_connections = 7");
    std::fs::write(&file, other).unwrap();
    let mut number = 1;
    let applied = async {
        while gateway.events(number).await[number - 1]["generation"] == 1 {
            assert_eq!(client.get("/x", &[]).await.status, 200);
            number += 1;
        }
    };
    timeout(PATIENCE, applied).await.expect("it is not applied");
}

#[tokio::test]
async fn all_addresses_of_a_name_are_used_and_a_dead_one_costs_no_request() {
    let (one, two) = (Upstream::start().await, Upstream::start().await);
    let dead = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let names = Names::new();
    names.say(Some(&[one.address, dead, two.address]));
    let gateway = Start::routes(&route("http://app.test", ""))
        .extra("[upstream]\nkeepalive = \"0s\"\n[server]\nworkers = 1\n")
        .resolver(names.resolver())
        .start();
    let mut client = gateway.h1().await;
    for _ in 0..12 {
        assert_eq!(client.get("/x", &[]).await.status, 200);
    }
    assert!(one.received().len() >= 3, "{}", one.received().len());
    assert!(two.received().len() >= 3, "{}", two.received().len());
}

#[tokio::test]
async fn a_request_waits_for_a_connection_and_gets_the_one_that_is_handed_back() {
    let upstream = Stage::open().await;
    let gateway = Start::routes(&route(
        &upstream.url(),
        r#"upstream = { max_connections = 1, wait = "10s" }"#,
    ))
    .extra("[server]\nworkers = 1\n")
    .start();
    let (mut first, mut second) = (gateway.h1().await, gateway.h1().await);
    let request = "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n";
    first.send(request).await;
    let mut line = upstream.enter().await;
    line.head_text().await;
    second.send(request).await;
    line.send("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\none")
        .await;
    assert_eq!(first.answer().await.text(), "one");
    line.head_text().await;
    line.send("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\ntwo")
        .await;
    assert_eq!(second.answer().await.text(), "two");
}

#[tokio::test]
async fn p21_more_than_an_upstream_may_get_is_refused_at_once_and_told_to_come_back() {
    let upstream = Stage::open().await;
    let gateway = Start::routes(&route(
        &upstream.url(),
        r#"upstream = { max_connections = 1, max_waiting = 1, wait = "300ms" }"#,
    ))
    .start();
    let request = "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut busy = gateway.h1().await;
    busy.send(request).await;
    let mut line = upstream.enter().await;
    line.head_text().await;
    let mut others = Vec::new();
    for _ in 0..3 {
        let mut client = gateway.h1().await;
        client.send(request).await;
        others.push(client);
    }
    for client in &mut others {
        let answer = client.answer().await;
        assert_eq!(answer.status, 503);
        assert_eq!(answer.one("retry-after"), Some("1"));
    }
    // Two of them had no place to wait in, the third waited as long as it may.
    let mut waited: Vec<f64> = gateway
        .events(3)
        .await
        .iter()
        .map(|event| {
            assert_eq!(event["reason"], "upstream_overloaded");
            event["duration_ms"].as_f64().unwrap()
        })
        .collect();
    waited.sort_by(f64::total_cmp);
    assert!(waited[1] < 300.0 && waited[2] >= 300.0, "{waited:?}");
    line.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        .await;
    assert_eq!(busy.answer().await.text(), "ok");
}

#[tokio::test]
async fn a_connection_that_one_worker_keeps_is_given_up_when_another_wants_its_place() {
    let upstream = Upstream::start().await;
    let gateway = Start::routes(&route(
        &upstream.url(),
        r#"upstream = { max_connections = 1, wait = "10s", keepalive = "1h" }"#,
    ))
    .extra("[server]\nworkers = 4\n")
    .start();
    for _ in 0..30 {
        assert_eq!(gateway.h1().await.get("/x", &[]).await.status, 200);
    }
    // Spread over four workers, these could not all have used one connection.
    assert!(upstream.connections() > 1);
}

#[tokio::test]
async fn p19_connections_that_one_upstream_keeps_give_way_to_those_of_another() {
    // What is left of 128 descriptors after what is reserved; clients get the other half.
    const SOCKETS: usize = 24;
    let all_have_come = Arc::new(Barrier::new(SOCKETS));
    let crowded = Script::start(move |mut line| {
        let all_have_come = all_have_come.clone();
        async move {
            while line.head().await.is_some() {
                all_have_come.wait().await;
                line.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                    .await;
            }
        }
    })
    .await;
    let other = Upstream::start().await;
    let start = Start::routes(&format!(
        "[[route]]\npath = \"/crowded/\"\nto = \"{}\"\nauth = \"public\"\n\
         [[route]]\npath = \"/other/\"\nto = \"{}\"\nauth = \"public\"\n\
         [upstream]\nkeepalive = \"1h\"\nwait = \"10s\"\n[server]\nworkers = 2\n",
        crowded.url(),
        other.url()
    ));
    let process = Process::start_with_descriptors(start, "info", 128);
    let mut clients = Vec::new();
    for _ in 0..SOCKETS {
        let connect = H1::connect_to(process.https, &process.authority, Some("localhost"));
        let mut client = connect.await;
        client
            .send("GET /crowded/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await;
        clients.push(client);
    }
    for client in &mut clients {
        assert_eq!(client.answer().await.status, 200);
    }
    // Every socket is kept for the first upstream, on one worker or the other.
    for client in &mut clients {
        assert_eq!(client.get("/other/x", &[]).await.status, 200);
    }
}

#[tokio::test]
async fn a_connection_is_kept_as_long_as_the_file_says() {
    for (settings, connections) in [
        (r#"keepalive = "0s""#, 3),
        (r#"max_age = "1ms""#, 3),
        (r#"keepalive = "1h", max_age = "1h""#, 1),
    ] {
        let upstream = Upstream::answering(|_| {
            // Long enough to be too old.
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(2) {
                std::hint::spin_loop();
            }
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec()
        })
        .await;
        let gateway = Start::routes(&route(
            &upstream.url(),
            &format!("upstream = {{ {settings} }}"),
        ))
        .start();
        let mut client = gateway.h1().await;
        for _ in 0..3 {
            assert_eq!(client.get("/x", &[]).await.status, 200);
        }
        assert_eq!(upstream.connections(), connections, "{settings}");
    }
}

#[tokio::test]
async fn t117_a_connection_that_has_become_large_is_kept_for_what_is_as_large() {
    let upstream = Upstream::answering(|request| {
        let much = if request.line.contains("/much") {
            24 << 20
        } else {
            2
        };
        let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {much}\r\n\r\n").into_bytes();
        answer.resize(answer.len() + much, b'x');
        answer
    })
    .await;
    // What is waited for is no flow: where the upstream gets no turn for a moment, nothing grows.
    let mut seen = Vec::new();
    for _ in 0..10 {
        let before = upstream.connections();
        let gateway = Start::to(&upstream.url()).start();
        let mut client = gateway.h1().await;
        let mut connections = Vec::new();
        for path in ["much", "much", "little", "little", "little"] {
            assert_eq!(
                client.get(&format!("/public/{path}"), &[]).await.status,
                200
            );
            connections.push(upstream.connections() - before);
        }
        if connections == [1, 1, 1, 2, 2] {
            return;
        }
        seen.push(connections);
    }
    panic!("{seen:?}");
}
