//! How long the parts of the hot path take, each beside what it cannot be faster than. These
//! machines are noisy: compare lines of one run.

#![allow(missing_docs)]

mod setting;

use divan::{Bencher, black_box};
use jotgate::crypto::KeyKind;
use setting::{Bench, Pipeline, Raw, Setting, Signer};

fn main() {
    divan::main();
}

const KINDS: [KeyKind; 2] = [KeyKind::Rsa2048, KeyKind::P256];

/// The crypto library alone, with a parsed key.
#[divan::bench(args = KINDS)]
fn raw_verification(bencher: Bencher<'_, '_>, kind: &KeyKind) {
    let raw = Raw::new(*kind);
    bencher.bench_local(|| assert!(black_box(&raw).verifies()));
}

/// A token that was never seen: taken apart, checked, verified, remembered.
#[divan::bench(args = KINDS, sample_count = 20, sample_size = 50)]
fn first_sight(bencher: Bencher<'_, '_>, kind: &KeyKind) {
    let signer = Signer::new(*kind);
    let token = |number| signer.token(&format!("user{number}"), 3600);
    let tokens: Vec<String> = (0..20 * 50).map(token).collect();
    let mut bench = Bench::new(&signer, &tokens);
    let mut next = 0;
    bencher.bench_local(|| {
        next += 1;
        bench.verify(next - 1).map(drop).expect("good")
    });
}

/// A token that was.
#[divan::bench(sample_size = 1000)]
fn cache_hit(bencher: Bencher<'_, '_>) {
    let signer = Signer::new(KeyKind::Rsa2048);
    let token = signer.token("alice", 3600);
    let mut bench = Bench::that_knows(&signer, &[token]);
    bencher.bench_local(|| bench.verify(0).map(drop).expect("good"));
}

/// One that is over: it never reaches a signature.
#[divan::bench(sample_size = 100)]
fn refused_expired(bencher: Bencher<'_, '_>) {
    let signer = Signer::new(KeyKind::Rsa2048);
    let mut bench = Bench::new(&signer, &[signer.token("alice", -3600)]);
    bencher.bench_local(|| bench.verify(0).map(drop).expect_err("expired"));
}

/// Ever new ones that somebody else has signed, and the same one again and again.
#[divan::bench(args = [1_000, 1], sample_count = 20, sample_size = 50)]
fn refused_forged(bencher: Bencher<'_, '_>, count: usize) {
    let (signer, forger) = (Signer::new(KeyKind::Rsa2048), Signer::new(KeyKind::Rsa2048));
    let token = |number| forger.token(&format!("user{number}"), 3600);
    let mut bench = Bench::new(&signer, &(0..count).map(token).collect::<Vec<_>>());
    let mut next = 0;
    bencher.bench_local(|| {
        next += 1;
        bench
            .verify((next - 1) % count)
            .map(drop)
            .expect_err("forged")
    });
}

/// The route of a path, among so many.
#[divan::bench(args = [10, 10_000], sample_size = 1000)]
fn route_lookup(bencher: Bencher<'_, '_>, count: usize) {
    let setting = Setting::new(&[&Signer::new(KeyKind::P256)], count, 1);
    let path = format!("/api/{}/orders/17", count / 2);
    bencher.bench_local(|| assert!(setting.has_route(black_box(&path))));
}

/// A whole request without TLS, its upstream's work included.
#[divan::bench(sample_count = 50, sample_size = 100)]
fn request(bencher: Bencher<'_, '_>) {
    let mut pipeline = Pipeline::new(&Signer::new(KeyKind::P256), "", "");
    bencher.bench_local(|| pipeline.run(1));
}
