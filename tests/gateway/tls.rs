//! Handshakes: who gets one, with which certificate, version and protocol; and which files make
//! one possible.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Arc;

use jotgate::cli::run::{self, LoadError};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustls::client::{Resumption, Tls12Resumption};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{
    AlertDescription, ClientConfig, HandshakeKind, NamedGroup, ProtocolVersion, RootCertStore,
    SupportedProtocolVersion,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::harness::{Authority, H1, PATIENCE, Signer, Start, TestGateway, Upstream};

type Versions = &'static [&'static SupportedProtocolVersion];

const BOTH: Versions = &[&TLS13, &TLS12];
const ONLY_12: Versions = &[&TLS12];
const ONLY_13: Versions = &[&TLS13];

fn client(gateway: &TestGateway, versions: Versions) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(gateway.authority().as_bytes()).unwrap())
        .unwrap();
    ClientConfig::builder_with_provider(jotgate::crypto::rustls_provider())
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

async fn connect(
    gateway: &TestGateway,
    config: impl Into<Arc<ClientConfig>>,
    name: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(gateway.https()).await.unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connector = TlsConnector::from(config.into());
    timeout(PATIENCE, connector.connect(name, stream))
        .await
        .expect("the handshake went on for ever")
}

fn alert(result: std::io::Result<TlsStream<TcpStream>>) -> AlertDescription {
    let error = result.map(drop).expect_err("the handshake worked");
    match error.get_ref().and_then(|e| e.downcast_ref()) {
        Some(rustls::Error::AlertReceived(alert)) => *alert,
        _ => panic!("no alert: {error:?}"),
    }
}

/// A ClientHello of exactly this legacy version, these suites and extensions, in one record.
fn hello(version: [u8; 2], suites: &[[u8; 2]], extensions: &[u8]) -> Vec<u8> {
    let mut body = version.to_vec();
    body.extend([7; 32]);
    body.push(0);
    body.extend((suites.len() as u16 * 2).to_be_bytes());
    body.extend(suites.concat());
    body.extend([1, 0]);
    if !extensions.is_empty() {
        body.extend((extensions.len() as u16).to_be_bytes());
        body.extend(extensions);
    }
    let mut handshake = vec![1];
    handshake.extend(&(body.len() as u32).to_be_bytes()[1..]);
    handshake.extend(body);
    handshake
}

/// Records of at most this many bytes.
fn records(handshake: &[u8], size: usize) -> Vec<u8> {
    handshake
        .chunks(size)
        .flat_map(|part| {
            let length = (part.len() as u16).to_be_bytes();
            [&[22, 3, 1][..], &length, part].concat()
        })
        .collect()
}

fn extension(kind: u16, contents: &[u8]) -> Vec<u8> {
    [
        &kind.to_be_bytes()[..],
        &(contents.len() as u16).to_be_bytes(),
        contents,
    ]
    .concat()
}

/// What a client of TLS 1.2 must say beside its suites: P-256, and ECDSA with SHA-256.
fn usual_extensions() -> Vec<u8> {
    [
        extension(10, &[0, 2, 0, 23]),
        extension(13, &[0, 2, 4, 3]),
        extension(11, &[1, 0]),
        extension(23, &[]),
    ]
    .concat()
}

/// Sends bytes and returns all that came back until the gateway closed.
async fn exchange(gateway: &TestGateway, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(gateway.https()).await.unwrap();
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .expect("the gateway did not close");
    answer
}

async fn assert_serves(gateway: &TestGateway) {
    assert_eq!(gateway.h1().await.get("/public/x", &[]).await.status, 200);
}

#[tokio::test]
async fn t122_tls_12_and_13_work_and_a_minimum_of_13_refuses_12() {
    let upstream = Upstream::start().await;
    for (extra, version, expected) in [
        ("", ONLY_12, Some(ProtocolVersion::TLSv1_2)),
        ("", ONLY_13, Some(ProtocolVersion::TLSv1_3)),
        ("", BOTH, Some(ProtocolVersion::TLSv1_3)),
        (
            "[tls]\nmin_version = \"1.2\"\n",
            ONLY_12,
            Some(ProtocolVersion::TLSv1_2),
        ),
        (
            "[tls]\nmin_version = \"1.3\"\n",
            ONLY_13,
            Some(ProtocolVersion::TLSv1_3),
        ),
        ("[tls]\nmin_version = \"1.3\"\n", ONLY_12, None),
    ] {
        let gateway = Start::with(&upstream).extra(extra).start();
        let stream = connect(&gateway, client(&gateway, version), "localhost").await;
        match expected {
            Some(expected) => {
                let stream = stream.unwrap();
                assert_eq!(stream.get_ref().1.protocol_version(), Some(expected));
                let answer = H1::over(stream).get("/public/x", &[]).await;
                assert_eq!(answer.status, 200, "{extra} {expected:?}");
            }
            None => assert_eq!(alert(stream), AlertDescription::ProtocolVersion),
        }
    }
}

#[tokio::test]
async fn t122_old_versions_and_weak_suites_get_an_alert_and_nothing_else() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    const GCM: [u8; 2] = [0xc0, 0x2b];
    const PROTOCOL_VERSION: u8 = 70;
    const HANDSHAKE_FAILURE: u8 = 40;
    for (what, version, suites, expected) in [
        ("SSL 3.0", [3, 0], &[GCM][..], PROTOCOL_VERSION),
        ("TLS 1.0", [3, 1], &[GCM], PROTOCOL_VERSION),
        ("TLS 1.1", [3, 2], &[GCM, [0xc0, 0x09]], PROTOCOL_VERSION),
        (
            "CBC",
            [3, 3],
            &[[0xc0, 0x23], [0xc0, 0x09]],
            HANDSHAKE_FAILURE,
        ),
        (
            "RSA key exchange",
            [3, 3],
            &[[0, 0x9c], [0, 0x2f]],
            HANDSHAKE_FAILURE,
        ),
        (
            "3DES",
            [3, 3],
            &[[0xc0, 0x08], [0, 0x0a]],
            HANDSHAKE_FAILURE,
        ),
        ("RC4", [3, 3], &[[0xc0, 0x07]], HANDSHAKE_FAILURE),
        (
            "NULL",
            [3, 3],
            &[[0xc0, 0x06], [0, 0x3b]],
            HANDSHAKE_FAILURE,
        ),
        (
            "anonymous",
            [3, 3],
            &[[0xc0, 0x18], [0, 0xa6]],
            HANDSHAKE_FAILURE,
        ),
    ] {
        let hello = hello(version, suites, &usual_extensions());
        let answer = exchange(&gateway, &records(&hello, 16_384)).await;
        let [21, 3, _, 0, 2, 2, description] = answer[..] else {
            panic!("{what}: no alert alone: {answer:?}");
        };
        assert_eq!(description, expected, "{what}");
    }
    // The same words with one good suite are understood, in as many records as there are bytes.
    let good = hello([3, 3], &[[0xc0, 0x09], GCM], &usual_extensions());
    for size in [16_384, 1] {
        let mut stream = TcpStream::connect(gateway.https()).await.unwrap();
        stream.write_all(&records(&good, size)).await.unwrap();
        let mut start = [0; 6];
        stream.read_exact(&mut start).await.unwrap();
        assert_eq!(
            (start[0], start[5]),
            (22, 2),
            "a ServerHello, in records of {size}"
        );
    }
    assert_serves(&gateway).await;
}

#[tokio::test]
async fn t123_a_client_that_does_not_finish_its_hello_is_closed_in_time() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream)
        .extra("\n[limits]\nhandshake_timeout = \"200ms\"\n")
        .start();
    let hello = records(&hello([3, 3], &[[0xc0, 0x2b]], &usual_extensions()), 16_384);
    for bytes in [&b""[..], &hello[..1], &hello[..hello.len() - 1], &hello] {
        let mut stream = TcpStream::connect(gateway.https()).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut answer))
            .await
            .expect("the gateway waited for ever");
    }
    // A byte now and then moves no deadline.
    let mut stream = TcpStream::connect(gateway.https()).await.unwrap();
    let begun = std::time::Instant::now();
    let mut drip = tokio::time::interval(std::time::Duration::from_millis(20));
    for byte in &hello {
        drip.tick().await;
        if stream.write_all(&[*byte]).await.is_err() {
            break;
        }
        assert!(begun.elapsed() < PATIENCE);
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert_eq!(answer, b"", "no ServerHello after the deadline");
    assert_serves(&gateway).await;
}

#[tokio::test]
async fn t123_a_hello_of_64_kib_and_other_nonsense_end_in_a_close() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream)
        .extra("\n[limits]\nhandshake_timeout = \"500ms\"\n")
        .start();
    let mut endless = vec![1, 0xff, 0xff, 0xff];
    endless.resize(70_000, 7);
    let padded = hello(
        [3, 3],
        &[[0xc0, 0x2b]],
        &[usual_extensions(), extension(21, &[0; 65_000])].concat(),
    );
    for bytes in [
        records(&endless, 16_384),
        records(&padded, 16_384),
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        vec![0; 1_000],
        records(&[], 1),
        [22, 3, 1, 0, 0].repeat(100),
    ] {
        exchange(&gateway, &bytes).await;
    }
    assert_eq!(upstream.connections(), 0);
    assert_serves(&gateway).await;
}

#[tokio::test]
async fn t124_the_certificate_is_chosen_by_the_name_asked_for() {
    let upstream = Upstream::start().await;
    let start = || {
        Start::with(&upstream)
            .certificate("shop", &["shop.test", "exact.wild.test"])
            .certificate("wild", &["*.wild.test"])
    };
    let default = start().start();
    let refusing = start().extra("\n[tls]\nunknown_sni = \"refuse\"\n").start();
    for (name, shown) in [
        ("localhost", Some("localhost")),
        ("api.test", Some("localhost")),
        ("shop.test", Some("shop.test")),
        ("SHOP.TEST", Some("shop.test")),
        ("exact.wild.test", Some("shop.test")),
        ("any.wild.test", Some("*.wild.test")),
        // One label, and not none or two.
        ("wild.test", None),
        ("a.b.wild.test", None),
        ("unknown.test", None),
        // No SNI at all.
        ("127.0.0.1", Some("localhost")),
    ] {
        for gateway in [&default, &refusing] {
            let mut config = client(gateway, BOTH);
            config
                .dangerous()
                .set_certificate_verifier(Arc::new(Lenient));
            let stream = connect(gateway, config, name).await;
            let expected = match shown {
                Some(shown) => shown,
                None if std::ptr::eq(gateway, &default) => "localhost",
                None => {
                    let alert = alert(stream);
                    assert_eq!(alert, AlertDescription::UnrecognisedName, "{name}");
                    continue;
                }
            };
            assert_eq!(first_name(&stream.unwrap()), expected, "{name}");
        }
    }
}

/// The first subject alternative name of the certificate shown.
fn first_name(stream: &TlsStream<TcpStream>) -> String {
    use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
    let leaf = &stream.get_ref().1.peer_certificates().unwrap()[0];
    let (_, leaf) = X509Certificate::from_der(leaf).unwrap();
    let names = leaf.subject_alternative_name().unwrap().unwrap();
    let GeneralName::DNSName(name) = names.value.general_names[0] else {
        panic!("{names:?}");
    };
    name.to_owned()
}

/// A client that takes whatever certificate it is shown.
fn lenient(gateway: &TestGateway) -> ClientConfig {
    let mut config = client(gateway, BOTH);
    config
        .dangerous()
        .set_certificate_verifier(Arc::new(Lenient));
    config
}

/// Looks at no certificate: the test does.
#[derive(Debug)]
struct Lenient;

impl rustls::client::danger::ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        self.verify_tls12_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        jotgate::crypto::rustls_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[tokio::test]
async fn t125_the_protocol_is_agreed_or_there_is_no_connection() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    for (offered, agreed) in [
        (&[&b"h2"[..], b"http/1.1"][..], Some(&b"h2"[..])),
        (&[b"http/1.1", b"h2"], Some(b"h2")),
        (&[b"http/1.1"], Some(b"http/1.1")),
        (&[b"spdy/3", b"http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ] {
        for versions in [ONLY_12, ONLY_13] {
            let mut config = client(&gateway, versions);
            config.alpn_protocols = offered.iter().map(|p| p.to_vec()).collect();
            let stream = connect(&gateway, config, "localhost").await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), agreed);
            if agreed != Some(b"h2") {
                let answer = H1::over(stream).get("/public/x", &[]).await;
                assert_eq!(answer.status, 200);
            }
        }
    }
    for offered in [&b"spdy/3"[..], b"h2c", b"H2", b"http/1.0"] {
        for versions in [ONLY_12, ONLY_13] {
            let mut config = client(&gateway, versions);
            config.alpn_protocols = vec![offered.to_vec()];
            let alert = alert(connect(&gateway, config, "localhost").await);
            assert_eq!(alert, AlertDescription::NoApplicationProtocol);
        }
    }
}

#[tokio::test]
async fn t125_http2_bytes_after_http1_was_agreed_are_no_request() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    for alpn in [&[&b"http/1.1"[..]][..], &[]] {
        let mut config = client(&gateway, BOTH);
        config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
        let stream = connect(&gateway, config, "localhost").await.unwrap();
        let mut client = H1::over(stream);
        client
            .send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
            .await;
        assert_eq!(client.answer().await.status, 400);
        assert!(client.is_closed().await);
    }
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn t126_tickets_resume_sessions_of_both_versions_and_never_carry_early_data() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    for versions in [ONLY_12, ONLY_13] {
        let mut config = client(&gateway, versions);
        config.resumption = Resumption::in_memory_sessions(8);
        config.enable_early_data = true;
        let config = Arc::new(config);
        // Whichever worker answers: all of them know the tickets.
        for round in 0..6 {
            let stream = TcpStream::connect(gateway.https()).await.unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            let mut offers_early_data = false;
            let stream = TlsConnector::from(config.clone())
                .connect_with(name, stream, |connection| {
                    offers_early_data = connection.early_data().is_some();
                })
                .await
                .unwrap();
            assert!(!offers_early_data, "the ticket allows early data");
            let kind = stream.get_ref().1.handshake_kind().unwrap();
            if round == 0 {
                assert_ne!(kind, HandshakeKind::Resumed);
            } else {
                assert_eq!(kind, HandshakeKind::Resumed, "{versions:?}, round {round}");
            }
            let mut client = H1::over(stream);
            assert_eq!(client.get("/public/x", &[]).await.status, 200);
        }
    }
}

#[tokio::test]
async fn t126_no_session_is_kept_here() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream)
        .extra("[server]\nworkers = 1\n")
        .start();
    let mut config = client(&gateway, ONLY_12);
    config.resumption =
        Resumption::in_memory_sessions(8).tls12_resumption(Tls12Resumption::SessionIdOnly);
    for _ in 0..3 {
        let stream = connect(&gateway, config.clone(), "localhost")
            .await
            .unwrap();
        let kind = stream.get_ref().1.handshake_kind().unwrap();
        assert_eq!(kind, HandshakeKind::Full);
        let mut client = H1::over(stream);
        assert_eq!(client.get("/public/x", &[]).await.status, 200);
    }
}

#[tokio::test]
async fn plain_http_is_told_that_it_is_in_the_wrong_place() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let mut client = H1::over(TcpStream::connect(gateway.https()).await.unwrap());
    let answer = client.get("/public/x", &[]).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("https"), "{answer:?}");
    assert!(client.is_closed().await);
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn the_key_exchange_is_post_quantum_with_a_client_that_can() {
    let upstream = Upstream::start().await;
    let gateway = Start::with(&upstream).start();
    let hybrid = client(&gateway, ONLY_13);
    let stream = connect(&gateway, hybrid, "localhost").await.unwrap();
    let group = stream.get_ref().1.negotiated_key_exchange_group().unwrap();
    assert_eq!(group.name(), NamedGroup::X25519MLKEM768);
    // Nor is a client left behind that cannot.
    let mut provider = (*jotgate::crypto::rustls_provider()).clone();
    provider
        .kx_groups
        .retain(|group| group.name() == NamedGroup::X25519);
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(gateway.authority().as_bytes()).unwrap())
        .unwrap();
    let classic = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = connect(&gateway, classic, "localhost").await.unwrap();
    let group = stream.get_ref().1.negotiated_key_exchange_group().unwrap();
    assert_eq!(group.name(), NamedGroup::X25519);
}

fn unused() -> Start {
    jotgate::crypto::install();
    Start::to("http://127.0.0.1:1")
}

fn refusal(start: &Start) -> String {
    match run::load(&start.write()) {
        Ok(_) => panic!("it loaded"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn t127_a_key_of_another_certificate_is_refused_with_both_names() {
    let stranger = KeyPair::generate().unwrap().serialize_pem();
    for key in [stranger, Signer::rsa().private_pem()] {
        let start = unused().file("certs/other.key", key);
        let path = start.write();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("certs/tls.key", "certs/other.key")).unwrap();
        let error = match run::load(&path) {
            Ok(_) => panic!("it loaded"),
            Err(error) => error.to_string(),
        };
        assert!(error.contains("certs/other.key"), "{error}");
        assert!(error.contains("certs/tls.crt"), "{error}");
        assert!(error.contains("does not fit"), "{error}");
    }
}

#[test]
fn t127_the_line_is_shown_that_names_the_wrong_file_even_if_both_name_one() {
    let start = unused();
    let path = start.write();
    let text = fs::read_to_string(&path).unwrap();
    for (file, line) in [("certs/tls.key", "cert = "), ("certs/tls.crt", "key = ")] {
        let both = text
            .replace("certs/tls.crt", file)
            .replace("certs/tls.key", file);
        fs::write(&path, &both).unwrap();
        let Err(LoadError::Problems { problems, .. }) = run::load(&path) else {
            panic!("it loaded");
        };
        let places: Vec<_> = problems
            .errors()
            .map(|error| error.place.clone().unwrap())
            .collect();
        let [place] = &places[..] else {
            panic!("{problems:?}");
        };
        assert!(both[..place.start].ends_with(line), "{file}: {problems:?}");
    }
}

#[test]
fn t127_files_written_by_half_are_refused_at_every_length_and_never_echoed() {
    let start = unused();
    let read = |path: &str| std::fs::read_to_string(start.folder().join(path)).unwrap();
    for path in ["certs/tls.crt", "certs/tls.key"] {
        let whole = read(path);
        let secret = whole.lines().nth(1).unwrap().to_owned();
        let mut lengths: Vec<usize> = (0..whole.trim_end().len()).step_by(37).collect();
        lengths.push(whole.trim_end().len() - 1);
        for length in lengths {
            std::fs::write(start.folder().join(path), &whole[..length]).unwrap();
            let error = refusal(&start);
            assert!(error.contains(path), "{length} bytes of {path}: {error}");
            assert!(!error.contains(&secret), "{error}");
        }
        std::fs::write(start.folder().join(path), &whole).unwrap();
    }
    assert!(run::load(&start.write()).is_ok());
}

#[test]
fn t127_a_key_that_has_lost_its_line_breaks_is_refused_and_never_echoed() {
    let start = unused();
    let tls_key = std::fs::read_to_string(start.folder().join("certs/tls.key")).unwrap();
    for path in ["certs/tls.key", "certs/tls.crt", "keys/main.pem"] {
        let path = start.folder().join(path);
        let whole = std::fs::read(&path).unwrap();
        let on_one_line = tls_key.replace('\n', "");
        for broken in [
            tls_key.replacen('\n', "", 1),
            on_one_line[..on_one_line.len() / 2].to_owned(),
            on_one_line,
        ] {
            std::fs::write(&path, broken).unwrap();
            let error = refusal(&start);
            for secret in tls_key.lines().filter(|line| !line.starts_with('-')) {
                let (secret, in_numbers) =
                    (&secret[..12], format!("{:?}", &secret.as_bytes()[..12]));
                assert!(!error.contains(secret), "{error}");
                assert!(
                    !error.contains(in_numbers.trim_matches(['[', ']'])),
                    "{error}"
                );
            }
        }
        std::fs::write(&path, whole).unwrap();
    }
    assert!(run::load(&start.write()).is_ok());
}

/// A chain of two, and the key of the first.
fn chain() -> (String, String, String) {
    let authority = Authority::new();
    let (leaf, key) = authority.leaf(&["localhost"]);
    (leaf, authority.pem().to_owned(), key)
}

#[test]
fn t127_a_chain_that_is_short_of_a_certificate_for_a_line_break_is_refused_with_the_line() {
    let (leaf, authority, key) = chain();
    let lines = leaf.lines().count();
    let on_one_line = authority.replace(['\r', '\n'], "");
    for (chain, line) in [
        (format!("{}{authority}", leaf.trim_end()), lines),
        (format!("{leaf}issuer: {authority}"), lines + 1),
        (format!("{leaf}\n  {authority}"), lines + 2),
        (format!("  {leaf}{authority}"), 1),
        (format!("{leaf}{on_one_line}\n{authority}"), lines + 1),
    ] {
        let start = unused()
            .file("certs/tls.crt", &chain)
            .file("certs/tls.key", &key);
        let error = refusal(&start);
        let place = format!("certs/tls.crt: line {line}: ");
        assert!(error.contains(&place), "{error}\n{chain}");
        assert!(error.contains("line break"), "{error}");
    }
    let start = unused()
        .file("certs/tls.crt", &leaf)
        .file("certs/tls.key", format!("mine {key}"));
    let error = refusal(&start);
    assert!(error.contains("certs/tls.key: line 1: "), "{error}");
}

#[tokio::test]
async fn t127_a_byte_order_mark_and_text_around_blocks_are_no_part_of_a_chain() {
    let (leaf, authority, key) = chain();
    let mark = '\u{feff}';
    let gateway = unused()
        .file(
            "certs/tls.crt",
            format!("{mark}{leaf}\nSubject: the authority\n{authority}# the end"),
        )
        .file("certs/tls.key", format!("{mark}{key}"))
        .start();
    let stream = connect(&gateway, lenient(&gateway), "localhost")
        .await
        .unwrap();
    assert_eq!(stream.get_ref().1.peer_certificates().unwrap().len(), 2);
}

#[test]
fn t127_what_is_no_certificate_or_no_key_is_refused() {
    let start = unused();
    let read = |path: &str| std::fs::read_to_string(start.folder().join(path)).unwrap();
    let (cert, key) = (read("certs/tls.crt"), read("certs/tls.key"));
    let wrong_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    for (path, contents) in [
        ("certs/tls.crt", ""),
        ("certs/tls.crt", key.as_str()),
        ("certs/tls.crt", wrong_der),
        ("certs/tls.key", ""),
        ("certs/tls.key", cert.as_str()),
        ("certs/tls.key", encrypted),
    ] {
        let whole = read(path);
        std::fs::write(start.folder().join(path), contents).unwrap();
        let error = refusal(&start);
        assert!(error.contains(path), "{path} = {contents:?}: {error}");
        std::fs::write(start.folder().join(path), whole).unwrap();
    }
    std::fs::remove_file(start.folder().join("certs/tls.key")).unwrap();
    assert!(refusal(&start).contains("cannot read"));
}

/// The warnings about keys that others can get at.
fn exposures(start: &Start) -> Vec<String> {
    let loaded = run::load(&start.write()).unwrap_or_else(|error| panic!("{error}"));
    let text = &loaded.file.source.text;
    let warnings = loaded.problems.iter().filter_map(|problem| {
        let (file, _) = problem.message.split_once(": every user of this machine")?;
        let place = problem.place.clone().unwrap();
        assert!(file.ends_with(text[place].trim_matches('"')), "{file}");
        Some(file.rsplit('/').next().unwrap().to_owned())
    });
    warnings.collect()
}

#[test]
fn t151_a_private_key_that_everybody_can_read_is_worth_a_warning() {
    let (cert, key) = Authority::new().leaf(&["gateway.test"]);
    let shown = r#"upstream = { ca = "ca.pem", cert = "client.crt", key = "client.key" }"#;
    let route = |path: &str| {
        format!(
            "[[route]]\npath = \"{path}\"\nto = \"https://127.0.0.1:1\"\nauth = \"public\"\n{shown}\n"
        )
    };
    jotgate::crypto::install();
    let start = Start::routes(&(route("/one/") + &route("/two/")))
        .file("ca.pem", Authority::new().pem())
        .file("client.crt", cert)
        .file("client.key", key);
    for (file, name) in [("certs/tls.key", "tls.key"), ("client.key", "client.key")] {
        let path = start.folder().join(file);
        for (mode, is_exposed) in [(0o600, false), (0o640, false), (0o644, true), (0o602, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let expected: &[&str] = if is_exposed { &[name] } else { &[] };
            assert_eq!(exposures(&start), expected, "{mode:o}");
        }
        // As Kubernetes mounts it: what counts is what the link leads to.
        let behind = start.folder().join("behind");
        fs::rename(&path, &behind).unwrap();
        symlink(&behind, &path).unwrap();
        assert_eq!(exposures(&start), [name]);
        fs::set_permissions(&behind, fs::Permissions::from_mode(0o440)).unwrap();
        assert_eq!(exposures(&start), [""; 0]);
        fs::remove_file(&path).unwrap();
        fs::rename(&behind, &path).unwrap();
    }
}

#[tokio::test]
async fn t127_an_expired_certificate_loads_and_is_shown() {
    let upstream = Upstream::start().await;
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let cert = params.self_signed(&key).unwrap();
    let gateway = Start::with(&upstream)
        .file("certs/tls.crt", cert.pem())
        .file("certs/tls.key", key.serialize_pem())
        .start();
    let strict = connect(&gateway, client(&gateway, BOTH), "localhost").await;
    assert!(strict.is_err());
    let stream = connect(&gateway, lenient(&gateway), "localhost")
        .await
        .unwrap();
    assert_eq!(
        stream.get_ref().1.peer_certificates().unwrap()[0],
        *cert.der()
    );
    let mut admin = H1::over(TcpStream::connect(gateway.admin()).await.unwrap());
    let metrics = admin.get("/metrics", &["Connection: close"]).await.text();
    let expires = metrics
        .lines()
        .find(|line| line.contains("certificate") && line.contains("localhost"))
        .unwrap_or_else(|| panic!("{metrics}"));
    assert!(expires.ends_with(" 1609459200"), "{expires}");
}

#[test]
fn t127_an_authority_that_has_expired_is_worth_a_warning() {
    let authority = Authority::new();
    let (leaf, key) = authority.leaf_until(&["localhost"], 2100);
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "between");
    let (between, _) = authority.sign(params);
    let root = authority.pem();
    for (chain, ends) in [
        (format!("{leaf}{root}"), None),
        (format!("{leaf}{between}{root}"), Some(1_609_459_200)),
    ] {
        let start = unused()
            .file("certs/tls.crt", chain)
            .file("certs/tls.key", format!("not ENCRYPTED\n{key}"));
        let loaded = run::load(&start.write()).unwrap();
        let certificate = loaded.snapshot.certificates.iter().next().unwrap();
        assert_eq!(certificate.validity.ends.seconds(), 4_102_444_800);
        let authorities = certificate.authorities.map(|all| all.ends.seconds());
        assert_eq!(authorities, ends);
        let warnings = loaded.problems.render(&loaded.file.source, false);
        assert_eq!(
            warnings.contains("an authority in it: EXPIRED on 2021-01-01"),
            ends.is_some()
        );
    }
}

#[tokio::test]
async fn t127_a_certificate_without_names_is_still_the_default() {
    let upstream = Upstream::start().await;
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(Vec::<String>::new())
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let gateway = Start::with(&upstream)
        .file("certs/tls.crt", cert.pem())
        .file("certs/tls.key", key.serialize_pem())
        .start();
    let stream = connect(&gateway, lenient(&gateway), "localhost")
        .await
        .unwrap();
    let answer = H1::over(stream).get("/public/x", &[]).await;
    assert_eq!(answer.status, 200);
}
