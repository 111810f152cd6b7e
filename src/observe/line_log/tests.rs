//! Tests of `line_log`.

use super::*;
use crate::observe::event::tests::{event, line as line_of};
use crate::observe::{AccessEvent, LogFormat};

/// A sink that shows every write to the test and does what the test answers; once the test
/// drops its end, it takes everything.
struct Puppet {
    offered: Sender<Vec<u8>>,
    answers: Receiver<io::Result<usize>>,
}

impl Write for Puppet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.offered.send(bytes.to_vec());
        let taken = self.answers.recv().unwrap_or(Ok(bytes.len()))?;
        Ok(taken.min(bytes.len()))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Stage {
    log: LineLog,
    writer: LogWriter,
    offered: Receiver<Vec<u8>>,
    answers: Sender<io::Result<usize>>,
    dropped: Counter,
}

fn stage() -> Stage {
    let dropped = Counter::default();
    let (offer, offered) = channel();
    let (answers, answered) = channel();
    let sink = Puppet {
        offered: offer,
        answers: answered,
    };
    let (log, writer) = LineLog::start(Box::new(sink), KIND, dropped.clone()).unwrap();
    Stage {
        log,
        writer,
        offered,
        answers,
        dropped,
    }
}

fn numbered(number: u64) -> AccessEvent {
    AccessEvent {
        generation: number,
        ..event()
    }
}

fn line(number: u64) -> Vec<u8> {
    line_of(&numbered(number), LogFormat::Text).into_bytes()
}

fn submit(log: &LineLog, event: &AccessEvent) {
    log.submit(&line_of(event, LogFormat::Text));
}

#[test]
fn a_blocked_reader_costs_lines_but_no_request_waits() {
    let stage = stage();
    submit(&stage.log, &numbered(0));
    assert_eq!(stage.offered.recv().unwrap(), line(0));
    // The writer is stuck in its sink now: exactly the queue's capacity fits.
    let capacity = KIND.most as u64;
    for number in 1..=capacity + 7 {
        submit(&stage.log, &numbered(number));
    }
    assert_eq!(stage.dropped.get(), 7);

    drop((stage.log, stage.answers));
    assert!(stage.writer.finish(LONG));
    let rest: Vec<u8> = stage.offered.try_iter().flatten().collect();
    let expected: Vec<u8> = (1..=capacity).flat_map(line).collect();
    assert!(rest == expected, "every queued line once, in order");
    assert_eq!(stage.dropped.get(), 7);
}

#[test]
fn hostile_lines_are_bounded_in_bytes() {
    let stage = stage();
    let hostile = AccessEvent {
        path: "\u{1}".repeat(2_000).as_str().into(),
        ..event()
    };
    let piece = line_of(&hostile, LogFormat::Text).repeat(4);
    stage.log.submit(&piece);
    assert_eq!(stage.offered.recv().unwrap(), piece.as_bytes());

    let room = QUEUE_BYTES / piece.len();
    assert!(room < KIND.most);
    for _ in 0..room + 5 {
        stage.log.submit(&piece);
    }
    assert_eq!(stage.dropped.get(), 5 * 4);

    // What the writer has taken is room again.
    drop(stage.answers);
    while stage.log.queued_bytes.load(Ordering::Relaxed) > 0 {
        stage.offered.recv_timeout(LONG).unwrap();
    }
    stage.log.submit(&piece);
    drop(stage.log);
    assert!(stage.writer.finish(LONG));
    assert_eq!(stage.dropped.get(), 5 * 4);
}

#[test]
fn a_failing_sink_is_tried_again_and_a_torn_line_is_ended() {
    let stage = stage();
    let answer = |answer| stage.answers.send(answer).unwrap();

    submit(&stage.log, &numbered(1));
    assert_eq!(stage.offered.recv().unwrap(), line(1));
    answer(Err(ErrorKind::BrokenPipe.into()));

    submit(&stage.log, &numbered(2));
    assert_eq!(stage.offered.recv().unwrap(), line(2));
    assert_eq!(stage.dropped.get(), 1);
    answer(Ok(5));
    assert_eq!(stage.offered.recv().unwrap(), line(2)[5..]);
    answer(Err(ErrorKind::StorageFull.into()));

    submit(&stage.log, &numbered(3));
    assert_eq!(stage.offered.recv().unwrap(), b"\n");
    assert_eq!(stage.dropped.get(), 2);
    answer(Ok(1));
    assert_eq!(stage.offered.recv().unwrap(), line(3));
    answer(Ok(usize::MAX));

    drop((stage.log, stage.answers));
    assert!(stage.writer.finish(LONG));
    assert_eq!(stage.dropped.get(), 2);
}

#[test]
fn an_interrupted_or_full_pipe_loses_nothing() {
    let stage = stage();
    for kind in [ErrorKind::Interrupted, ErrorKind::WouldBlock] {
        stage.answers.send(Err(kind.into())).unwrap();
    }
    submit(&stage.log, &numbered(1));
    drop((stage.log, stage.answers));
    assert!(stage.writer.finish(LONG));
    assert_eq!(stage.offered.iter().collect::<Vec<_>>(), vec![line(1); 3]);
    assert_eq!(stage.dropped.get(), 0);
}

#[test]
fn a_sleeping_reader_does_not_keep_the_process() {
    let stage = stage();
    submit(&stage.log, &numbered(1));
    stage.offered.recv().unwrap();
    drop(stage.log);
    assert!(!stage.writer.finish(Duration::from_millis(1)));
}

#[test]
fn a_forgotten_handle_does_not_keep_the_process() {
    let stage = stage();
    assert!(!stage.writer.finish(Duration::from_millis(1)));
    drop(stage.log);
}

#[test]
fn a_dead_writer_costs_lines_only() {
    struct Bomb(Sender<()>);
    impl Write for Bomb {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            let _ = &self.0;
            panic!("a sink that panics");
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (alive, dead) = channel();
    let (log, writer) = LineLog::start(Box::new(Bomb(alive)), KIND, Counter::default()).unwrap();
    submit(&log, &event());
    assert!(dead.recv().is_err());
    submit(&log, &event());
    assert!(!writer.finish(LONG));
}

#[test]
fn a_file_that_is_cut_off_goes_on_at_its_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let opened = File::create(&path).unwrap();
    let mut sink = unbuffered(&opened).unwrap();
    sink.write_all(b"before\n").unwrap();
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(0)
        .unwrap();
    sink.write_all(b"after\n").unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"after\n");
}

#[test]
fn the_last_lines_are_written_though_others_hold_the_log() {
    let stage = stage();
    submit(&stage.log, &numbered(1));
    stage.log.end();
    drop(stage.answers);
    assert!(stage.writer.finish(LONG));
    assert_eq!(stage.offered.iter().collect::<Vec<_>>(), [line(1)]);
    submit(&stage.log, &numbered(2));
    assert_eq!(stage.dropped.get(), 1);
}

const KIND: LogKind = LogKind {
    name: "test",
    most: 1_024,
    pause: Duration::from_millis(20),
};

/// Far beyond what a sound run needs.
const LONG: Duration = Duration::from_secs(30);
