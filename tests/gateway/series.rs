//! The names of routes and upstreams come and go with the configuration, and their metrics too.

use std::fs;

use tokio::net::TcpStream;

use crate::harness::{H1, Start, Upstream};
use crate::reload::told;

/// The lines of the metrics with this in them.
async fn lines(operator: &mut H1<TcpStream>, part: &str) -> Vec<String> {
    let text = operator.get("/metrics", &[]).await.text();
    let lines = text.lines().filter(|line| line.contains(part));
    lines.map(str::to_owned).collect()
}

#[tokio::test]
async fn what_a_route_has_met_goes_with_it_and_begins_anew_when_it_comes_back() {
    let upstream = Upstream::start().await;
    let route = |name: &str| {
        let to = upstream.url();
        format!(
            "[[route]]\nname = \"{name}\"\npath = \"/{name}/\"\nto = \"{to}\"\nauth = \"public\"\n"
        )
    };
    let start = Start::routes(&[route("stays"), route("goes")].concat());
    let gateway = start.extra("[metrics]\nby_route = true\n").start();
    let file = gateway.folder().join("jotgate.toml");
    let both = fs::read_to_string(&file).unwrap();
    let one = both.replace(&route("goes"), "");
    assert_ne!(one, both);
    let mut client = gateway.h1().await;
    let mut operator = H1::plain(gateway.admin()).await;
    let count = |name: &str, number| {
        format!("jotgate_requests_total{{route=\"{name}\",status=\"200\",reason=\"ok\"}} {number}")
    };
    let mut kept = 0;
    for round in 0..2 {
        for number in 1..=2 {
            for name in ["stays", "goes"] {
                assert_eq!(client.get(&format!("/{name}/x"), &[]).await.status, 200);
            }
            kept += 1;
            gateway.events(kept * 2).await;
            told(&gateway, &count("goes", number)).await;
            told(&gateway, &count("stays", kept)).await;
        }
        fs::write(&file, &one).unwrap();
        told(
            &gateway,
            &format!("jotgate_config_generation {}", round * 2 + 2),
        )
        .await;
        // Told once more, with all that belongs to it; here or when the generation was.
        lines(&mut operator, "route=\"goes\"").await;
        assert_eq!(lines(&mut operator, "route=\"goes\"").await, [""; 0]);
        told(&gateway, &count("stays", kept)).await;
        fs::write(&file, &both).unwrap();
        told(
            &gateway,
            &format!("jotgate_config_generation {}", round * 2 + 3),
        )
        .await;
    }
}

#[tokio::test]
async fn an_upstream_is_told_of_until_its_last_connection_has_closed() {
    let (stays, goes) = (Upstream::start().await, Upstream::start().await);
    let route = |name: &str, to: &str| {
        format!("[[route]]\npath = \"/{name}/\"\nto = \"{to}\"\nauth = \"public\"\n")
    };
    let gateway =
        Start::routes(&[route("stays", &stays.url()), route("goes", &goes.url())].concat()).start();
    let file = gateway.folder().join("jotgate.toml");
    let both = fs::read_to_string(&file).unwrap();
    let one = both.replace(&route("goes", &goes.url()), "");
    let mut operator = H1::plain(gateway.admin()).await;
    let label = format!("upstream=\"{}\"", goes.url());
    let open = |number| format!("jotgate_upstream_connections_open{{{label}}} {number}");

    let mut client = gateway.h1().await;
    client
        .send("POST /goes/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nab")
        .await;
    told(&gateway, &open(1)).await;
    fs::write(&file, &one).unwrap();
    told(&gateway, "jotgate_config_generation 2").await;
    for _ in 0..3 {
        assert!(lines(&mut operator, &label).await.contains(&open(1)));
    }
    client.send("cd").await;
    assert_eq!(client.answer().await.status, 200);
    // Its route has gone, so nobody keeps the connection.
    told(&gateway, &open(0)).await;
    assert_eq!(lines(&mut operator, &label).await, [""; 0]);
}
