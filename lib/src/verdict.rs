//! Answers and how they add up: *no* and *cannot tell* are different answers and stay apart.

/// The answer of one check, or of many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Done, or all is well.
    Yes,
    /// Asked, and the honest answer is no.
    No,
    /// It could not be found out, or not be finished.
    Unknown,
}

impl Verdict {
    /// The worse of two answers; not knowing is worse than no.
    pub fn and(self, other: Verdict) -> Verdict {
        self.max(other)
    }
}

impl From<bool> for Verdict {
    fn from(yes: bool) -> Verdict {
        if yes { Verdict::Yes } else { Verdict::No }
    }
}

#[cfg(test)]
mod tests {
    use super::Verdict::*;

    #[test]
    fn the_worst_answer_wins() {
        assert_eq!(Yes.and(Yes), Yes);
        assert_eq!(Yes.and(No), No);
        assert_eq!(Unknown.and(No), Unknown);
        assert_eq!(No.and(Unknown), Unknown);
    }
}
