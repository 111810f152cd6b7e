//! How many instructions the hot path takes, counted by callgrind: they do not drift as times do.
//! `benches/micro/check` holds them against the committed baseline.

// What is made for a benchmark is handed to it by value, and kept out of what is counted.
#![allow(clippy::needless_pass_by_value, missing_docs)]

mod setting;

use std::hint::black_box;

use gungraun::{
    Callgrind, EntryPoint, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main,
};
use jotgate::crypto::KeyKind;
use setting::{Bench, Pipeline, Raw, Setting, Signer};

const TOKENS: usize = 8;

fn tokens(signer: &Signer, expires_in: i64) -> Vec<String> {
    let token = |number| signer.token(&format!("user{number}"), expires_in);
    (0..TOKENS).map(token).collect()
}

fn unseen(kind: KeyKind) -> Bench {
    let signer = Signer::new(kind);
    Bench::new(&signer, &tokens(&signer, 3600))
}

fn remembered() -> Bench {
    let signer = Signer::new(KeyKind::Rsa2048);
    Bench::that_knows(&signer, &tokens(&signer, 3600))
}

fn expired() -> Bench {
    let signer = Signer::new(KeyKind::Rsa2048);
    Bench::new(&signer, &tokens(&signer, -3600))
}

fn forged() -> Bench {
    let signer = Signer::new(KeyKind::Rsa2048);
    // What one token says, with the signature of the next.
    let mut signatures = tokens(&signer, 3600);
    signatures.rotate_left(1);
    let forge = |(token, other): (&String, &String)| {
        let (said, _) = token.rsplit_once('.').expect("three parts");
        let (_, signature) = other.rsplit_once('.').expect("three parts");
        format!("{said}.{signature}")
    };
    let tokens = tokens(&signer, 3600);
    let forged: Vec<String> = tokens.iter().zip(&signatures).map(forge).collect();
    Bench::new(&signer, &forged)
}

fn oversized() -> Bench {
    let signer = Signer::new(KeyKind::P256);
    let long = |token: String| token + &"A".repeat(24 * 1024);
    let tokens: Vec<String> = tokens(&signer, 3600).into_iter().map(long).collect();
    Bench::new(&signer, &tokens)
}

#[library_benchmark]
#[bench::rs256(setup = Raw::new, args = (KeyKind::Rsa2048))]
#[bench::es256(setup = Raw::new, args = (KeyKind::P256))]
fn eight_raw_verifications(raw: Raw) -> Raw {
    for _ in 0..TOKENS {
        assert!(black_box(&raw).verifies());
    }
    raw
}

#[library_benchmark]
#[bench::rs256(setup = unseen, args = (KeyKind::Rsa2048))]
#[bench::es256(setup = unseen, args = (KeyKind::P256))]
fn eight_first_sights(mut bench: Bench) -> Bench {
    for index in 0..TOKENS {
        assert!(bench.verify(index).is_ok());
    }
    bench
}

#[library_benchmark]
#[bench::rs256(setup = remembered)]
fn eight_cache_hits(mut bench: Bench) -> Bench {
    for index in 0..TOKENS {
        assert!(bench.verify(index).is_ok());
    }
    bench
}

#[library_benchmark]
#[bench::expired(setup = expired)]
#[bench::forged(setup = forged)]
#[bench::oversized(setup = oversized)]
fn eight_refusals(mut bench: Bench) -> Bench {
    for index in 0..TOKENS {
        assert!(bench.verify(index).is_err());
    }
    bench
}

fn routes(count: usize) -> (Setting, String) {
    let signer = Signer::new(KeyKind::P256);
    let path = format!("/api/{}/orders/17", count / 2);
    (Setting::new(&[&signer], count, 1), path)
}

#[library_benchmark]
#[bench::of_ten(setup = routes, args = (10))]
#[bench::of_ten_thousand(setup = routes, args = (10_000))]
fn hundred_route_lookups(routes: (Setting, String)) -> (Setting, String) {
    for _ in 0..100 {
        assert!(black_box(&routes.0).has_route(black_box(&routes.1)));
    }
    routes
}

fn pipeline(more_fields: usize) -> Pipeline {
    let line = |number| format!("X-Field-{number}: some value of a usual length\r\n");
    let lines: String = (0..more_fields).map(line).collect();
    Pipeline::new(&Signer::new(KeyKind::P256), &lines, "")
}

/// Each name of one list could be looked for in all of the other.
fn long_lists() -> Pipeline {
    let (hidden, announced) = ("a,".repeat(4000), "b,".repeat(4000));
    let lines =
        format!("Connection: {hidden}\r\nTrailer: {announced}\r\nTransfer-Encoding: chunked\r\n");
    Pipeline::new(&Signer::new(KeyKind::P256), &lines, "0\r\n\r\n")
}

#[library_benchmark]
#[bench::usual(setup = pipeline, args = (0))]
#[bench::thirty_fields_more(setup = pipeline, args = (30))]
fn hundred_requests(mut pipeline: Pipeline) -> Pipeline {
    pipeline.run(100);
    pipeline
}

#[library_benchmark]
#[bench::long_lists(setup = long_lists)]
fn ten_hostile_requests(mut pipeline: Pipeline) -> Pipeline {
    pipeline.run(10);
    pipeline
}

/// Of whole requests, what is done to the fields of either direction; those that warm a pipeline up
/// are in it.
fn rewriting_alone() -> LibraryBenchmarkConfig {
    let mut callgrind = Callgrind::default();
    let functions = "jotgate::proxy::headers::rewrite_re*".to_owned();
    callgrind.entry_point(EntryPoint::Custom(functions));
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(callgrind);
    config
}

#[library_benchmark(config = rewriting_alone())]
#[bench::usual(setup = pipeline, args = (0))]
#[bench::thirty_fields_more(setup = pipeline, args = (30))]
fn rewriting_of_hundred_requests(mut pipeline: Pipeline) -> Pipeline {
    pipeline.run(100);
    pipeline
}

library_benchmark_group!(
    name = token,
    benchmarks = [
        eight_raw_verifications,
        eight_first_sights,
        eight_cache_hits,
        eight_refusals
    ]
);
library_benchmark_group!(name = route, benchmarks = hundred_route_lookups);
library_benchmark_group!(
    name = request,
    benchmarks = [
        hundred_requests,
        ten_hostile_requests,
        rewriting_of_hundred_requests
    ]
);
main!(library_benchmark_groups = [token, route, request]);
