//! Tests of `keys`.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, UNIX_EPOCH};

use clap::Parser;

use super::*;
use crate::keys::source::{KeySource, load_public};

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    command: KeysCommand,
}

fn run(folder: &Path, args: &[&str]) -> Result<String, String> {
    let folder = folder.to_str().unwrap();
    let args = [&["jotgate", "generate", "--out", folder], args].concat();
    let program = Program::try_parse_from(args).map_err(|error| error.to_string())?;
    let clock = Clock::from_fn(|| UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    let mut out = Vec::new();
    program
        .command
        .run(&clock, &mut out)
        .map_err(|error| error.to_string())?;
    Ok(String::from_utf8(out).unwrap())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn files(folder: &Path) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}

#[test]
fn a_pair_is_written_and_its_public_half_loads_under_its_kid() {
    for (algorithm, description) in [
        ("rsa-2048", "RSA 2048 bits"),
        ("p-256", "P-256"),
        ("p-384", "P-384"),
        ("ed25519", "Ed25519"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let text = run(folder.path(), &["--algorithm", algorithm, "--kid", "k1"]).unwrap();
        assert!(
            text.contains("key id:   k1\n")
                && text.contains("private/k1.pem")
                && text.contains("token mint")
        );
        assert_eq!(mode(&folder.path().join("private/k1.pem")), 0o600);
        assert_eq!(mode(&folder.path().join("private")), 0o700);
        let loaded = load_public(&[KeySource {
            path: folder.path().join("public"),
            kid: None,
        }]);
        assert_eq!(loaded.set.find("k1").unwrap().description(), description);
    }
}

#[test]
fn the_default_kid_is_the_date_and_a_piece_of_the_fingerprint() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let text = run(folder.path(), &[]).unwrap();
        let kid = text
            .lines()
            .next()
            .unwrap()
            .strip_prefix("key id:   ")
            .unwrap();
        assert!(kid.starts_with("2027-01-15-") && kid.len() == 19, "{kid}");
        assert_eq!(parse_kid(kid).unwrap(), kid);
    }
    assert_eq!(files(&folder.path().join("public")), 2);
}

#[test]
fn nothing_is_overwritten_and_nothing_is_left_half() {
    for existing in ["private", "public"] {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(existing)).unwrap();
        fs::write(folder.path().join(existing).join("k.pem"), "mine").unwrap();
        let error = run(folder.path(), &["--kid", "k"]).unwrap_err();
        assert!(
            error.contains(&format!("{existing}/k.pem exists already")),
            "{error}"
        );
        assert_eq!(
            fs::read_to_string(folder.path().join(existing).join("k.pem")).unwrap(),
            "mine"
        );
        let total = files(&folder.path().join("private")) + files(&folder.path().join("public"));
        assert_eq!(total, 1);
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("public"), "a file").unwrap();
    let error = run(folder.path(), &["--kid", "k"]).unwrap_err();
    assert!(
        error.starts_with("cannot write") && error.ends_with("public"),
        "{error}"
    );
    assert_eq!(files(&folder.path().join("private")), 0);
}

#[test]
fn a_kid_is_a_sound_file_name() {
    for bad in [
        "",
        ".",
        "..",
        ".hidden",
        "a/b",
        "../a",
        "a b",
        "a\0",
        "ä",
        "a\n",
        &"a".repeat(101),
    ] {
        assert!(parse_kid(bad).is_err(), "{bad:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    assert!(
        run(folder.path(), &["--kid", "../a"])
            .unwrap_err()
            .contains("letters, digits")
    );
    assert!(
        run(folder.path(), &["--kid=-a"])
            .unwrap_err()
            .contains("must not begin")
    );
    assert!(run(folder.path(), &["--kid", "2027-01_a.b"]).is_ok());
}

#[test]
fn others_get_to_the_public_half_in_a_folder_that_was_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("new/keys");
    let pair = crypto::generate(KeyKind::Ed25519).unwrap();
    write_pair(&out, "k1", &pair).unwrap();
    // Whatever umask there is, it leaves the owner's rights alone and makes these alike.
    assert_eq!(mode(&out), mode(&out.join("public")));
    assert_eq!(mode(&out.join("private")), 0o700);
}

#[test]
fn a_pair_that_cannot_be_told_of_is_not_there() {
    struct Full;
    impl io::Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let args = ["jotgate", "generate", "--out", out, "--kid", "k1"];
    let program = Program::try_parse_from(args).unwrap();
    let error = program
        .command
        .run(&Clock::system(), &mut Full)
        .unwrap_err();
    assert!(matches!(error, KeysError::Output(_)), "{error}");
    for half in ["private", "public"] {
        assert!(!folder.path().join(half).join("k1.pem").exists(), "{half}");
    }
}
