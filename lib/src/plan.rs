//! The tree as it is beside the tree as it was: what a rollback creates, replaces, removes and keeps.

use crate::record::{Difference, Plan, RecordPath};
use crate::tree::{Digest, Kind, Node};
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// One entry of either tree, with the digest of its content where it is a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Name, kind and metadata.
    pub node: Node,
    /// Of its content. Absent for a live file whose length alone shows that it differs.
    pub digest: Option<Digest>,
}

/// How two trees differ.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// Paths in both, the same in content and metadata.
    pub same: u64,
    /// Paths that were left out of the comparison.
    pub aside: u64,
    /// Every other path, in the order of names, seen from the snapshot: `created` is there now and was not.
    pub differences: Vec<Difference>,
}

impl Comparison {
    /// Paths that differ in this way.
    pub fn count(&self, what: &str) -> u64 {
        self.differences.iter().filter(|d| d.what == what).count() as u64
    }

    /// Paths that are in both trees and differ.
    pub fn changed(&self) -> u64 {
        self.differences.len() as u64 - self.count("created") - self.count("deleted")
    }
}

/// Compares the tree as it was (in `snapshot`) with the tree as it is. Paths for which `aside` is true are left out; a folder that
/// holds one of them may have another modification time.
pub fn compare(snapshot: &str, was: &[Item], is: &[Item], aside: impl Fn(&Path) -> bool) -> Comparison {
    let index = |items: &'_ [Item]| -> BTreeMap<Vec<u8>, usize> {
        let key = |item: &Item| item.node.path.as_os_str().as_bytes().to_vec();
        items.iter().enumerate().map(|(at, item)| (key(item), at)).collect()
    };
    let (before, now) = (index(was), index(is));
    let mut result = Comparison::default();
    let paths = was.iter().chain(is).map(|item| item.node.path.as_path());
    let loose: HashSet<&Path> = paths.filter(|path| aside(path)).filter_map(Path::parent).collect();
    let (mut left, mut right) = (before.iter().peekable(), now.iter().peekable());
    loop {
        let order = match (left.peek(), right.peek()) {
            (None, None) => return result,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((a, _)), Some((b, _))) => a.cmp(b),
        };
        let old = (order != Ordering::Greater).then(|| left.next()).flatten().map(|(_, at)| &was[*at]);
        let new = (order != Ordering::Less).then(|| right.next()).flatten().map(|(_, at)| &is[*at]);
        let Some(path) = old.or(new).map(|item| item.node.path.as_path()) else { return result };
        if aside(path) {
            result.aside += 1;
            continue;
        }
        let (what, details) = match (old, new) {
            (Some(_), None) => ("deleted", Vec::new()),
            (None, _) => ("created", Vec::new()),
            (Some(old), Some(new)) => match differ(old, new, loose.contains(path)) {
                None => {
                    result.same += 1;
                    continue;
                }
                Some(found) => found,
            },
        };
        result.differences.push(Difference { snapshot: snapshot.into(), path: RecordPath::new(path), what: what.into(), details });
    }
}

/// Feeds everything that [`compare`] goes by, and these words, to a digest: what is fed is the same exactly if all of it is. Only the
/// times of live folders do not count: they tell of names, which are seen themselves, or stand aside.
pub fn trace(words: &[&str], was: &[Item], is: &[Item], aside: impl Fn(&Path) -> bool, feed: &mut impl FnMut(&[u8])) {
    let mut field = |bytes: &[u8]| {
        feed(&(bytes.len() as u64).to_be_bytes());
        feed(bytes);
    };
    field(&(words.len() as u64).to_be_bytes());
    words.iter().for_each(|word| field(word.as_bytes()));
    for (is_live, items) in [(false, was), (true, is)] {
        let items: Vec<&Item> = items.iter().filter(|item| !aside(&item.node.path)).collect();
        field(&(items.len() as u64).to_be_bytes());
        for Item { node, digest } in items {
            let meta = &node.meta;
            field(node.path.as_os_str().as_bytes());
            field(node.kind.word().as_bytes());
            match &node.kind {
                Kind::File { size } => field(&size.to_be_bytes()),
                Kind::Symlink { target } => field(target.as_bytes()),
                Kind::Hardlink { target } => field(target.as_os_str().as_bytes()),
                Kind::Char { major, minor } | Kind::Block { major, minor } => [major, minor].iter().for_each(|n| field(&n.to_be_bytes())),
                Kind::Dir | Kind::Fifo | Kind::Socket => {}
            }
            [meta.mode, meta.uid, meta.gid].iter().for_each(|n| field(&n.to_be_bytes()));
            [&meta.user, &meta.group].iter().for_each(|name| field(name.as_deref().unwrap_or_default().as_bytes()));
            if !(is_live && node.kind == Kind::Dir) {
                field(&meta.mtime.seconds.to_be_bytes());
                field(&meta.mtime.nanos.to_be_bytes());
            }
            field(&(meta.xattrs.len() as u64).to_be_bytes());
            meta.xattrs.iter().for_each(|(name, value)| [name, value].into_iter().for_each(|bytes| field(bytes)));
            field(digest.as_ref().map_or(&[], |digest| &digest.0));
        }
    }
}

/// Why a plan that was made before cannot be carried out as the one that would be made now; `None` when nothing has changed.
pub fn outdated(before: &Plan, now: &Plan) -> Option<String> {
    let id = &before.restore;
    if now.tree.is_none() || before.tree != now.tree {
        return Some(format!("the tree, the snapshot or eco.toml is not the one that plan {id} saw: make a new plan"));
    }
    let ways = |plan: &Plan| [("strategy", plan.strategy.clone()), ("control", plan.control.clone()), ("verify", plan.verify.join("; "))];
    let (name, was, is) = ways(before).into_iter().zip(ways(now)).map(|((name, was), (_, is))| (name, was, is)).find(|(_, was, is)| was != is)?;
    Some(format!("plan {id} says '{was}' ({name}), and it would be '{is}' now: make a new plan, or do it without one"))
}

fn differ(old: &Item, new: &Item, any_time: bool) -> Option<(&'static str, Vec<String>)> {
    let (was, is) = (&old.node.meta, &new.node.meta);
    let mut details: Vec<&str> = Vec::new();
    match (&old.node.kind, &new.node.kind) {
        (Kind::File { size: a }, Kind::File { size: b }) => {
            if a != b || old.digest != new.digest {
                return Some(("content", Vec::new()));
            }
        }
        (Kind::Symlink { target: a }, Kind::Symlink { target: b }) if a != b => details.push("link"),
        (Kind::Hardlink { target: a }, Kind::Hardlink { target: b }) if a != b => details.push("link"),
        (a, b) if std::mem::discriminant(a) == std::mem::discriminant(b) => {}
        _ => return Some(("kind", Vec::new())),
    }
    // Links have no permissions of their own, and a hard link's metadata is its file's.
    let link = matches!(new.node.kind, Kind::Symlink { .. });
    let owner = |a: &Option<std::sync::Arc<str>>, b: &Option<std::sync::Arc<str>>, ids: (u32, u32)| {
        if a.is_some() && b.is_some() { a == b } else { ids.0 == ids.1 }
    };
    if was.mode != is.mode && !link {
        details.push("mode");
    }
    if !owner(&was.user, &is.user, (was.uid, is.uid)) || !owner(&was.group, &is.group, (was.gid, is.gid)) {
        details.push("owner");
    }
    if was.mtime != is.mtime && !(any_time && new.node.kind == Kind::Dir) {
        details.push("mtime");
    }
    if was.xattrs != is.xattrs {
        details.push("xattrs");
    }
    (!details.is_empty()).then(|| ("metadata", details.into_iter().map(str::to_owned).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Meta, Mtime};

    fn item(path: &str, kind: Kind, digest: u8) -> Item {
        let digest = matches!(kind, Kind::File { .. }).then_some(Digest([digest; 32]));
        Item { node: Node { path: path.into(), kind, meta: Meta { mode: 0o644, ..Meta::default() } }, digest }
    }

    fn file(path: &str, digest: u8) -> Item {
        item(path, Kind::File { size: 1 }, digest)
    }

    fn said(was: &[Item], is: &[Item]) -> Vec<String> {
        let result = compare("s", was, is, |path| path.starts_with("logs"));
        result.differences.iter().map(|d| format!("{} {} {}", d.path.path, d.what, d.details.join(","))).collect()
    }

    #[test]
    fn every_way_to_differ_has_its_word() {
        let was = [file("a", 1), file("b", 1), file("c", 1), file("d", 1), file("same", 1)];
        let mut is = [file("a", 2), item("b", Kind::Dir, 0), file("d", 1), file("new", 1), file("same", 1)];
        is[2].node.meta.mode = 0o600;
        is[2].node.meta.mtime = Mtime { seconds: 1, nanos: 0 };
        assert_eq!(said(&was, &is), ["a content ", "b kind ", "c deleted ", "d metadata mode,mtime", "new created "]);
        let result = compare("s", &was, &is, |_| false);
        assert_eq!((result.same, result.changed(), result.count("created"), result.count("deleted")), (1, 3, 1, 1));
    }

    #[test]
    fn what_stands_aside_is_counted_and_frees_its_folder_from_its_time() {
        let mut folder = item("logs", Kind::Dir, 0);
        folder.node.path = "x".into();
        let mut later = folder.clone();
        later.node.meta.mtime = Mtime { seconds: 9, nanos: 0 };
        let aside = |path: &Path| path.starts_with("x/logs");
        let result = compare("s", &[folder.clone(), file("x/logs", 1)], &[later.clone(), file("x/logs", 2)], aside);
        assert_eq!((result.same, result.aside, result.differences.len()), (1, 1, 0));
        assert_eq!(compare("s", &[folder], &[later], aside).differences.len(), 1);
    }

    fn traced(words: &[&str], was: &[Item], is: &[Item]) -> Vec<u8> {
        let mut all = Vec::new();
        trace(words, was, is, |path| path.starts_with("logs"), &mut |bytes| all.extend_from_slice(bytes));
        all
    }

    #[test]
    fn every_change_that_a_comparison_may_go_by_leaves_a_trace() {
        let base = [file("a", 1), item("b", Kind::Symlink { target: "x".into() }, 0), item("c", Kind::Dir, 0)];
        let trace = |is: &[Item]| traced(&["s"], &base, is);
        let same = trace(&base);
        type Change<'a> = &'a dyn Fn(&mut [Item; 3]);
        let changes: [Change<'_>; 11] = [
            &|is| is[0].node.path = "aa".into(),
            &|is| is[0].node.kind = Kind::File { size: 2 },
            &|is| is[0].node.kind = Kind::Fifo,
            &|is| is[0].digest = Some(Digest([2; 32])),
            &|is| is[0].digest = None,
            &|is| is[0].node.meta.mode = 0o600,
            &|is| is[0].node.meta.gid = 7,
            &|is| is[0].node.meta.mtime.nanos = 1,
            &|is| is[0].node.meta.xattrs = vec![(b"user.a".to_vec(), b"b".to_vec())],
            &|is| is[1].node.kind = Kind::Symlink { target: "y".into() },
            &|is| is[2].node.meta.mode = 0o700,
        ];
        for (number, change) in changes.iter().enumerate() {
            let mut is = base.clone();
            change(&mut is);
            assert_ne!(trace(&is), same, "change {number} of the live tree");
            assert_ne!(traced(&["s"], &is, &base), same, "change {number} of the snapshot");
        }
        assert_ne!(traced(&["t"], &base, &base), same);
        assert_ne!(traced(&["s"], &base[..2], &base), same);
        // What stands aside leaves none, nor do the times of folders that it changes.
        let mut more = base.to_vec();
        more[2].node.meta.mtime.seconds = 1;
        more.push(file("logs/today", 1));
        assert_eq!(trace(&more), same);
        assert_ne!(traced(&["s"], &more, &base), same);
    }

    #[test]
    fn a_plan_is_outdated_by_another_tree_and_by_another_way() {
        let plan = Plan { restore: "r".into(), tree: Some("t".into()), strategy: "exchange".into(), control: "stop".into(), ..Plan::default() };
        assert_eq!(outdated(&plan, &Plan { data_loss_s: Some(7), bytes: 9, ..plan.clone() }), None);
        assert!(outdated(&plan, &Plan { tree: None, ..plan.clone() }).unwrap().starts_with("the tree"));
        assert!(outdated(&Plan { tree: None, ..plan.clone() }, &Plan { tree: None, ..plan.clone() }).is_some());
        assert!(outdated(&plan, &Plan { tree: Some("u".into()), ..plan.clone() }).unwrap().contains("new plan"));
        let weaker = outdated(&plan, &Plan { strategy: "two-renames".into(), ..plan.clone() }).unwrap();
        assert!(weaker.contains("'exchange' (strategy)") && weaker.contains("'two-renames'"), "{weaker}");
        assert!(outdated(&plan, &Plan { control: "neither".into(), ..plan.clone() }).is_some());
    }

    #[test]
    fn an_owner_is_compared_by_name_where_both_have_one() {
        let mut was = file("a", 1);
        was.node.meta.user = Some("eve".into());
        was.node.meta.uid = 5;
        let mut is = was.clone();
        is.node.meta.uid = 6;
        assert!(said(&[was.clone()], &[is.clone()]).is_empty());
        is.node.meta.user = None;
        assert_eq!(said(&[was], &[is]), ["a metadata owner"]);
    }
}
