//! Every kind of file, in every way in which files change in real life, there and back again: each
//! change takes effect, and the way back does, which is where others have failed, the first having
//! taken the watch along.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;

use jsonwebtoken::Algorithm;

use crate::harness::{
    Authority, Draft, H1, Signer, Start, Steady, TestGateway, TlsFront, Upstream,
};
use crate::reload::{second, token, told};

/// What changes: names of files below `files`, and what is in them then.
type Changed<'c> = &'c [(&'static str, String)];

/// A way in which they do.
type Idiom = fn(files: &Path, changed: Changed<'_>);

#[tokio::test]
async fn p5_every_file_may_be_written_in_place() {
    there_and_back(false, |files, changed| {
        for (name, contents) in changed {
            fs::write(files.join(name), contents).unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn p5_every_file_may_be_written_in_two_steps() {
    there_and_back(false, |files, changed| {
        for (name, contents) in changed {
            let (first, rest) = contents.as_bytes().split_at(contents.len() / 2);
            let mut file = fs::File::create(files.join(name)).unwrap();
            file.write_all(first).unwrap();
            file.sync_all().unwrap();
            file.write_all(rest).unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn p5_every_file_may_be_renamed_over() {
    there_and_back(false, |files, changed| {
        for (name, contents) in changed {
            fs::write(files.join(".new"), contents).unwrap();
            fs::rename(files.join(".new"), files.join(name)).unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn p5_every_file_may_be_saved_with_an_editors_backup_dance() {
    there_and_back(false, |files, changed| {
        for (name, contents) in changed {
            let (file, backup) = (files.join(name), files.join(format!("{name}~")));
            fs::rename(&file, &backup).unwrap();
            fs::write(&file, contents).unwrap();
            fs::remove_file(&backup).unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn p5_every_file_may_be_removed_and_made_again() {
    there_and_back(false, |files, changed| {
        for (name, contents) in changed {
            fs::remove_file(files.join(name)).unwrap();
            fs::write(files.join(name), contents).unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn p5_every_file_may_be_replaced_by_a_link() {
    there_and_back(false, |files, changed| {
        for (name, contents) in changed {
            // Where it leads has another name each time.
            let version = fs::read_dir(files).unwrap().count();
            let target = format!("{name}.{version}");
            fs::write(files.join(&target), contents).unwrap();
            symlink(&target, files.join(".link")).unwrap();
            fs::rename(files.join(".link"), files.join(name)).unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn p5_every_file_may_come_with_another_folder() {
    there_and_back(false, |files, changed| {
        let (other, gone) = (files.with_extension("other"), files.with_extension("gone"));
        copy(files, &other, changed);
        fs::rename(files, &gone).unwrap();
        fs::rename(&other, files).unwrap();
        fs::remove_dir_all(&gone).unwrap();
    })
    .await;
}

#[tokio::test]
async fn p5_every_file_may_be_in_a_mounted_volume_that_is_swapped() {
    there_and_back(true, |files, changed| {
        let old = fs::read_link(files.join("..data")).unwrap();
        let version: u32 = old.to_str().unwrap()[2..].parse().unwrap();
        let new = format!("..{}", version + 1);
        copy(&files.join(&old), &files.join(&new), changed);
        symlink(&new, files.join("..data_tmp")).unwrap();
        fs::rename(files.join("..data_tmp"), files.join("..data")).unwrap();
        fs::remove_dir_all(files.join(&old)).unwrap();
    })
    .await;
}

/// Makes a folder like another one, but for what is changed in it.
fn copy(from: &Path, to: &Path, changed: Changed<'_>) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
    for (name, contents) in changed {
        fs::write(to.join(name), contents).unwrap();
    }
}

/// As Kubernetes mounts a volume: each file is a link, by way of one link to all of them.
fn mount(files: &Path) {
    let names: Vec<_> = fs::read_dir(files)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    fs::create_dir(files.join("..0")).unwrap();
    symlink("..0", files.join("..data")).unwrap();
    for name in names {
        fs::rename(files.join(&name), files.join("..0").join(&name)).unwrap();
        symlink(Path::new("..data").join(&name), files.join(&name)).unwrap();
    }
}

/// Changes one kind of file after the other and back again. After each change it is the new one
/// alone that counts, and all others are as they were.
async fn there_and_back(is_mounted: bool, idiom: Idiom) {
    let (world, gateway, steady) = World::start(is_mounted).await;
    let files = gateway.folder().join("files");
    let mut versions = [0; KINDS.len()];
    let mut generation = 1;
    world.check(&gateway, versions).await;
    for kind in KINDS {
        for version in [1, 0] {
            idiom(&files, &world.files(kind, version));
            generation += 1;
            println!("{kind:?} {version}");
            told(&gateway, &format!("jotgate_config_generation {generation}")).await;
            versions[kind as usize] = version;
            world.check(&gateway, versions).await;
        }
    }
    steady.was_unharmed(&gateway).await;
}

/// What a file is for.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Configuration,
    Certificate,
    PublicKey,
    Secret,
    /// Of an upstream.
    Authorities,
    /// What is shown to an upstream.
    Identity,
}

const KINDS: [Kind; 6] = [
    Kind::Configuration,
    Kind::Certificate,
    Kind::PublicKey,
    Kind::Secret,
    Kind::Authorities,
    Kind::Identity,
];

/// Two versions of everything. The first of [`Kind::Authorities`] and [`Kind::Identity`] are good
/// ones.
struct World {
    configuration: [String; 2],
    certificates: [Authority; 2],
    secrets: [String; 2],
    upstreams: [Authority; 2],
    clients: [Authority; 2],
    /// That upstream, over TLS, and again for clients with a certificate.
    _fronts: [TlsFront; 2],
    _upstream: Upstream,
}

impl World {
    async fn start(is_mounted: bool) -> (Self, TestGateway, Steady) {
        let upstream = Upstream::start().await;
        let upstreams = [Authority::new(), Authority::new()];
        let clients = [Authority::new(), Authority::new()];
        let front = async |clients| {
            TlsFront::start(upstream.address, &upstreams[0], &["localhost"], clients).await
        };
        let fronts = [front(None).await, front(Some(&clients[0])).await];
        let start = Start::routes(&routes(&upstream, &fronts)).issuers(ISSUERS);
        let (start, steady) = Steady::prepare(start).await;
        let folder = start.folder().to_owned();
        fs::create_dir(folder.join("files")).unwrap();
        symlink("files/jotgate.toml", folder.join("jotgate.toml")).unwrap();
        let configuration = fs::read_to_string(start.write()).unwrap();
        let other = configuration.replace("/version-0/", "/version-1/");
        let secret = || {
            // Half of it is none.
            let bytes: [u8; 24] = jotgate::crypto::random();
            bytes.map(|byte| format!("{byte:02x}")).concat()
        };
        let world = Self {
            configuration: [configuration, other],
            certificates: [Authority::new(), Authority::new()],
            secrets: [secret(), secret()],
            upstreams,
            clients,
            _fronts: fronts,
            _upstream: upstream,
        };
        let trusted = world.upstreams[0].pem();
        fs::write(folder.join("trusted.pem"), trusted).unwrap();
        for (name, contents) in KINDS.into_iter().flat_map(|kind| world.files(kind, 0)) {
            fs::write(folder.join("files").join(name), contents).unwrap();
        }
        if is_mounted {
            mount(&folder.join("files"));
        }
        let gateway = start.start();
        let steady = steady.begin(&gateway).await;
        (world, gateway, steady)
    }

    /// The files of a kind, in one of their versions.
    fn files(&self, kind: Kind, version: usize) -> Vec<(&'static str, String)> {
        match kind {
            Kind::Configuration => vec![("jotgate.toml", self.configuration[version].clone())],
            Kind::Certificate => {
                let (cert, key) = self.certificates[version].leaf(&["site.test"]);
                vec![("tls.crt", cert), ("tls.key", key)]
            }
            Kind::PublicKey => vec![("main.pem", signers()[version].public_pem())],
            Kind::Secret => vec![("hmac.key", self.secrets[version].clone())],
            Kind::Authorities => vec![("ca.pem", self.upstreams[version].pem().to_owned())],
            Kind::Identity => {
                let (cert, key) = self.clients[version].leaf(&["gateway.test"]);
                vec![("client.crt", cert), ("client.key", key)]
            }
        }
    }

    /// Whether of everything this version counts, and no other.
    async fn check(&self, gateway: &TestGateway, versions: [usize; KINDS.len()]) {
        let mut client = gateway.h1().await;
        for version in [0, 1] {
            let in_force = KINDS.map(|kind| versions[kind as usize] == version);
            let [configuration, certificate, public_key, secret, ..] = in_force;
            let pem = self.certificates[version].pem();
            let shown = H1::try_connect_to(gateway.https(), pem, Some("site.test")).await;
            assert_eq!(shown.is_some(), certificate);
            let hmac = Draft::good()
                .claim("iss", "\"internal\"")
                .algorithm(Algorithm::HS256);
            for (target, token, expected) in [
                (
                    &*format!("/version-{version}/x"),
                    String::new(),
                    if configuration { 200 } else { 404 },
                ),
                (
                    "/api/x",
                    token(signers()[version], "main"),
                    if public_key { 200 } else { 401 },
                ),
                (
                    "/api/x",
                    hmac.without_header("kid")
                        .hmac(self.secrets[version].as_bytes()),
                    if secret { 200 } else { 401 },
                ),
            ] {
                let authorization = format!("Authorization: Bearer {token}");
                let answer = client.get(target, &[&authorization]).await;
                assert_eq!(answer.status, expected, "{target} {version} {versions:?}");
            }
        }
        for (target, kind) in [
            ("/ca/x", Kind::Authorities),
            ("/identity/x", Kind::Identity),
        ] {
            let expected = [200, 502][versions[kind as usize]];
            assert_eq!(client.get(target, &[]).await.status, expected, "{target}");
        }
    }
}

fn signers() -> [&'static Signer; 2] {
    [Signer::rsa(), second()]
}

fn routes(upstream: &Upstream, fronts: &[TlsFront; 2]) -> String {
    let to = upstream.url();
    let [believed, introduced] = [0, 1].map(|index| fronts[index].address.port());
    format!(
        r#"
        [[route]]
        path = "/api/"
        to = "{to}"
        auth = ["main", "internal"]
        [[route]]
        path = "/version-0/"
        to = "{to}"
        auth = "public"
        [[route]]
        path = "/ca/"
        to = "https://localhost:{believed}"
        auth = "public"
        upstream = {{ ca = "files/ca.pem" }}
        [[route]]
        path = "/identity/"
        to = "https://localhost:{introduced}"
        auth = "public"
        upstream = {{ ca = "trusted.pem", cert = "files/client.crt", key = "files/client.key" }}
        "#
    )
}

const ISSUERS: &str = r#"
    [[certificate]]
    cert = "files/tls.crt"
    key = "files/tls.key"
    [issuer.main]
    iss = "https://issuer.test"
    aud = "api"
    keys = "files/main.pem"
    [issuer.internal]
    iss = "internal"
    aud = "api"
    secret = "files/hmac.key"
"#;
