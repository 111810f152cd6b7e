//! Whether every worker still turns its wheel.
//!
//! Asked for, not kept up: nothing wakes a worker that nobody asks.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// Asks all workers for a sign of life.
#[derive(Debug)]
pub struct Pulse {
    ask: watch::Sender<u64>,
    answers: mpsc::UnboundedReceiver<u64>,
    workers: usize,
}

/// One worker's side of it.
#[derive(Debug, Clone)]
pub(super) struct Beat {
    asked: watch::Receiver<u64>,
    answer: mpsc::UnboundedSender<u64>,
}

/// Of so many workers.
pub(super) fn pulse(workers: usize) -> (Pulse, Beat) {
    let (ask, asked) = watch::channel(0);
    let (answer, answers) = mpsc::unbounded_channel();
    let pulse = Pulse {
        ask,
        answers,
        workers,
    };
    (pulse, Beat { asked, answer })
}

impl Pulse {
    /// Whether all of them answer within this time.
    pub async fn is_there(&mut self, within: Duration) -> bool {
        let number = *self.ask.borrow() + 1;
        self.ask.send_replace(number);
        let all = async {
            let mut missing = self.workers;
            while missing > 0 {
                match self.answers.recv().await {
                    Some(answered) if answered == number => missing -= 1,
                    // Late ones of an earlier question.
                    Some(_) => {}
                    None => return false,
                }
            }
            true
        };
        timeout(within, all).await.unwrap_or(false)
    }
}

impl Beat {
    /// Answers, for as long as anybody asks.
    pub(super) async fn go_on(mut self) {
        while self.asked.changed().await.is_ok() {
            let number = *self.asked.borrow_and_update();
            if self.answer.send(number).is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_that_stands_still_is_noticed() {
        let (mut pulse, beat) = pulse(2);
        let moment = Duration::from_millis(50);
        let _one = tokio::spawn(beat.clone().go_on());
        assert!(!pulse.is_there(moment).await);
        let _other = tokio::spawn(beat.go_on());
        assert!(pulse.is_there(Duration::from_secs(10)).await);
        assert!(pulse.is_there(Duration::from_secs(10)).await);
    }
}
