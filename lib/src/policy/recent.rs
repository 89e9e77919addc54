//! What was taken in during the last minutes, so that a stream that is read again after a restart is not counted twice.
//!
//! Older news is too late to be counted anyway, and what is not news (changes, snapshots) may be told twice. So the last two
//! minutes are all that has to be known line by line.

use super::course::LATE;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// How many lines are remembered: more than thirty a second.
const REMEMBERED: usize = 4096;

/// The newest lines of one ecosystem.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Recent {
    /// Their own times, and their marks.
    lines: VecDeque<(Timestamp, u64)>,
    /// Marks of an earlier run, until something comes that it did not see.
    #[serde(skip)]
    earlier: Option<Vec<u64>>,
}

impl Recent {
    /// From here on lines may come that are known already.
    pub fn expect_again(&mut self) {
        self.earlier = Some(self.lines.iter().map(|(_, mark)| *mark).collect());
    }

    /// Whether an earlier run has taken this line in; every line of that run counts once. A log that is read again may hold lines
    /// among them which that run never saw, so its end is reached only with a newer line.
    pub fn is_again(&mut self, clock: Timestamp, time: Timestamp, mark: u64) -> bool {
        let Some(earlier) = &mut self.earlier else { return false };
        if clock.duration_since(time) > LATE {
            return true;
        }
        match earlier.iter().position(|known| *known == mark) {
            Some(place) => {
                earlier.remove(place);
                true
            }
            None => {
                if earlier.is_empty() || time > clock {
                    self.earlier = None;
                }
                false
            }
        }
    }

    /// Remembers a line that was taken in.
    pub fn add(&mut self, clock: Timestamp, time: Timestamp, mark: u64) {
        while self.lines.front().is_some_and(|(time, _)| clock.duration_since(*time) > LATE) || self.lines.len() >= REMEMBERED {
            self.lines.pop_front();
        }
        self.lines.push_back((time, mark));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn lines_of_an_earlier_run_are_known_until_a_new_one_comes() {
        let mut recent = Recent::default();
        for (time, mark) in [(0, 1), (60, 2), (60, 2), (180, 3)] {
            assert!(!recent.is_again(second(time), second(time), mark), "in one run nothing is said twice");
            recent.add(second(time), second(time), mark);
        }
        recent.expect_again();
        let mut again = |time, mark| recent.is_again(second(180), second(time), mark);
        assert!(again(0, 1), "too late in any case");
        assert!(again(60, 2) && !again(70, 9) && again(60, 2), "also around a line that run never saw");
        assert!(again(180, 3));
        assert!(!again(180, 3), "as often as it was seen, and no more");
        assert!(!again(0, 1), "from here on what is late is only late");
    }

    #[test]
    fn a_newer_line_ends_the_comparison() {
        let mut recent = Recent::default();
        recent.add(second(0), second(0), 1);
        recent.expect_again();
        assert!(!recent.is_again(second(0), second(5), 2));
        assert!(!recent.is_again(second(5), second(0), 1));
    }

    #[test]
    fn a_flood_does_not_fill_the_memory() {
        let mut recent = Recent::default();
        (0..100_000).for_each(|mark| recent.add(second(0), second(0), mark));
        assert_eq!(recent.lines.len(), REMEMBERED);
    }
}
