//! Which paths belong to which scope, which are preserved, which are left out; and the walk over them in a fixed order.

mod site;
mod walk;

pub use site::Site;
pub use walk::{Attributes, Found, Step, Unreadable, Walk, Walker, is_unreadable, walk};

use crate::record::Scope;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The folder at the ecosystem's root, and at the top of mounts below it, that holds everything of ours; never captured, never rolled
/// back.
pub const OURS: &str = ".eco";

/// Whether a path is in a folder of ours.
pub fn is_ours(path: &Path) -> bool {
    path.iter().any(|name| name == OURS)
}

/// What the name of a journal adds to that of its database: <https://www.sqlite.org/tempfiles.html>.
pub const JOURNALS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// `[snapshot]`: what is captured, and what of it is never rolled back.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CaptureRules {
    /// Patterns of paths that are left out. A pattern without `/` matches a name at any depth.
    pub exclude: Vec<String>,
    /// Patterns of paths that are captured and never rolled back.
    pub preserve: Vec<String>,
    /// How SQLite databases are captured.
    pub sqlite: SqliteMode,
}

/// How SQLite databases are captured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SqliteMode {
    /// Through SQLite's own backup where somebody has it open or a journal lies beside it, else byte by byte.
    #[default]
    Online,
    /// Byte by byte, always.
    Bytes,
}

impl CaptureRules {
    /// Whether every pattern can be understood.
    ///
    /// # Errors
    /// A sentence that names the pattern.
    pub fn check(&self) -> Result<(), String> {
        Patterns::new(&self.exclude)?;
        Patterns::new(&self.preserve)?;
        Ok(())
    }
}

/// Glob patterns over paths relative to the ecosystem's root: `*` stays within a name, `**` crosses folders.
#[derive(Clone, Debug)]
pub struct Patterns(GlobSet);

impl Patterns {
    /// Compiles them.
    ///
    /// # Errors
    /// A sentence that names the pattern.
    pub fn new<S: AsRef<str>>(patterns: &[S]) -> Result<Patterns, String> {
        let mut set = GlobSetBuilder::new();
        for pattern in patterns {
            let pattern = pattern.as_ref();
            let anywhere = if pattern.contains('/') { pattern.to_owned() } else { format!("**/{pattern}") };
            let glob =
                GlobBuilder::new(&anywhere).literal_separator(true).build().map_err(|e| format!("'{pattern}' is not a pattern: {}", e.kind()))?;
            set.add(glob);
        }
        set.build().map(Patterns).map_err(|e| e.to_string())
    }

    /// Whether this path itself matches. A folder that matches takes everything below it along.
    pub fn match_path(&self, path: &Path) -> bool {
        self.0.is_match(path)
    }

    /// Whether this path or a folder above it matches.
    pub fn cover(&self, path: &Path) -> bool {
        !self.0.is_empty() && path.ancestors().any(|p| !p.as_os_str().is_empty() && self.0.is_match(p))
    }
}

/// Which roots belong to which scope. A root is a folder or file relative to the ecosystem's root.
#[derive(Clone, Debug, PartialEq)]
pub struct Scopes {
    named: BTreeMap<String, Vec<PathBuf>>,
    modules: BTreeMap<String, Vec<PathBuf>>,
}

impl Default for Scopes {
    /// What the old procedures called the ecosystem: `data` and `config`.
    fn default() -> Scopes {
        let own = |name: &str| (name.to_owned(), vec![PathBuf::from(name)]);
        Scopes { named: [own("config"), own("data")].into(), modules: BTreeMap::new() }
    }
}

impl Scopes {
    /// The scopes of `[scopes]` (absent: data and config) and of the modules.
    ///
    /// # Errors
    /// A sentence that names the root that cannot be one.
    pub fn new(named: Option<BTreeMap<String, Vec<PathBuf>>>, modules: BTreeMap<String, Vec<PathBuf>>) -> Result<Scopes, String> {
        let scopes = Scopes { named: named.unwrap_or_else(|| Scopes::default().named), modules };
        for root in scopes.named.values().chain(scopes.modules.values()).flatten() {
            check_root(root)?;
        }
        Ok(scopes)
    }

    /// Every root; those inside another are absorbed by it.
    pub fn full(&self) -> Vec<PathBuf> {
        absorb(self.named.values().chain(self.modules.values()).flatten().cloned().collect())
    }

    /// The roots of a scope, or `None` where the configuration knows no such module. Scopes without files have no roots.
    pub fn roots(&self, scope: &Scope) -> Option<Vec<PathBuf>> {
        match scope {
            Scope::Full => Some(self.full()),
            Scope::Config(_) => self.named.get("config").cloned().map(absorb),
            Scope::Module(id) => self.modules.get(id).cloned().map(absorb),
            _ => Some(Vec::new()),
        }
    }

    /// Ids of the modules.
    pub fn modules(&self) -> impl Iterator<Item = &str> {
        self.modules.keys().map(String::as_str)
    }

    /// The roots of the scope `data`, if there is one: what is in them changes because the service works.
    pub fn data(&self) -> &[PathBuf] {
        self.named.get("data").map_or(&[], Vec::as_slice)
    }

    /// The units that have files of their own, with the roots that lie outside `data`; those with none are left out.
    pub fn units(&self) -> Vec<(Scope, Vec<PathBuf>)> {
        let config = self.named.get("config").map(|roots| (Scope::Config(None), roots));
        let modules = self.modules.iter().map(|(id, roots)| (Scope::Module(id.clone()), roots));
        let outside = |roots: &[PathBuf]| -> Vec<PathBuf> {
            roots.iter().filter(|root| !self.data().iter().any(|data| root.starts_with(data))).cloned().collect()
        };
        config.into_iter().chain(modules).map(|(unit, roots)| (unit, outside(roots))).filter(|(_, roots)| !roots.is_empty()).collect()
    }

    /// What a path belongs to, in one word: `module:ID`, or the name of a scope; the one whose root lies deepest. `other` if it is none's.
    pub fn owner(&self, path: &Path) -> String {
        let named = self.named.iter().map(|(name, roots)| (name.clone(), roots));
        let all = named.chain(self.modules.iter().map(|(id, roots)| (Scope::Module(id.clone()).to_string(), roots)));
        let depth = |roots: &[PathBuf]| roots.iter().filter(|root| path.starts_with(root)).map(|root| root.components().count()).max();
        let deepest = all.filter_map(|(name, roots)| Some((depth(roots)?, name))).max_by_key(|(depth, _)| *depth);
        deepest.map_or_else(|| "other".into(), |(_, name)| name)
    }

    /// Which scopes a snapshot with these roots can restore, as its `covers` says it: the names of `[scopes]`, `modules` for all
    /// of them, single ones otherwise.
    pub fn covered_by(&self, captured: &[PathBuf]) -> Vec<String> {
        let holds = |roots: &Vec<PathBuf>| roots.iter().all(|root| captured.iter().any(|c| root.starts_with(c)));
        let mut covers: Vec<String> = self.named.iter().filter(|(_, roots)| holds(roots)).map(|(name, _)| name.clone()).collect();
        if self.modules.values().all(holds) && covers.len() == self.named.len() {
            covers.push("modules".into());
            // Where the scopes have other names, nobody could tell otherwise that this is everything.
            if !["config", "data"].iter().all(|name| self.named.contains_key(*name)) {
                covers.push("full".into());
            }
        } else {
            covers.extend(self.modules.iter().filter(|(_, roots)| holds(roots)).map(|(id, _)| format!("module:{id}")));
        }
        covers
    }
}

/// Whether a snapshot whose record says `covers` can restore this scope.
pub fn covers(covers: &[String], scope: &Scope) -> bool {
    let names = |word: &str| covers.iter().any(|c| c == word);
    match scope {
        Scope::Full => names("full") || ["data", "config", "modules"].into_iter().all(names),
        Scope::Config(_) => names("full") || names("config") || names(&scope.to_string()),
        Scope::Module(_) => names("full") || names("modules") || names(&scope.to_string()),
        _ => true,
    }
}

/// Sorts the roots and drops those that lie inside another, so that roots of one transaction never nest.
pub fn absorb(mut roots: Vec<PathBuf>) -> Vec<PathBuf> {
    roots.sort();
    roots.dedup();
    let all = roots.clone();
    roots.retain(|root| !all.iter().any(|other| other != root && root.starts_with(other)));
    roots
}

/// A path from elsewhere must be plain before it is joined to anything: relative, without `.`, `..`, empty or doubled parts.
///
/// # Errors
/// A sentence that names the path.
pub fn check_plain(path: &Path) -> Result<(), String> {
    let bytes = path.as_os_str().as_bytes();
    let plain = bytes.split(|b| *b == b'/').all(|part| !part.is_empty() && part != b"." && part != b".." && !part.contains(&0));
    if plain { Ok(()) } else { Err(format!("'{}' cannot be a path in a tree", path.display().to_string().escape_debug())) }
}

/// A root must be a plain relative path that cannot reach our own folder.
///
/// # Errors
/// A sentence that names the root.
pub fn check_root(root: &Path) -> Result<(), String> {
    if check_plain(root).is_err() {
        return Err(format!("'{}' cannot be a root: write a path below the ecosystem's root, such as data or feature-01/state", root.display()));
    }
    if is_ours(root) {
        return Err(format!("'{}' cannot be a root: {OURS} is the tools' own folder", root.display()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(list: &[&str]) -> Vec<PathBuf> {
        list.iter().map(PathBuf::from).collect()
    }

    fn shop() -> Scopes {
        let modules = BTreeMap::from([("learning".to_owned(), paths(&["feature-01", "data/learning"])), ("ui".to_owned(), paths(&["ui"]))]);
        Scopes::new(None, modules).unwrap()
    }

    #[test]
    fn full_is_everything_and_nested_roots_are_absorbed() {
        assert_eq!(shop().full(), paths(&["config", "data", "feature-01", "ui"]));
        assert_eq!(shop().roots(&"module:learning".parse().unwrap()), Some(paths(&["data/learning", "feature-01"])));
        assert_eq!(shop().roots(&"module:nobody".parse().unwrap()), None);
        assert_eq!(shop().roots(&"automation:a".parse().unwrap()), Some(vec![]));
    }

    #[test]
    fn a_sibling_with_a_common_beginning_is_not_inside() {
        assert_eq!(absorb(paths(&["data", "data-old", "data/x"])), paths(&["data", "data-old"]));
    }

    #[test]
    fn a_snapshot_says_what_it_can_restore() {
        assert_eq!(shop().covered_by(&shop().full()), ["config", "data", "modules"]);
        assert_eq!(shop().covered_by(&paths(&["config", "ui"])), ["config", "module:ui"]);
        let app = Scopes::new(Some(BTreeMap::from([("app".to_owned(), paths(&["app"]))])), BTreeMap::new()).unwrap();
        assert_eq!(app.covered_by(&app.full()), ["app", "modules", "full"]);
        let said = |text: &str, scope: &str| covers(&text.split(' ').map(str::to_owned).collect::<Vec<_>>(), &scope.parse().unwrap());
        assert!(said("config data modules", "full"));
        assert!(!said("config data", "full"));
        assert!(said("config", "config:limits"));
        assert!(said("modules", "module:ui") && said("module:ui", "module:ui") && !said("module:ui", "module:other"));
    }

    #[test]
    fn a_path_belongs_to_the_unit_whose_root_lies_deepest() {
        let owner = |path: &str| shop().owner(Path::new(path));
        assert_eq!([owner("data/a"), owner("data/learning/a"), owner("ui"), owner("config/x")], ["data", "module:learning", "module:ui", "config"]);
        assert_eq!(owner("elsewhere"), "other");
    }

    #[test]
    fn a_root_that_could_reach_elsewhere_is_refused() {
        for root in ["", ".", "..", "a/../b", "/etc", ".eco", ".eco/x"] {
            assert!(check_root(Path::new(root)).is_err(), "{root}");
        }
    }

    #[test]
    fn a_pattern_without_a_slash_matches_at_any_depth() {
        let patterns = Patterns::new(&["*.tmp", "data/metrics/**", "**/__pycache__"]).unwrap();
        assert!(patterns.match_path(Path::new("a/b/x.tmp")) && patterns.match_path(Path::new("x.tmp")));
        assert!(patterns.match_path(Path::new("data/metrics/a")) && !patterns.match_path(Path::new("data/metrics")));
        assert!(patterns.cover(Path::new("m/__pycache__/x/y")) && !patterns.cover(Path::new("m/x")));
        assert!(Patterns::new(&["a[b"]).is_err());
    }
}
