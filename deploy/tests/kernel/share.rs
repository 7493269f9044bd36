//! Several chains on one device: they run in order, and come, go and change while packets never notice.

use std::path::Path;
use std::time::Duration;

use ouro_deploy::{Change, Conflict, Error, Options, Problem, RemoveOptions, Step};
use ouro_rules::bundle::Bundle;
use ouro_rules::manifest::{Attach, SharedXdp, XdpMode};

use crate::chain::{Chain, count, if_udp, map, save, xdp};
use crate::crash::{CHILD, deploy_anew, for_ever, kill_after, slowness};
use crate::missing::precedes;
use crate::raw::link_update;
use crate::support::{Lab, NEAR, bpftool, is_gone, lab, sh};
use crate::{deploy, deployed, redeployed};

fn shared(priority: u16, proceed_on: &[&str]) -> Attach {
    let proceed_on = proceed_on.iter().map(|verdict| (*verdict).to_owned()).collect();
    Attach::SharedXdp(SharedXdp { interface: NEAR.to_owned(), mode: XdpMode::Native, priority, proceed_on })
}

/// A chain of two programs that counts the UDP packets it sees, and ends these with `verdict`; all others pass.
fn chain(name: &str, point: Attach, verdict: &str) -> Chain {
    let first = format!("{}_first", name);
    Chain::new(name)
        .map(map("seen", "array", 1))
        .program(&first, "xdp", &if_udp("JUMP(last);", "return XDP_PASS;"), &["last"])
        .program("last", "xdp", &format!("{}return {verdict};", count("seen")), &[])
        .attach(&[point])
}

fn bundle(lab: &Lab, name: &str, point: Attach, verdict: &str) -> Bundle {
    chain(name, point, verdict).bundle(lab.folder())
}

/// UDP packets that a deployment's chain saw.
fn seen(lab: &Lab, name: &str) -> u64 {
    let folder = lab.bpffs.join("ouro").join(name).join("maps");
    let pins: Vec<_> = std::fs::read_dir(folder).unwrap().map(|pin| pin.unwrap().path()).collect();
    let [pin] = pins.as_slice() else { panic!("one map: {pins:?}") };
    bpftool(&["map", "dump", "pinned", pin.to_str().unwrap()])[0]["formatted"]["value"].as_u64().unwrap()
}

/// How many of three UDP packets each of these sees.
fn of_three(lab: &Lab, names: &[&str]) -> Vec<u64> {
    let all = || names.iter().map(|name| seen(lab, name)).collect::<Vec<_>>();
    let before = all();
    lab.udp(4000, 3);
    all().iter().zip(before).map(|(after, before)| after - before).collect()
}

fn hooks(lab: &Lab) -> std::path::PathBuf {
    lab.bpffs.join("ouro-hooks")
}

/// Everything pinned for the only device.
fn pinned(lab: &Lab) -> Vec<String> {
    sh(&format!("cd {} && find . -mindepth 2 -type f | sort", hooks(lab).display())).lines().map(str::to_owned).collect()
}

/// The names of all that share the device, as each of them tells; all tell the same, and no trouble.
fn sharing(lab: &Lab) -> Vec<String> {
    let all = ouro_deploy::status(&lab.bpffs).unwrap();
    assert!(all.iter().all(|found| found.problems.is_empty() && found.hooks[0].alive), "{all:?}");
    let told: Vec<_> = all.iter().map(|found| found.hooks[0].sharing.clone()).collect();
    assert!(told.windows(2).all(|pair| pair[0] == pair[1]), "{told:?}");
    assert_eq!(pinned(lab).len(), 4, "a link and one set: {:?}", pinned(lab));
    told.into_iter().next().unwrap_or_default()
}

fn undeploy(lab: &Lab, name: &str) -> Vec<Step> {
    ouro_deploy::undeploy(&lab.bpffs, name, &RemoveOptions::default(), &mut |_| {}).unwrap().steps
}

/// Removes all of these; then nothing is left.
fn removed(lab: &Lab, names: &[&str]) {
    let all = ouro_deploy::status(&lab.bpffs).unwrap();
    names.iter().for_each(|name| drop(undeploy(lab, name)));
    assert_eq!(sh(&format!("ls {}", lab.bpffs.display())).replace("maps.debug\n", "").replace("progs.debug\n", ""), "");
    let programs = all.iter().flat_map(|found| &found.programs).filter_map(|program| program.id).map(|id| ("prog", id));
    let links = all.iter().flat_map(|found| &found.hooks).filter_map(|hook| hook.link).map(|id| ("link", id));
    assert!(programs.chain(links).all(|(kind, id)| is_gone(kind, id)), "{all:?}");
    assert!(!sh("ip link show near0").contains("xdp"));
}

#[test]
fn chains_run_in_order_until_one_decides() {
    lab(|lab| {
        deployed(lab, &bundle(lab, "late", shared(20, &["pass"]), "XDP_DROP"));
        assert_eq!((of_three(lab, &["late"]), lab.ping(3)), (vec![3], 3));
        deployed(lab, &bundle(lab, "early", shared(10, &["pass"]), "XDP_PASS"));
        assert_eq!(sharing(lab), ["early", "late"]);
        assert_eq!((of_three(lab, &["early", "late"]), lab.ping(3)), (vec![3, 3], 3), "both see what passes");
        deployed(lab, &bundle(lab, "early", shared(10, &["pass"]), "XDP_DROP"));
        assert_eq!((of_three(lab, &["early", "late"]), lab.ping(3)), (vec![3, 0], 3), "the first has the last word");
        let steps = deployed(lab, &bundle(lab, "early", shared(10, &["drop", "pass"]), "XDP_DROP"));
        assert!(steps.iter().any(|step| matches!(step, Step::Rearrange { .. })), "{steps:?}");
        assert_eq!(of_three(lab, &["early", "late"]), [3, 3]);
        deployed(lab, &bundle(lab, "early", shared(30, &["drop", "pass"]), "XDP_DROP"));
        assert_eq!(sharing(lab), ["late", "early"]);
        assert_eq!(of_three(lab, &["late", "early"]), [3, 0]);
        ouro_deploy::rollback(&lab.bpffs, "early", &mut |_| {}).unwrap();
        assert_eq!((sharing(lab), of_three(lab, &["early", "late"])), (vec!["early".to_owned(), "late".to_owned()], vec![3, 3]));
        undeploy(lab, "early");
        assert_eq!((sharing(lab), of_three(lab, &["late"])), (vec!["late".to_owned()], vec![3]));
        removed(lab, &["late"]);
    });
}

#[test]
fn the_last_verdict_counts_when_all_go_on() {
    lab(|lab| {
        deployed(lab, &bundle(lab, "a", shared(1, &["drop", "pass"]), "XDP_DROP"));
        deployed(lab, &bundle(lab, "b", shared(1, &["pass"]), "XDP_PASS"));
        assert_eq!(sharing(lab), ["a", "b"], "of equal ones the name decides");
        let server = std::net::UdpSocket::bind(("10.99.0.1", 4000)).unwrap();
        server.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let arrives = || {
            lab.udp(4000, 1);
            server.recv(&mut [0; 16]).is_ok()
        };
        assert!(arrives(), "the second says pass");
        deployed(lab, &bundle(lab, "b", shared(1, &["drop", "pass"]), "XDP_DROP"));
        assert!(!arrives());
        removed(lab, &["a", "b"]);
    });
}

#[test]
fn nothing_is_lost_while_chains_change() {
    lab(|lab| {
        let of = |name: &str, priority| bundle(lab, name, shared(priority, &["pass"]), "XDP_DROP");
        let (a, b, c) = (of("a", 10), of("b", 20), of("c", 15));
        deployed(lab, &a);
        deployed(lab, &b);
        let flood = lab.flood();
        for round in 0..10 {
            let steps = [redeployed(lab, &a), redeployed(lab, &b)].concat();
            assert_eq!(steps.iter().filter(|step| matches!(step, Step::Switch { .. })).count(), 2, "{steps:?}");
            ouro_deploy::rollback(&lab.bpffs, "b", &mut |_| {}).unwrap();
            deployed(lab, &c);
            assert_eq!(sharing(lab), ["a", "c", "b"]);
            deployed(lab, &of("c", 30 + round));
            assert_eq!(sharing(lab), ["a", "b", "c"]);
            undeploy(lab, "c");
        }
        let (sent, received) = flood.stop();
        assert!(sent > 500, "the flood was thin: {sent}");
        assert_eq!(sent, received);
        assert_eq!(of_three(lab, &["a", "b"]), [3, 0]);
        removed(lab, &["b", "a"]);
    });
}

#[test]
fn commands_at_one_device_wait_for_each_other() {
    lab(|lab| {
        let of = |name: &str, priority| bundle(lab, name, shared(priority, &["pass"]), "XDP_DROP");
        deployed(lab, &of("a", 10));
        let flood = lab.flood();
        let bundles = ["b", "c"].map(|name| [of(name, 5), of(name, 15)]);
        std::thread::scope(|scope| {
            for bundles in &bundles {
                scope.spawn(|| {
                    for round in 0..15 {
                        redeployed(lab, &bundles[round % 2]);
                        if round % 5 == 4 {
                            undeploy(lab, &bundles[0].manifest.name);
                        }
                    }
                });
            }
        });
        let (sent, received) = flood.stop();
        assert!(sent > 500, "the flood was thin: {sent}");
        assert_eq!((sent, sharing(lab)), (received, vec!["a".to_owned()]));
        removed(lab, &["a"]);
    });
}

/// A program that counts and then jumps on, `length` times in a row, and at last passes.
fn long(lab: &Lab, name: &str, priority: u16, length: usize) -> Bundle {
    let mut chain = Chain::new(name).map(map("seen", "array", 1)).attach(&[shared(priority, &["pass"])]);
    for index in 0..length {
        let (own, next) = (format!("{name}{index}"), format!("{name}{}", index + 1));
        chain = chain.program(&own, "xdp", &if_udp(&format!("JUMP({next});"), "return XDP_PASS;"), &[next.as_str()]);
    }
    chain.program(&format!("{name}{length}"), "xdp", &format!("{}return XDP_PASS;", count("seen")), &[]).bundle(lab.folder())
}

/// Kernel 6.12 began to count the tail calls of functions together with those of their callers.
#[test]
fn the_chains_of_a_device_have_33_tail_calls_together() {
    if precedes("common count of the tail calls of callers and callees", "6.12") {
        return;
    }
    lab(|lab| {
        deployed(lab, &long(lab, "a", 1, 15));
        deployed(lab, &long(lab, "b", 2, 16));
        assert_eq!(of_three(lab, &["a", "b"]), [3, 3], "16 and 17 make 33");
        let mut longer = long(lab, "b", 2, 17);
        // The program jumps all the same, and the manifest tells of one jump less.
        longer.manifest.edges.pop();
        deployed(lab, &longer);
        assert_eq!(of_three(lab, &["a", "b"]), [3, 0], "16 and 18 make 34");
        removed(lab, &["a", "b"]);
    });
}

#[test]
fn chains_that_take_too_many_tail_calls_together_are_refused() {
    lab(|lab| {
        let refused = |bundle: &Bundle| match deploy(lab, bundle).unwrap_err() {
            Error::Conflicts(conflicts) => conflicts.iter().map(Conflict::to_string).collect::<Vec<_>>(),
            other => panic!("{other}"),
        };
        deployed(lab, &long(lab, "a", 1, 15));
        let (short, longer) = (long(lab, "b", 2, 16), long(lab, "b", 2, 17));
        let sum = |b| format!("the chains that share native XDP of `near0`, priority 2 can take 34 tail calls in one run: {b}");
        assert_eq!(refused(&longer), [sum("`a` 16, `b` 18")]);
        deployed(lab, &short);
        // A generation with a longer way is no matter of its slot alone.
        assert_eq!(refused(&longer), [sum("`a` 16, `b` 18")]);
        assert_eq!(sharing(lab), ["a", "b"]);
        // Nothing runs behind a chain whose verdict is final.
        let mut last = short;
        last.manifest.attach = vec![shared(2, &[])];
        deployed(lab, &last);
        deployed(lab, &bundle(lab, "c", shared(3, &["pass"]), "XDP_PASS"));
        assert_eq!(sharing(lab), ["a", "b", "c"]);
        removed(lab, &["a", "b", "c"]);
    });
}

/// Somebody made the device run a program of their own: who leaves it need not wait for the others to take it back.
#[test]
fn a_chain_leaves_a_device_that_somebody_took() {
    lab(|lab| {
        let of = |name: &str, priority| bundle(lab, name, shared(priority, &["pass"]), "XDP_DROP");
        deployed(lab, &of("a", 10));
        deployed(lab, &of("b", 20));
        deployed(lab, &chain("c", shared(30, &[]), "XDP_PASS").attach(&[]).bundle(lab.folder()));
        let link = sh(&format!("ls {}/*/link", hooks(lab).display()));
        link_update(Path::new(link.trim()), &lab.bpffs.join("ouro/c/gen-1/progs/last"));
        let force = RemoveOptions { force: true, ..RemoveOptions::default() };
        ouro_deploy::undeploy(&lab.bpffs, "a", &force, &mut |_| {}).unwrap_or_else(|error| panic!("{error}"));
        assert!(!lab.bpffs.join("ouro/a").exists());
        let runs = bpftool(&["link", "show", "pinned", link.trim()])["prog_id"].clone();
        let theirs = bpftool(&["prog", "show", "pinned", lab.bpffs.join("ouro/c/gen-1/progs/last").to_str().unwrap()]);
        assert_eq!(runs, theirs["id"], "it is theirs still");
        undeploy(lab, "c");
        let force = Options { force_links: true, ..Options::default() };
        ouro_deploy::deploy(&lab.bpffs, &of("b", 20), &force, &mut |_| {}).unwrap();
        assert_eq!((sharing(lab), of_three(lab, &["b"])), (vec!["b".to_owned()], vec![3]));
        removed(lab, &["b"]);
    });
}

/// The record of who is called was gone, and the next deploy of anything took the dispatcher for a leftover: whatever the chains
/// had dropped came through.
#[test]
fn what_a_device_runs_outlives_its_record() {
    lab(|lab| {
        let (a, b) = (bundle(lab, "a", shared(1, &["pass"]), "XDP_DROP"), bundle(lab, "b", shared(2, &["pass"]), "XDP_DROP"));
        deployed(lab, &a);
        deployed(lab, &b);
        sh(&format!("rm {}/*/set-2/members", hooks(lab).display()));
        lab.cable("near1", "far1", "10.98.0");
        deployed(lab, &bundle(lab, "c", xdp("near1"), "XDP_PASS"));
        assert_eq!(of_three(lab, &["a", "b"]), [3, 0], "it still drops");
        let conflict = |error: Error| match error {
            Error::Conflicts(conflicts) => {
                assert!(matches!(conflicts.as_slice(), [Conflict::UnreadableShare { .. }]), "{conflicts:?}");
                conflicts[0].help()
            }
            other => panic!("{other}"),
        };
        let help = conflict(deploy(lab, &a).unwrap_err());
        let force = RemoveOptions { force: true, ..RemoveOptions::default() };
        conflict(ouro_deploy::undeploy(&lab.bpffs, "a", &force, &mut |_| {}).unwrap_err());
        undeploy(lab, "c");
        assert_eq!(of_three(lab, &["a", "b"]), [3, 0]);
        // What the help says to do. The kernel lets go of the device a moment after the last pin of its link is gone.
        sh(help.split('`').nth(1).unwrap());
        sh(&format!("for i in $(seq 100); do ip -d link show {NEAR} | grep -q prog/xdp || exit 0; sleep 0.05; done; exit 1"));
        deployed(lab, &a);
        deployed(lab, &b);
        assert_eq!((sharing(lab), of_three(lab, &["a", "b"])), (vec!["a".to_owned(), "b".to_owned()], vec![3, 0]));
        removed(lab, &["a", "b"]);
    });
}

#[test]
fn what_cannot_share_is_refused() {
    lab(|lab| {
        let refused = |bundle: &Bundle| match deploy(lab, bundle).unwrap_err() {
            Error::Conflicts(conflicts) => conflicts,
            other => panic!("{other}"),
        };
        deployed(lab, &bundle(lab, "alone", xdp(NEAR), "XDP_DROP"));
        let found = refused(&bundle(lab, "a", shared(1, &[]), "XDP_DROP"));
        assert!(matches!(found.as_slice(), [Conflict::Taken { .. }]) && found[0].help().contains("priority"), "{found:?}");
        undeploy(lab, "alone");
        deployed(lab, &bundle(lab, "a", shared(1, &["pass"]), "XDP_DROP"));
        let found = refused(&bundle(lab, "alone", xdp(NEAR), "XDP_DROP"));
        assert!(matches!(found.as_slice(), [Conflict::Shared { .. }]) && found[0].help().contains("priority"), "{found:?}");
        let Attach::SharedXdp(place) = shared(2, &["pass"]) else { panic!("it is shared") };
        let generic = Attach::SharedXdp(SharedXdp { mode: XdpMode::Generic, ..place });
        let found = refused(&bundle(lab, "b", generic.clone(), "XDP_DROP"));
        assert!(matches!(found.as_slice(), [Conflict::Unlike { .. }]), "{found:?}");
        // Alone it may change what all must have alike.
        deployed(lab, &bundle(lab, "a", generic, "XDP_DROP"));
        assert_eq!((sharing(lab), of_three(lab, &["a"])), (vec!["a".to_owned()], vec![3]));
        deployed(lab, &bundle(lab, "a", xdp(NEAR), "XDP_DROP"));
        assert!(!hooks(lab).exists());
        deployed(lab, &bundle(lab, "a", shared(1, &["pass"]), "XDP_DROP"));
        assert_eq!(of_three(lab, &["a"]), [3]);
        removed(lab, &["a"]);
    });
}

/// Two workspaces may name chains alike; their deployments are told apart by the owner, as everywhere.
#[test]
fn workspaces_do_not_clash() {
    lab(|lab| {
        let of = |workspace: &str, name: &str| {
            let mut bundle = bundle(lab, name, shared(5, &["pass"]), "XDP_PASS");
            bundle.manifest.workspace = Some(workspace.to_owned());
            bundle
        };
        deployed(lab, &of("one", "fw"));
        let Error::Conflicts(found) = deploy(lab, &of("two", "fw")).unwrap_err() else { panic!("the name is taken") };
        assert!(matches!(found.as_slice(), [Conflict::OtherChain { .. }]), "{found:?}");
        deployed(lab, &of("two", "fw2"));
        assert_eq!((sharing(lab), of_three(lab, &["fw", "fw2"])), (vec!["fw".to_owned(), "fw2".to_owned()], vec![3, 3]));
        removed(lab, &["fw", "fw2"]);
    });
}

#[test]
fn a_plan_says_who_runs_before_and_after() {
    lab(|lab| {
        deployed(lab, &bundle(lab, "a", shared(10, &["pass"]), "XDP_PASS"));
        deployed(lab, &bundle(lab, "c", shared(30, &["pass"]), "XDP_PASS"));
        let wanted = bundle(lab, "b", shared(20, &["drop", "pass"]), "XDP_PASS");
        let plan = ouro_deploy::plan(&lab.bpffs, &wanted, &Options::default()).unwrap();
        let words: Vec<String> = plan.changes.iter().map(Change::to_string).collect();
        let expected = "attach point native XDP of `near0`, priority 20: runs generation 1, after `a` and before `c`, goes on after drop, pass";
        assert!(words.iter().any(|words| words == expected), "{words:?}");
        assert!(!plan.changes.iter().any(|change| matches!(change, Change::Foreign { .. })), "{words:?}");
        removed(lab, &["a", "c"]);
    });
}

#[test]
fn a_slot_somebody_overwrote_is_taken_back() {
    lab(|lab| {
        let (a, b) = (bundle(lab, "a", shared(10, &["pass"]), "XDP_PASS"), bundle(lab, "b", shared(20, &["pass"]), "XDP_PASS"));
        deployed(lab, &a);
        deployed(lab, &b);
        let theirs = lab.bpffs.join("ouro/b/gen-1/progs/last");
        sh(&format!(
            "bpftool map update pinned {}/*/set-2/table key 0 0 0 0 value pinned {}",
            hooks(lab).display(),
            theirs.display()
        ));
        let problems = |name: &str| {
            let all = ouro_deploy::status(&lab.bpffs).unwrap();
            all.into_iter().find(|found| found.name == name).unwrap().problems
        };
        let foreign = problems("a").into_iter().filter(|problem| matches!(problem, Problem::ForeignProgram { .. })).count();
        assert_eq!((foreign, problems("b")), (1, vec![]));
        let Error::Conflicts(found) = deploy(lab, &a).unwrap_err() else { panic!("somebody changed it") };
        assert!(matches!(found.as_slice(), [Conflict::Changed { .. }]), "{found:?}");
        let force = Options { force_links: true, ..Options::default() };
        ouro_deploy::deploy(&lab.bpffs, &a, &force, &mut |_| {}).unwrap();
        assert_eq!((sharing(lab), of_three(lab, &["a", "b"])), (vec!["a".to_owned(), "b".to_owned()], vec![3, 3]));
        removed(lab, &["b", "a"]);
    });
}

#[test]
fn a_deployment_removed_by_hand_is_forgotten() {
    lab(|lab| {
        deployed(lab, &bundle(lab, "a", shared(10, &["pass"]), "XDP_PASS"));
        deployed(lab, &bundle(lab, "b", shared(20, &["pass"]), "XDP_PASS"));
        sh(&format!("rm -r {}", lab.bpffs.join("ouro/a").display()));
        deployed(lab, &bundle(lab, "c", shared(30, &["pass"]), "XDP_PASS"));
        assert_eq!((sharing(lab), of_three(lab, &["b", "c"])), (vec!["b".to_owned(), "c".to_owned()], vec![3, 3]));
        removed(lab, &["b", "c"]);
    });
}

#[test]
fn a_chain_without_its_record_is_called_until_it_is_undeployed() {
    lab(|lab| {
        let (a, b) = (bundle(lab, "a", shared(10, &["pass"]), "XDP_PASS"), bundle(lab, "b", shared(20, &["pass"]), "XDP_PASS"));
        deployed(lab, &a);
        deployed(lab, &b);
        let forget = || sh(&format!("rm -r {}/gen-*", lab.bpffs.join("ouro/a").display()));
        forget();
        let found = ouro_deploy::status(&lab.bpffs).unwrap();
        assert!(matches!(found[0].problems.as_slice(), [Problem::RecordGone { .. }]), "{found:?}");
        deployed(lab, &a);
        assert_eq!((sharing(lab), of_three(lab, &["a", "b"])), (vec!["a".to_owned(), "b".to_owned()], vec![3, 3]));
        forget();
        ouro_deploy::undeploy(&lab.bpffs, "a", &RemoveOptions::default(), &mut |_| {}).unwrap();
        assert_eq!((sharing(lab), of_three(lab, &["b"])), (vec!["b".to_owned()], vec![3]));
        removed(lab, &["b"]);
    });
}

#[test]
fn a_device_that_goes_takes_its_dispatcher_along() {
    lab(|lab| {
        let (a, b) = (bundle(lab, "a", shared(1, &["pass"]), "XDP_DROP"), bundle(lab, "b", shared(2, &["pass"]), "XDP_DROP"));
        deployed(lab, &a);
        deployed(lab, &b);
        sh("ip link del near0");
        let all = ouro_deploy::status(&lab.bpffs).unwrap();
        assert!(all.iter().all(|found| !found.problems.is_empty() && !found.hooks[0].alive), "{all:?}");
        lab.cable(NEAR, "far0", "10.99.0");
        deployed(lab, &a);
        deployed(lab, &b);
        assert_eq!((sharing(lab), of_three(lab, &["a", "b"])), (vec!["a".to_owned(), "b".to_owned()], vec![3, 0]));
        sh("ip link del near0");
        lab.cable(NEAR, "far0", "10.99.0");
        removed(lab, &["a", "b"]);
    });
}

/// One of the three comes and goes, changes its place, its program, and goes back.
fn change_all(bpffs: &Path, bundle: &Bundle) {
    let mut elsewhere = bundle.clone();
    elsewhere.manifest.attach = vec![shared(30, &["pass"])];
    deploy_anew(bpffs, bundle);
    deploy_anew(bpffs, bundle);
    ouro_deploy::deploy(bpffs, &elsewhere, &Options::default(), &mut |_| {}).unwrap();
    ouro_deploy::rollback(bpffs, "b", &mut |_| {}).unwrap();
    ouro_deploy::undeploy(bpffs, "b", &RemoveOptions::default(), &mut |_| {}).unwrap();
}

fn come_and_go(bpffs: &Path, bundle: &Bundle) {
    deploy_anew(bpffs, bundle);
    ouro_deploy::undeploy(bpffs, &bundle.manifest.name, &RemoveOptions::default(), &mut |_| {}).unwrap();
}

#[test]
fn killed_first_deploys_leave_nothing() {
    if let Ok(arguments) = std::env::var(CHILD) {
        return for_ever(&arguments, come_and_go);
    }
    lab(|lab| {
        save(&bundle(lab, "a", shared(1, &["pass"]), "XDP_PASS"), lab.folder());
        let pace = slowness(lab);
        for round in 0..40u64 {
            kill_after(lab, "share::killed_first_deploys_leave_nothing", pace * Duration::from_micros(round * 3571 % 80_000));
            removed(lab, &["a"]);
        }
    });
}

#[test]
fn killed_changes_lose_no_packet() {
    if let Ok(arguments) = std::env::var(CHILD) {
        return for_ever(&arguments, change_all);
    }
    lab(|lab| {
        let of = |name: &str, priority| bundle(lab, name, shared(priority, &["pass"]), "XDP_PASS");
        let (a, b, c) = (of("a", 10), of("b", 15), of("c", 20));
        deployed(lab, &a);
        deployed(lab, &c);
        save(&b, lab.folder());
        let flood = lab.flood();
        let pace = slowness(lab);
        for round in 0..60 / u64::from(pace.min(3)) {
            kill_after(lab, "share::killed_changes_lose_no_packet", pace * Duration::from_micros(round * 7919 % 150_000));
            let all = ouro_deploy::status(&lab.bpffs).unwrap();
            let others = all.iter().filter(|found| found.name != "b");
            assert!(others.into_iter().all(|found| found.problems.is_empty() && found.hooks[0].alive), "{all:?}");
            if round % 10 == 9 {
                // Whoever comes next removes what is left.
                redeployed(lab, &a);
                let sets = sh(&format!("ls {}/*", hooks(lab).display()));
                assert_eq!(sets.matches("set-").count(), 1, "{sets}");
            }
        }
        let (sent, received) = flood.stop();
        assert!(sent > 500, "the flood was thin: {sent}");
        assert_eq!(sent, received);
        deployed(lab, &b);
        assert_eq!((sharing(lab), of_three(lab, &["a", "b", "c"])), (["a", "b", "c"].map(str::to_owned).into(), vec![3, 3, 3]));
        removed(lab, &["a", "b", "c"]);
    });
}
