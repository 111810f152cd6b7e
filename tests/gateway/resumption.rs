//! What a reload does to sessions that were begun before it: they are resumed wherever a new one
//! would be begun as well, and nowhere else.

use std::fs;

use rustls::HandshakeKind;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::harness::{Authority, H1, Start, TestGateway, Upstream};
use crate::reload::told;

/// A gateway with a certificate for `localhost` and one for `shop.test`, and one client that
/// believes in them and keeps its sessions.
struct Shop {
    authority: Authority,
    gateway: TestGateway,
    connector: TlsConnector,
}

impl Shop {
    fn open(upstream: &Upstream, versions: &[&'static SupportedProtocolVersion]) -> Self {
        let authority = Authority::new();
        let mut start = Start::with(upstream).extra(
            "[tls]\nmin_version = \"1.2\"\nunknown_sni = \"refuse\"\n\
             [[certificate]]\ncert = \"shop.crt\"\nkey = \"shop.key\"\n",
        );
        for (file, name) in [("certs/tls", "localhost"), ("shop", "shop.test")] {
            let (cert, key) = authority.leaf(&[name]);
            start = start.file(&format!("{file}.crt"), cert);
            start = start.file(&format!("{file}.key"), key);
        }
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate()).unwrap();
        let config = ClientConfig::builder_with_provider(jotgate::crypto::rustls_provider());
        let config = config.with_protocol_versions(versions).unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        Self {
            authority,
            gateway: start.start(),
            connector: TlsConnector::from(std::sync::Arc::new(config)),
        }
    }

    /// How a connection by this name begins, if it does.
    async fn connect(&self, name: &str) -> Option<HandshakeKind> {
        let stream = TcpStream::connect(self.gateway.https()).await.unwrap();
        let server = ServerName::try_from(name.to_owned()).unwrap();
        let stream = self.connector.connect(server, stream).await.ok()?;
        let mut client = H1::over(stream);
        // The ticket comes with the first answer.
        let host = format!("GET /public/x HTTP/1.1\r\nHost: {name}\r\n\r\n");
        client.send(host).await;
        assert_eq!(client.answer().await.status, 200);
        client.stream.get_ref().1.handshake_kind()
    }

    /// Changes the configuration.
    async fn says(&self, from: &str, to: &str) {
        let file = self.gateway.folder().join("jotgate.toml");
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from));
        fs::write(&file, text.replace(from, to)).unwrap();
        told(&self.gateway, "jotgate_config_generation 2").await;
    }
}

const FULL: Option<HandshakeKind> = Some(HandshakeKind::Full);
const RESUMED: Option<HandshakeKind> = Some(HandshakeKind::Resumed);

#[tokio::test]
async fn a_session_is_resumed_after_the_certificate_was_renewed() {
    let upstream = Upstream::start().await;
    let shop = Shop::open(&upstream, &[&TLS13, &TLS12]);
    assert_eq!(shop.connect("localhost").await, FULL);
    assert_eq!(shop.connect("localhost").await, RESUMED);
    let (cert, key) = shop.authority.leaf(&["localhost"]);
    fs::write(shop.gateway.folder().join("certs/tls.key"), key).unwrap();
    fs::write(shop.gateway.folder().join("certs/tls.crt"), cert).unwrap();
    told(&shop.gateway, "jotgate_config_generation 2").await;
    assert_eq!(shop.connect("localhost").await, RESUMED);
}

#[tokio::test]
async fn a_session_is_not_resumed_by_a_name_whose_certificate_has_gone() {
    for version in [&TLS13, &TLS12] {
        let upstream = Upstream::start().await;
        let shop = Shop::open(&upstream, &[version]);
        assert_eq!(shop.connect("shop.test").await, FULL);
        assert_eq!(shop.connect("shop.test").await, RESUMED);
        let table = "[[certificate]]\ncert = \"shop.crt\"\nkey = \"shop.key\"\n";
        shop.says(table, "").await;
        assert_eq!(shop.connect("shop.test").await, None);
        assert_eq!(shop.connect("localhost").await, FULL);
    }
}

#[tokio::test]
async fn a_session_of_a_version_that_is_too_old_now_is_not_resumed() {
    let upstream = Upstream::start().await;
    let shop = Shop::open(&upstream, &[&TLS12]);
    assert_eq!(shop.connect("localhost").await, FULL);
    assert_eq!(shop.connect("localhost").await, RESUMED);
    shop.says("min_version = \"1.2\"", "min_version = \"1.3\"")
        .await;
    assert_eq!(shop.connect("localhost").await, None);
}
