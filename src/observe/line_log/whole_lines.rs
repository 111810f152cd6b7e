//! A pipe that others write into as well, such as a process that takes over and the one before it.
//!
//! What is written to a pipe at once stays together if it is no more than `PIPE_BUF` bytes
//! (pipe(7)); of more, any part may come between parts of somebody else's.

use std::io::{self, Write};

use memchr::{memchr, memrchr};
use rustix::pipe::PIPE_BUF;

/// Writes as many whole lines at once as stay together. A line that is longer is written alone.
pub(super) struct WholeLines<W>(pub(super) W);

impl<W: Write> Write for WholeLines<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(&bytes[..together(bytes)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// How many of these bytes are written at once.
fn together(bytes: &[u8]) -> usize {
    if bytes.len() <= PIPE_BUF {
        return bytes.len();
    }
    memrchr(b'\n', &bytes[..PIPE_BUF])
        .or_else(|| memchr(b'\n', bytes))
        .map_or(bytes.len(), |end| end + 1)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};

    use super::*;

    #[test]
    fn lines_are_kept_together_up_to_what_a_pipe_takes_at_once() {
        let short = "x".repeat(999) + "\n";
        let long = "y".repeat(PIPE_BUF) + "\n";
        assert_eq!(together(short.as_bytes()), 1000);
        assert_eq!(together(short.repeat(5).as_bytes()), 4000);
        assert_eq!(together((short.clone() + &long).as_bytes()), 1000);
        assert_eq!(together((long.clone() + &short).as_bytes()), long.len());
        assert_eq!(together("z".repeat(9999).as_bytes()), 9999);
    }

    #[test]
    fn two_who_write_into_one_pipe_do_not_tear_each_others_lines() {
        let (reader, writer) = io::pipe().unwrap();
        let writers = [b'a', b'b'].map(|letter| {
            let mut sink = WholeLines(writer.try_clone().unwrap());
            let lines = [[letter; 299].as_slice(), b"\n"].concat().repeat(800);
            std::thread::spawn(move || {
                for _ in 0..20 {
                    sink.write_all(&lines).unwrap();
                }
            })
        });
        drop(writer);
        let mut count = 0;
        for line in BufReader::new(reader).split(b'\n') {
            let line = line.unwrap();
            assert!(line.len() == 299 && line.iter().all(|byte| *byte == line[0]));
            count += 1;
        }
        assert_eq!(count, 2 * 20 * 800);
        for writer in writers {
            writer.join().unwrap();
        }
    }
}
