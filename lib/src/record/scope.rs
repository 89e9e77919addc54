//! What one rollback covers, what a change touched, what is blamed: one word for all three.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// `full` or one unit of the ecosystem.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Everything that the snapshot and the configuration call the ecosystem.
    Full,
    /// The configuration; with an id (`config:limits`) a named part of it, which is rolled back with the whole.
    Config(Option<String>),
    /// One module.
    Module(String),
    /// One automation.
    Automation(String),
    /// One optimization.
    Optimization(String),
    /// One experiment.
    Experiment(String),
}

impl Scope {
    /// The first word: `full`, `config`, `module`, `automation`, `optimization`, `experiment`.
    pub fn kind(&self) -> &'static str {
        match self {
            Scope::Full => "full",
            Scope::Config(_) => "config",
            Scope::Module(_) => "module",
            Scope::Automation(_) => "automation",
            Scope::Optimization(_) => "optimization",
            Scope::Experiment(_) => "experiment",
        }
    }

    /// The unit's id, where it has one.
    pub fn id(&self) -> Option<&str> {
        match self {
            Scope::Full => None,
            Scope::Config(id) => id.as_deref(),
            Scope::Module(id) | Scope::Automation(id) | Scope::Optimization(id) | Scope::Experiment(id) => Some(id),
        }
    }

    /// Whether a restore point is needed to roll this back. Automations, optimizations and experiments are switched off instead.
    pub fn needs_snapshot(&self) -> bool {
        matches!(self, Scope::Full | Scope::Config(_) | Scope::Module(_))
    }

    /// Whether it has files whose loss is a loss of data.
    pub fn holds_data(&self) -> bool {
        matches!(self, Scope::Full | Scope::Module(_))
    }

    /// Several of them as one word, as a `restore` says what it is about.
    pub fn join(scopes: &[Scope]) -> String {
        scopes.iter().map(Scope::to_string).collect::<Vec<_>>().join(",")
    }

    /// Reads what [`Scope::join`] writes. What follows a comma and is no scope belongs to the id before it.
    ///
    /// # Errors
    /// A sentence about the first one, if it is none.
    pub fn split(text: &str) -> Result<Vec<Scope>, String> {
        let mut words: Vec<String> = Vec::new();
        for word in text.split(',') {
            match words.last_mut() {
                Some(before) if word.parse::<Scope>().is_err() => before.extend([",", word]),
                _ => words.push(word.to_owned()),
            }
        }
        words.iter().map(|word| word.parse()).collect()
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Scope, String> {
        let (kind, id) = match text.split_once(':') {
            Some((kind, id)) => (kind, Some(id)),
            None => (text, None),
        };
        // An id becomes one argument of a command and part of messages: anything printable that cannot pass for an option.
        if let Some(id) = id
            && (id.is_empty() || id.starts_with('-') || id.len() > 255 || id.chars().any(|c| c.is_control()))
        {
            return Err(format!("'{}' has no usable id after the colon", text.escape_debug()));
        }
        match (kind, id.map(str::to_owned)) {
            ("full", None) => Ok(Scope::Full),
            ("config", id) => Ok(Scope::Config(id)),
            ("module", Some(id)) => Ok(Scope::Module(id)),
            ("automation", Some(id)) => Ok(Scope::Automation(id)),
            ("optimization", Some(id)) => Ok(Scope::Optimization(id)),
            ("experiment", Some(id)) => Ok(Scope::Experiment(id)),
            _ => Err(format!(
                "'{}' is not a scope: write full, config, module:ID, automation:ID, optimization:ID or experiment:ID",
                text.escape_debug()
            )),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id() {
            Some(id) => write!(f, "{}:{id}", self.kind()),
            None => f.write_str(self.kind()),
        }
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Scope, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_scopes_are_one_word() {
        for (text, count) in [("full", 1), ("config,module:ui", 2), ("module:a,b,automation:c", 2), ("module:a,module:b", 2)] {
            let scopes = Scope::split(text).unwrap();
            assert_eq!((scopes.len(), Scope::join(&scopes)), (count, text.into()));
        }
        assert!(Scope::split("nothing,full").is_err());
    }

    #[test]
    fn scopes_read_back_as_they_are_written() {
        for text in ["full", "config", "config:limits", "module:a b", "automation:x:y", "optimization:o", "experiment:e"] {
            assert_eq!(text.parse::<Scope>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_scope_that_could_be_taken_for_something_else_is_refused() {
        for text in ["", "Full", "full:x", "module", "module:", "module:-rf", "module:a\nb", "data"] {
            assert!(text.parse::<Scope>().is_err(), "{text}");
        }
    }
}
