//! What is proposed and waits for a person, and which word of a person is about it.

use eco::record::{Action, Decision, Operator, Stamp};
use eco::tool::Tool;

/// The proposals of a stream: the last one waits.
#[derive(Default)]
pub struct Proposals {
    waiting: Option<Waiting>,
    /// The last one that was carried out. Whoever decides stands before us in the pipe, does not see that, and may repeat it.
    agreed: Option<Decision>,
    /// The last question of a rollout and its reminders. The answer is for eco-rollout, and a yes there is no yes to a rollback.
    of_rollout: Vec<String>,
    /// Whether nothing was proposed since.
    rollout_asked_last: bool,
}

struct Waiting {
    decision: Decision,
    said: Stamp,
    /// It and its reminders: the person may have read any of them.
    ids: Vec<String>,
}

fn is_same(one: &Decision, other: &Decision) -> bool {
    (&one.incident, &one.scope) == (&other.incident, &other.scope)
}

impl Proposals {
    /// Whether this reminds of something that was carried out.
    pub fn is_done(&self, decision: &Decision) -> bool {
        decision.reminder && self.agreed.as_ref().is_some_and(|agreed| is_same(agreed, decision))
    }

    /// A decision has come. A proposal waits from here on; anything else that is said of its incident (it is over, it is for people,
    /// it is being rolled back) is the end of it.
    pub fn hear(&mut self, stamp: &Stamp, decision: &Decision, agreed: bool) {
        if decision.is_rollouts_question() {
            if !decision.reminder {
                self.of_rollout.clear();
            }
            self.of_rollout.push(decision.id.clone());
            self.rollout_asked_last = true;
            return;
        }
        if self.is_done(decision) {
            return;
        }
        self.rollout_asked_last &= decision.action != Action::Propose;
        let known = self.waiting.as_mut().filter(|waiting| waiting.decision.incident == decision.incident);
        match (decision.action, known) {
            (Action::Propose, _) if agreed => (self.waiting, self.agreed) = (None, Some(decision.clone())),
            (Action::Propose, Some(waiting)) if decision.reminder && is_same(&waiting.decision, decision) => waiting.ids.push(decision.id.clone()),
            (Action::Propose, _) => {
                // Proposed anew: its reminders are news again.
                self.agreed = None;
                self.waiting = Some(Waiting { decision: decision.clone(), said: stamp.clone(), ids: vec![decision.id.clone()] });
            }
            (_, Some(_)) => self.waiting = None,
            (_, None) => {}
        }
    }

    /// The person at the terminal said no, or did not say yes: it waits, as it did before, for whoever agrees on the stream.
    pub fn declined(&mut self, stamp: &Stamp, decision: &Decision) {
        self.agreed = None;
        self.hear(stamp, decision, false);
    }

    /// A person has spoken: the decision to be carried out, if this agrees to one. A word that is about nothing is told, for somebody
    /// waits for what it does.
    pub fn answer(&mut self, tool: &Tool, stamp: &Stamp, word: &Operator) -> Option<Decision> {
        if word.verb != "approve" && word.verb != "reject" {
            return None;
        }
        let said = format!("the {} of {}", word.verb, stamp.time);
        if word.decision.as_ref().map_or(self.rollout_asked_last, |id| self.of_rollout.contains(id)) {
            if let (Some(waiting), None) = (&self.waiting, &word.decision) {
                let id = &waiting.decision.id;
                tool.say(&format!("{said} is for the rollout, which asked last; decision {id} stays open: eco-ctl {} {id}", word.verb));
            }
            return None;
        }
        let Some(Waiting { decision, said: proposed, ids }) = &self.waiting else {
            tool.say(&format!("{said} changes nothing: no proposal is open"));
            return None;
        };
        let named = word.decision.as_ref();
        let why = if proposed.ecosystem.is_some() && stamp.ecosystem.is_some() && proposed.ecosystem != stamp.ecosystem {
            "is about another ecosystem".to_owned()
        } else if named.is_some_and(|id| !ids.contains(id)) {
            format!("is about another decision than the one that is open, {}", decision.id)
        } else if named.is_none() && stamp.time < proposed.time {
            format!("is older than the proposal that is open: name that to agree, eco-ctl {} {}", word.verb, decision.id)
        } else {
            let decision = self.waiting.take()?.decision;
            if word.verb == "reject" {
                return None;
            }
            self.agreed = Some(decision.clone());
            return Some(decision);
        };
        tool.say(&format!("{said} {why}"));
        None
    }
}
