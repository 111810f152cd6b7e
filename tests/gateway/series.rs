//! The names of routes and upstreams come and go with the configuration; what is told of them stays
//! for a while.

use std::fs;

use crate::harness::{Start, Upstream};
use crate::reload::told;

fn route(name: &str, to: &str) -> String {
    format!("[[route]]\nname = \"{name}\"\npath = \"/{name}/\"\nto = \"{to}\"\nauth = \"public\"\n")
}

#[tokio::test]
async fn a_route_that_has_gone_is_told_on_and_counts_on_when_it_is_back() {
    let upstream = Upstream::start().await;
    let [stays, goes] = ["stays", "goes"].map(|name| route(name, &upstream.url()));
    let start = Start::routes(&[stays, goes.clone()].concat());
    let gateway = start.extra("[metrics]\nby_route = true\n").start();
    let file = gateway.folder().join("jotgate.toml");
    let both = fs::read_to_string(&file).unwrap();
    let one = both.replace(&goes, "");
    assert_ne!(one, both);
    let mut client = gateway.h1().await;
    let count = |name: &str, number| {
        format!("jotgate_requests_total{{route=\"{name}\",status=\"200\",reason=\"ok\"}} {number}")
    };
    for round in 1..=3 {
        for name in ["stays", "goes"] {
            assert_eq!(client.get(&format!("/{name}/x"), &[]).await.status, 200);
        }
        fs::write(&file, &one).unwrap();
        told(
            &gateway,
            &format!("jotgate_config_generation {}", round * 2),
        )
        .await;
        assert_eq!(client.get("/goes/x", &[]).await.status, 404);
        // Twice: whoever asks takes nothing away from others.
        for _ in 0..2 {
            told(&gateway, &count("goes", round)).await;
            told(&gateway, &count("stays", round)).await;
            let durations = "jotgate_request_duration_seconds_count{route=\"goes\"}";
            told(&gateway, &format!("{durations} {round}")).await;
        }
        fs::write(&file, &both).unwrap();
        told(
            &gateway,
            &format!("jotgate_config_generation {}", round * 2 + 1),
        )
        .await;
    }
}

#[tokio::test]
async fn a_request_that_outlives_its_route_is_counted() {
    let (stays, goes) = (Upstream::start().await, Upstream::start().await);
    let routes = [route("stays", &stays.url()), route("goes", &goes.url())];
    let gateway = Start::routes(&routes.concat()).start();
    let file = gateway.folder().join("jotgate.toml");
    let both = fs::read_to_string(&file).unwrap();
    let open = |number| {
        let upstream = goes.url();
        format!("jotgate_upstream_connections_open{{upstream=\"{upstream}\"}} {number}")
    };
    let mut client = gateway.h1().await;
    client
        .send("POST /goes/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nab")
        .await;
    told(&gateway, &open(1)).await;
    fs::write(&file, both.replace(&routes[1], "")).unwrap();
    told(&gateway, "jotgate_config_generation 2").await;
    told(&gateway, &open(1)).await;
    client.send("cd").await;
    assert_eq!(client.answer().await.status, 200);
    told(
        &gateway,
        "jotgate_requests_total{route=\"goes\",status=\"200\",reason=\"ok\"} 1",
    )
    .await;
    // Its route has gone, so nobody keeps the connection.
    told(&gateway, &open(0)).await;
}
