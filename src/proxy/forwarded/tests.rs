use http::HeaderMap;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// The peer of every test here.
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

const LIST: &str = "list";
const DESCRIPTION: &str = "description";

fn trusted() -> TrustedProxies {
    let networks = ["10.0.0.0/8", "2001:db8::/32"];
    networks
        .map(|text| text.parse().unwrap())
        .into_iter()
        .collect()
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// What these lines come to; names are ours, not those of the wire.
fn origin(lines: &[(&'static str, &[u8])]) -> Origin {
    let mut headers = HeaderMap::new();
    for (name, line) in lines {
        headers.append(*name, HeaderValue::from_bytes(line).unwrap());
    }
    let claims = Claims {
        listed: headers.get_all(LIST),
        described: headers.get_all(DESCRIPTION),
        scheme: headers.get_all("scheme"),
        host: headers.get_all("host"),
    };
    Origin::claimed(PEER, &claims, &trusted())
}

fn client_of(name: &'static str, lines: &[&str]) -> IpAddr {
    let lines: Vec<_> = lines.iter().map(|line| (name, line.as_bytes())).collect();
    origin(&lines).client()
}

#[test]
fn f10_the_right_most_hop_that_is_not_trusted_is_the_client() {
    for (lines, client) in [
        (&["192.0.2.7"][..], "192.0.2.7"),
        (&["8.8.8.8, 192.0.2.7"], "192.0.2.7"),
        (&["8.8.8.8", "192.0.2.7"], "192.0.2.7"),
        (&["192.0.2.7, 10.0.0.3,10.0.0.2"], "192.0.2.7"),
        (&["192.0.2.7\t, 10.0.0.3", " 10.0.0.2"], "192.0.2.7"),
        (&["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        (&["192.0.2.7:61234"], "192.0.2.7"),
        (&["[2001:db9::1]:443, 2001:db8::5"], "2001:db9::1"),
        (&["[2001:db9::1]"], "2001:db9::1"),
        (&["2001:db9::1"], "2001:db9::1"),
        (&["fe80::1%eth0, 10.0.0.2"], "fe80::1"),
        (&["[fe80::1%25]:80"], "fe80::1"),
        (&["::ffff:192.0.2.7, ::ffff:10.0.0.2"], "192.0.2.7"),
        // What is no address ends the walk at the hop that told it.
        (&["192.0.2.7, unknown"], "10.0.0.1"),
        (&["192.0.2.7, unknown, 10.0.0.2"], "10.0.0.2"),
        (&["192.0.2.7, , 10.0.0.2"], "10.0.0.2"),
        (&["192.0.2.7,"], "10.0.0.1"),
        (&["192.0.2.7", ""], "10.0.0.1"),
        (&[""], "10.0.0.1"),
        (&["192.0.2.7:"], "10.0.0.1"),
        (&["192.0.2.7:99999"], "10.0.0.1"),
        (&["192.0.2.07"], "10.0.0.1"),
        (&["[2001:db9::1"], "10.0.0.1"),
        (&["[2001:db9::1]443"], "10.0.0.1"),
        (&["[192.0.2.7]"], "10.0.0.1"),
        (&["2001:db9::1%"], "10.0.0.1"),
        (&["localhost"], "10.0.0.1"),
        (&["192.0.2.7 10.0.0.2"], "10.0.0.1"),
    ] {
        assert_eq!(client_of(LIST, lines), address(client), "{lines:?}");
    }
}

#[test]
fn f10_elements_of_rfc_7239_are_read_likewise() {
    for (lines, client) in [
        (&["for=192.0.2.7"][..], "192.0.2.7"),
        (&["For=\"192.0.2.7:4711\""], "192.0.2.7"),
        (&["for=\"192.0.2.7:_port\""], "192.0.2.7"),
        (
            &["by=_x;for=\"[2001:db9::1]:47\";proto=http"],
            "2001:db9::1",
        ),
        (&["for=8.8.8.8, for=192.0.2.7;by=10.0.0.2"], "192.0.2.7"),
        (
            &["for=8.8.8.8", "for=192.0.2.7", "for=10.0.0.2"],
            "192.0.2.7",
        ),
        (&["for=\"[fe80::1%eth0]\""], "fe80::1"),
        (&["for = 192.0.2.7 ; proto = http"], "192.0.2.7"),
        // A comma, a semicolon or a quotation mark inside quotes ends nothing.
        (
            &[r#"for=192.0.2.7;ext="a, for=8.8.8.8;\"", for=10.0.0.2"#],
            "192.0.2.7",
        ),
        (&[r#"for=192.0.2.7;ext="\\", for=10.0.0.2"#], "192.0.2.7"),
        // A quotation mark on the left takes nothing on the right along.
        (&[r#"for=", for=192.0.2.7"#], "192.0.2.7"),
        (
            &[r#"for="8.8.8.8, for=192.0.2.7;host="a.test""#],
            "192.0.2.7",
        ),
        (&["for=\"", "for=192.0.2.7"], "192.0.2.7"),
        // Hidden, missing, malformed or repeated: the walk ends.
        (&["for=192.0.2.7, for=unknown"], "10.0.0.1"),
        (&["for=192.0.2.7, for=_hidden, for=10.0.0.2"], "10.0.0.2"),
        (&["for=192.0.2.7, proto=http"], "10.0.0.1"),
        (&["for=192.0.2.7;for=8.8.8.8"], "10.0.0.1"),
        (&["for=192.0.2.7;"], "10.0.0.1"),
        (&["192.0.2.7"], "10.0.0.1"),
        (&["for=\"192.0.2.7"], "10.0.0.1"),
        (&["for=192.0.2.7\""], "10.0.0.1"),
        (&["for=\"192.0.2.7\"x"], "10.0.0.1"),
        (&[""], "10.0.0.1"),
    ] {
        assert_eq!(client_of(DESCRIPTION, lines), address(client), "{lines:?}");
    }
}

#[test]
fn f10_two_fields_that_contradict_each_other_say_nothing() {
    let both = |list: &str, description: &str| {
        origin(&[
            (LIST, list.as_bytes()),
            (DESCRIPTION, description.as_bytes()),
            ("scheme", b"http"),
            ("host", b"a.test"),
        ])
    };
    for (list, description) in [
        ("192.0.2.7", "for=192.0.2.8"),
        ("192.0.2.7", "for=unknown"),
        ("192.0.2.7", "proto=http"),
        ("192.0.2.7, 10.0.0.2", "for=10.0.0.2"),
        ("junk", "for=192.0.2.7"),
    ] {
        assert_eq!(
            both(list, description),
            Origin::observed(PEER),
            "{list} {description}"
        );
    }
    // The same client by another way is no contradiction, and the list tells the way.
    let description = "for=192.0.2.7;proto=http, for=10.0.0.2";
    let origin = both("192.0.2.7, 10.0.0.3", description);
    assert_eq!(origin.list(), "192.0.2.7, 10.0.0.3, 10.0.0.1");
    assert_eq!(origin.scheme(), "http");
}

#[test]
fn f10_scheme_and_host_are_those_that_the_first_trusted_proxy_saw() {
    let own = HeaderValue::from_static("own.test");
    let chain = b"for=8.8.8.8;proto=http;host=evil.test, for=192.0.2.7;proto=HTTP;host=\"a.test:80\", for=10.0.0.2;host=b.test";
    let told = origin(&[(DESCRIPTION, chain)]);
    assert_eq!(
        (told.scheme(), told.host(&own)),
        ("http", &HeaderValue::from_static("a.test:80"))
    );
    assert_eq!(
        told.description(&own),
        "for=192.0.2.7;host=\"a.test:80\";proto=http, for=10.0.0.2, \
         for=10.0.0.1;host=\"own.test\";proto=https"
    );
    for (lines, scheme, host) in [
        (
            &[("scheme", "http"), ("host", "a.test")][..],
            "http",
            "a.test",
        ),
        (
            &[("scheme", "https"), ("scheme", "http")],
            "https",
            "own.test",
        ),
        (
            &[("scheme", "http, http"), ("host", "a.test, b.test")],
            "https",
            "own.test",
        ),
        (
            &[("scheme", "gopher"), ("host", "a.test/\"")],
            "https",
            "own.test",
        ),
        (
            &[
                ("scheme", "http"),
                (DESCRIPTION, "for=10.0.0.9;proto=https"),
            ],
            "https",
            "own.test",
        ),
        (
            &[
                ("host", "a.test"),
                (DESCRIPTION, "for=10.0.0.9;host=b.test"),
            ],
            "https",
            "own.test",
        ),
        // A client that names itself the other way than the proxy does.
        (
            &[
                (LIST, "192.0.2.7"),
                (DESCRIPTION, "for=192.0.2.7;host=evil.test;proto=http"),
            ],
            "https",
            "own.test",
        ),
        (
            &[
                ("host", "evil.test"),
                ("scheme", "http"),
                (DESCRIPTION, "for=192.0.2.7"),
            ],
            "https",
            "own.test",
        ),
        (
            &[
                (LIST, "192.0.2.7"),
                ("host", "a.test"),
                ("scheme", "http"),
                (DESCRIPTION, "for=192.0.2.7;host=a.test;proto=http"),
            ],
            "http",
            "a.test",
        ),
    ] {
        let bytes: Vec<_> = lines
            .iter()
            .map(|(name, line)| (*name, line.as_bytes()))
            .collect();
        let told = origin(&bytes);
        assert_eq!(
            (told.scheme(), told.host(&own)),
            (scheme, &HeaderValue::from_static(host)),
            "{lines:?}"
        );
    }
}

#[test]
fn f10_a_long_way_is_walked_only_so_far() {
    let proxies = |count| vec!["10.0.0.9"; count].join(", ");
    let fifty = format!("8.8.8.8, 192.0.2.7, {}", proxies(50));
    assert_eq!(client_of(LIST, &[&fifty]), address("192.0.2.7"));
    let endless = format!("192.0.2.7, {}", proxies(3_000));
    assert_eq!(client_of(LIST, &[&endless]), address("10.0.0.9"));
}

/// A hop as the model sees it, and as it may be written in a list and in an element.
#[derive(Debug, Clone)]
struct Written {
    address: Option<IpAddr>,
    listed: String,
    described: String,
}

fn hop() -> impl Strategy<Value = Written> {
    let v4 = prop_oneof![Just([10, 0, 0, 9]), Just([10, 200, 1, 1]), any::<[u8; 4]>()];
    let v6 = prop_oneof![Just(0x2001_0db8_u128 << 96 | 5), any::<u128>()];
    prop_oneof![
        4 => (v4, any::<bool>(), any::<u16>()).prop_map(|(bytes, has_port, port)| {
            let address = Ipv4Addr::from(bytes);
            let port = if has_port { format!(":{port}") } else { String::new() };
            Written {
                address: Some(address.into()),
                listed: format!("{address}{port}"),
                described: format!("for=\"{address}{port}\""),
            }
        }),
        2 => (v6, 0..3).prop_map(|(bits, style)| {
            let address = Ipv6Addr::from(bits);
            let listed = match style {
                0 => format!("{address}"),
                1 => format!("[{address}]:80"),
                _ => format!("{address}%eth0"),
            };
            Written {
                address: Some(IpAddr::V6(address).to_canonical()),
                listed,
                described: format!("proto=http;for=\"[{address}]\""),
            }
        }),
        1 => "(unknown|_hidden|1[.]2[.]3|:|%|)".prop_map(|junk| Written {
            address: None,
            described: format!("for={junk}"),
            listed: junk,
        }),
    ]
}

/// The client, naively: each hop vouches for the one on its left, if it is trusted itself.
fn model(hops: &[Written]) -> IpAddr {
    let mut client = PEER;
    for hop in hops.iter().rev() {
        match hop.address {
            Some(address) if trusted().contains(client) => client = address,
            _ => break,
        }
    }
    client
}

proptest! {
    #[test]
    fn f10_the_client_is_the_models_however_the_lines_are_cut(
        hops in vec(hop(), 0..12),
        cuts in vec(any::<bool>(), 12),
        field in prop_oneof![Just(LIST), Just(DESCRIPTION)],
    ) {
        let mut lines: Vec<String> = Vec::new();
        for (hop, cut) in hops.iter().zip(&cuts) {
            let text = if field == LIST { &hop.listed } else { &hop.described };
            match lines.last_mut() {
                Some(line) if !cut => line.push_str(&format!(", {text}")),
                _ => lines.push(text.clone()),
            }
        }
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        prop_assert_eq!(client_of(field, &lines), model(&hops));
    }

    #[test]
    fn f10_nothing_on_the_left_changes_who_the_client_is(
        forged in "[ -~]{0,60}",
        is_a_line in any::<bool>(),
        hops in vec(hop(), 0..4),
        field in prop_oneof![Just(LIST), Just(DESCRIPTION)],
    ) {
        // What proxies append behind whatever the client wrote, and first of all its address.
        let mut written = vec![if field == LIST { "192.0.2.7".to_owned() } else { "for=192.0.2.7".to_owned() }];
        let proxies = hops.iter().filter(|hop| hop.address.is_some_and(|a| trusted().contains(a)));
        written.extend(proxies.map(|hop| if field == LIST { hop.listed.clone() } else { hop.described.clone() }));
        let appended = written.join(", ");
        let joined = format!("{forged}, {appended}");
        let lines = if is_a_line { vec![forged.as_str(), &appended] } else { vec![joined.as_str()] };
        prop_assert_eq!(client_of(field, &lines), address("192.0.2.7"));
    }

    #[test]
    fn f10_whatever_is_claimed_what_is_written_reads_back_as_the_same_origin(
        lines in vec((prop_oneof![Just(LIST), Just(DESCRIPTION), Just("scheme"), Just("host")], "[ -~]{0,40}"), 0..6),
        hops in vec(hop(), 0..6),
    ) {
        let listed: Vec<&str> = hops.iter().map(|hop| hop.listed.as_str()).collect();
        let listed = listed.join(",");
        let mut lines: Vec<_> = lines.iter().map(|(name, line)| (*name, line.as_bytes())).collect();
        lines.push((LIST, listed.as_bytes()));
        let told = origin(&lines);
        // As a trusted proxy behind us would read it.
        let (list, own) = (told.list(), HeaderValue::from_static("own.test"));
        let description = told.description(&own);
        let again = origin(&[
            (LIST, list.as_bytes()),
            (DESCRIPTION, description.as_bytes()),
            ("scheme", told.scheme().as_bytes()),
            ("host", told.host(&own).as_bytes()),
        ]);
        prop_assert_eq!(again.client(), told.client());
        prop_assert_eq!(again.scheme(), told.scheme());
        prop_assert_eq!(again.host(&own), told.host(&own));
    }

    #[test]
    fn f10_bytes_of_any_kind_are_read_without_a_panic(lines in vec(vec(any::<u8>(), 0..200), 0..4)) {
        let mut headers = HeaderMap::new();
        for line in &lines {
            if let Ok(value) = HeaderValue::from_bytes(line) {
                headers.append(LIST, value.clone());
                headers.append(DESCRIPTION, value);
            }
        }
        for bytes in &lines {
            for separator in [b',', b';'] {
                let parts: Vec<_> = rsplit_outside_quotes(bytes, separator).collect();
                let total: usize = parts.iter().map(|part| part.len() + 1).sum();
                prop_assert_eq!(total, bytes.len() + 1);
            }
        }
        let claims = Claims {
            listed: headers.get_all(LIST),
            described: headers.get_all(DESCRIPTION),
            scheme: headers.get_all(LIST),
            host: headers.get_all(LIST),
        };
        let told = Origin::claimed(PEER, &claims, &trusted());
        prop_assert!(HeaderValue::from_str(&told.list()).is_ok());
        prop_assert!(HeaderValue::from_str(&told.description(&HeaderValue::from_static("a"))).is_ok());
    }
}
