//! How the decisions of a rollout are told from those of a policy.

use super::{Action, Decision, Rollout};

impl Decision {
    /// The note of a proposal that is a paused rollout's.
    pub const OF_ROLLOUT: &str = "rollout";

    /// Whether this is the question of a paused rollout. A yes to it lets the rollout go on: nothing may be rolled back because of it.
    pub fn is_rollouts_question(&self) -> bool {
        self.action == Action::Propose && self.notes.iter().any(|note| note == Self::OF_ROLLOUT)
    }
}

impl Rollout {
    /// What the incidents of all rollouts begin with, and no others.
    pub const INCIDENT: &str = "rollout-";

    /// The incident that its decisions belong to.
    pub fn incident(&self) -> String {
        format!("{}{}", Self::INCIDENT, if self.id.is_empty() { &self.version } else { &self.id })
    }
}
