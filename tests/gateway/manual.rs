//! `jotgate man` and `jotgate completions`: what is made from the definition of the command line.

use std::io::{ErrorKind, Write};
use std::process::{Command, Output, Stdio};

fn jotgate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_jotgate"))
        .args(arguments)
        .env_remove("JOTGATE_LOG")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn page(command: &[&str]) -> String {
    let output = jotgate(&[&["man"], command].concat());
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The commands that a page names, as words: `["token", "mint"]`.
fn commands_of(page: &str) -> Vec<Vec<String>> {
    page.lines()
        .filter_map(|line| line.strip_prefix("jotgate\\-")?.strip_suffix("(1)"))
        .map(|name| name.split("\\-").map(str::to_owned).collect())
        .collect()
}

/// Every page: jotgate's own, and those of all commands below.
fn pages() -> Vec<(Vec<String>, String)> {
    let mut pages = vec![(Vec::new(), page(&[]))];
    let mut next = 0;
    while next < pages.len() {
        for command in commands_of(&pages[next].1) {
            let words: Vec<&str> = command.iter().map(String::as_str).collect();
            let text = page(&words);
            pages.push((command, text));
        }
        next += 1;
    }
    pages
}

#[test]
fn every_command_has_a_page_of_the_manual() {
    let pages = pages();
    let names: Vec<String> = pages.iter().map(|(command, _)| command.join(" ")).collect();
    for expected in ["", "run", "check", "keys generate", "token mint", "man"] {
        assert!(names.iter().any(|name| name == expected), "{names:?}");
    }
    for (command, page) in &pages {
        assert!(page.is_ascii(), "{command:?}");
        for section in [".TH jotgate", ".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION"] {
            assert!(page.contains(section), "{command:?} has no {section}");
        }
    }
    assert!(page(&["token", "mint"]).contains(".SH EXAMPLES\n.nf\n"));
}

#[test]
fn a_page_is_set_without_a_warning_where_there_is_groff() {
    for (command, page) in pages() {
        let groff = Command::new("groff")
            .args(["-man", "-Tutf8", "-ww"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut groff = match groff {
            Ok(groff) => groff,
            Err(error) if error.kind() == ErrorKind::NotFound => return,
            Err(error) => panic!("{error}"),
        };
        let mut stdin = groff.stdin.take().unwrap();
        stdin.write_all(page.as_bytes()).unwrap();
        drop(stdin);
        let set = groff.wait_with_output().unwrap();
        let warnings = String::from_utf8_lossy(&set.stderr);
        assert!(warnings.is_empty(), "{command:?}: {warnings}");
        assert!(set.status.success(), "{command:?}");
        assert!(!set.stdout.is_empty(), "{command:?}");
    }
}

#[test]
fn a_page_of_no_command_says_so() {
    let output = jotgate(&["man", "token", "mnit"]);
    assert_eq!(output.status.code(), Some(2));
    let shown = String::from_utf8(output.stderr).unwrap();
    assert!(shown.contains("no command \"token mnit\""), "{shown}");
}

#[test]
fn every_shell_gets_a_script_that_knows_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = jotgate(&["completions", shell]);
        assert!(output.status.success(), "{shell}");
        let script = String::from_utf8(output.stdout).unwrap();
        for word in ["check", "inspect", "completions", "expires-in"] {
            assert!(script.contains(word), "{shell}: no {word}");
        }
    }
    assert_eq!(jotgate(&["completions", "tcsh"]).status.code(), Some(2));
}

#[test]
fn bash_reads_its_script() {
    let script = jotgate(&["completions", "bash"]).stdout;
    let mut bash = match Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn() {
        Ok(bash) => bash,
        Err(error) if error.kind() == ErrorKind::NotFound => return,
        Err(error) => panic!("{error}"),
    };
    bash.stdin.take().unwrap().write_all(&script).unwrap();
    assert!(bash.wait().unwrap().success());
}
