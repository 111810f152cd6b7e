//! What is said of tables and keys that stand in the wrong place, or under a wrong name.

use super::{GOOD, complains, complaints, with};

/// The good file with one route.
fn one_route() -> &'static str {
    GOOD.split("\n[[route]]\nhost").next().unwrap()
}

#[test]
fn a_table_is_suggested_with_as_many_brackets_as_it_has() {
    for (from, to, expected) in [
        ("[[route]]", "[[routes]]", "did you mean [[route]]?"),
        ("[[route]]", "[Route]", "did you mean [[route]]?"),
        ("[listen]", "[lisen]", "did you mean [listen]?"),
    ] {
        let text = one_route().replacen(from, to, 1);
        complains(&text, &["unknown table", expected]);
    }
    for (more, expected) in [
        ("[[certificates]]", "did you mean [[certificate]]?"),
        ("[issuers.main]", "did you mean [issuer.NAME]?"),
        ("[zzz]", "tables are: [listen], [[certificate]], [tls]"),
    ] {
        complains(&format!("{GOOD}\n{more}\n"), &[expected]);
    }
}

#[test]
fn a_route_in_single_brackets_is_one_mistake() {
    for head in [
        "[route]",
        "[route.orders]",
        "[route.orders]\npath = \"/\"\n[route.shop]",
    ] {
        let text = one_route().replacen("[[route]]", head, 1);
        complains(&text, &["write [[route]], with two brackets"]);
    }
}

#[test]
fn a_table_in_double_brackets_is_told_of_single_ones() {
    for (from, to) in [
        ("[listen]", "[[listen]]"),
        ("[issuer.main]", "[[issuer.main]]"),
    ] {
        let told = format!("write {from}, with one bracket on each side");
        complains(
            &with(from, to),
            &["expected a table, found an array", &told],
        );
    }
}

#[test]
fn an_issuer_without_a_name_is_one_mistake() {
    let text = with("[issuer.main]", "[issuer]");
    complains(&text, &["[issuer] needs a name", "write [issuer.main]"]);
    // It stays one beside others, and they stay known.
    let text = with("[issuer.main]", "[issuer]\niss = \"x\"\n[issuer.main]");
    complains(&text, &["[issuer] needs a name"]);
    let typo = text.replacen("[issuer]", "[issuer.other]\naud = \"x\"\nkeys = \"k\"", 1);
    let typo = typo.replacen("auth = \"main\"", "auth = \"mian\"", 1);
    assert!(complaints(&typo)[0].contains("did you mean \"main\"?"));
}

#[test]
fn whoever_wants_keys_to_be_fetched_is_told_who_does_that() {
    let keys = "keys = \"keys/\"";
    for instead in [
        "keys = \"https://idp.example/jwks.json\"",
        "keys = [\"http://user:hunter2@idp.example/jwks.json\"]",
        "keys = { file = \"https://idp.example/jwks.json\" }",
        "jwks_url = \"https://idp.example/jwks.json\"",
        "jwks_uri = \"https://idp.example/jwks.json\"",
        "jwks = \"https://idp.example/jwks.json\"",
    ] {
        let told = ["nothing is fetched", "docs/src/identity-providers.md"];
        complains(&with(keys, instead), &told);
        assert!(!complaints(&with(keys, instead))[0].contains("hunter2"));
    }
    let book = include_str!("../../../docs/src/identity-providers.md");
    assert!(
        book.starts_with("# Identity providers\n") && book.contains("\n## Keeping keys fresh\n")
    );
}

#[test]
fn a_key_file_that_goes_by_another_name_is_one_mistake() {
    for name in ["path", "folder"] {
        let keys = format!("keys = {{ {name} = \"a.pem\", kid = \"a\" }}");
        let told = [&*format!("unknown key `{name}`"), "did you mean `file`?"];
        complains(&with("keys = \"keys/\"", &keys), &told);
    }
}

#[test]
fn a_key_below_the_head_of_another_table_is_found_there() {
    let identity = "identity = { X-Auth-Subject = \"sub\" }";
    let text = one_route().replacen(identity, "", 1);
    let text = text.replacen(
        "path =",
        "[route.identity]\nX-Auth-Subject = \"sub\"\npath =",
        1,
    );
    let complaints = complaints(&text);
    assert_eq!(complaints.len(), 3, "{complaints:#?}");
    for key in ["path", "to", "auth"] {
        let told = format!("`{key}` stands inside [route.identity]; write it above that head");
        assert!(
            complaints.iter().any(|said| said.contains(&told)),
            "no {told} in {complaints:#?}"
        );
    }
    let below =
        |more: &str| one_route().replacen(identity, &format!("[route.identity]\n{more}\n"), 1);
    for (more, key) in [
        ("timeout = \"5s\"", "timeout"),
        ("strip_prefix = true", "strip_prefix"),
        ("upgrade = true", "upgrade"),
    ] {
        let told = format!("the route's own `{key}`, write it above [route.identity]");
        complains(&below(more), &[&told]);
    }
}

#[test]
fn who_may_pass_is_suggested_in_every_case() {
    for (written, meant) in [("Main", "main"), ("Public", "public"), ("MAIN", "main")] {
        let told = format!("did you mean \"{meant}\"?");
        complains(
            &with("auth = \"main\"", &format!("auth = \"{written}\"")),
            &[&told],
        );
    }
}

#[test]
fn an_empty_file_is_named() {
    for text in ["", "\n", "# nothing\n"] {
        let source = crate::config::Source {
            path: "folder/jotgate.toml".into(),
            text: text.to_owned(),
        };
        let shown = crate::config::parse(&source).1.render(&source, false);
        assert!(shown.contains("--> folder/jotgate.toml\n"), "{shown}");
    }
}
