//! eco-restore, for real: the shop is snapshotted, broken and rolled back.

use crate::harness::World;

#[test]
fn a_broken_shop_is_rolled_back_and_runs() {
    let world = World::shop();
    let snapshot = world.snapshot();
    let before = world.tree("config");
    world.break_it("config");
    let done = world.run("eco-restore").arg("latest-good").exits(0);
    let restore = done.last("restore");
    assert_eq!((&restore["phase"], &restore["snapshot"], &restore["by"]), (&"completed".into(), &snapshot["id"], &"operator".into()));
    world.tree("config").same_as(&before);
    assert_eq!(world.health().unwrap()["overall_health"], "healthy");
}
