//! Panics: counted wherever they happen, and told without the words of a client.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{PanicHookInfo, set_hook, take_hook};
use std::sync::LazyLock;
use std::thread;

use prometheus_client::metrics::counter::Counter;
use tracing::error;

use super::messages;

/// From now on a panic is a message like others. To be called once messages are written, and before
/// panics are counted.
pub fn tell() {
    set_hook(Box::new(|panic| {
        let current = thread::current();
        error!(
            place = panic.location().map(tracing::field::display),
            thread = current.name(),
            why = words(panic),
            "a panic: this is a bug, please report it"
        );
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            messages::say(backtrace.to_string().trim_end());
        }
    }));
}

/// How many there were in this process, contained or not, from the first call on.
pub(super) fn counted() -> Counter {
    static COUNTED: LazyLock<Counter> = LazyLock::new(|| {
        let counter = Counter::default();
        let (counting, tell) = (counter.clone(), take_hook());
        set_hook(Box::new(move |panic| {
            counting.inc();
            tell(panic);
        }));
        counter
    });
    COUNTED.clone()
}

/// Why, if the program itself has the words for it. Those that are put together on the way may
/// quote what a client sent, a token for one.
fn words(panic: &PanicHookInfo<'_>) -> Option<&'static str> {
    panic.payload().downcast_ref::<&'static str>().copied()
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::observe::messages::{Style, init};

    const HERE: &str = "observe::panics::tests::t79_a_panic_does_not_repeat_a_token";
    const CHILD: &str = "JOTGATE_TEST_OF_PANICS";

    /// Hooks are the whole process's, so it takes one of its own.
    #[test]
    fn t79_a_panic_does_not_repeat_a_token() {
        if env::var_os(CHILD).is_some() {
            return panic_three_times();
        }
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", HERE, "--nocapture"])
            .env(CHILD, "1")
            .env("RUST_BACKTRACE", "0")
            .stdout(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8(child.stderr).unwrap();
        assert!(child.status.success(), "{said}");
        assert!(!said.contains("canary"), "{said}");
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines.len(), 3, "{said}");
        for line in &lines {
            assert!(line.contains("src/observe/panics.rs:"), "{line}");
            assert!(line.contains("thread=\"worker-7\""), "{line}");
        }
        assert!(lines[0].contains("a bug of ours"), "{said}");
    }

    fn panic_three_times() {
        let messages = init("info", Style::Plain).unwrap();
        tell();
        let count = counted();
        let token = String::from("canarý.e30.e30");
        let panics: [Box<dyn Fn() + Send>; 3] = [
            Box::new(|| panic!("a bug of ours")),
            Box::new({
                let token = token.clone();
                move || panic!("what is {token}")
            }),
            Box::new(move || drop(token[..6].to_owned())),
        ];
        for panic in panics {
            let worker = thread::Builder::new().name("worker-7".to_owned());
            worker.spawn(panic).unwrap().join().unwrap_err();
        }
        assert_eq!(count.get(), 3);
        drop(messages);
    }
}
