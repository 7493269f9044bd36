//! Traffic control: TCX links, and clsact filters as on kernels before 6.6.

use ouro_deploy::{Conflict, Error, Hook, Options, Problem, Step};
use ouro_rules::manifest::{Attach, Direction, TcVia};

use crate::chain::{Chain, count, if_udp, map};
use crate::missing::lacks;
use crate::stopped::stopped;
use crate::support::{NEAR, bpftool, is_gone, kernel_is_at_least, lab, sh};
use crate::{deploy, deployed, redeployed, status, undeployed};

fn tc(direction: Direction, priority: u16, via: TcVia) -> Attach {
    Attach::Tc { interface: NEAR.to_owned(), direction, priority, via, handle: 1 }
}

/// UDP is dropped by the second program, everything else passes on.
fn firewall(attach: &[Attach]) -> Chain {
    Chain::new("fw")
        .map(map("seen", "array", 1))
        .program("parse", "tc", &if_udp("JUMP(block);", "JUMP(allow);"), &["block", "allow"])
        .program("block", "classifier", &format!("{}return TC_ACT_SHOT;", count("seen")), &[])
        .program("allow", "tc/allow", "return TC_ACT_UNSPEC;", &[])
        .attach(attach)
}

/// A packet that is dropped shows in the counts; one that passes is answered.
fn works(lab: &crate::support::Lab) {
    let taken = || status(lab).edges.iter().map(|edge| edge.counts.unwrap().taken).collect::<Vec<_>>();
    let before = taken();
    assert_eq!(lab.ping(10), 10);
    lab.udp(4000, 5);
    let after = taken();
    let edges: Vec<String> = status(lab).edges.iter().map(|edge| edge.to.clone()).collect();
    let rise = |name: &str| edges.iter().position(|to| to == name).map(|index| after[index] - before[index]).unwrap();
    assert_eq!(rise("block"), 5);
    assert!(rise("allow") >= 10);
}

/// TCX came with kernel 6.6.
fn has_tcx() -> bool {
    kernel_is_at_least(6, 6)
}

#[test]
fn the_mechanism_is_the_kernels_best() {
    lab(|lab| {
        deployed(lab, &firewall(&[tc(Direction::Ingress, 1, TcVia::Auto)]).bundle(lab.folder()));
        assert_eq!(matches!(status(lab).hooks[0].hook, Hook::Tcx { .. }), has_tcx());
        works(lab);
        undeployed(lab, "fw");
        if !has_tcx() {
            let error = deploy(lab, &firewall(&[tc(Direction::Ingress, 1, TcVia::Tcx)]).bundle(lab.folder())).unwrap_err();
            assert!(error.help().is_some_and(|help| help.contains("6.6")), "{error}");
        }
    });
}

#[test]
fn tcx_links_carry_a_chain() {
    if lacks("tcx") {
        return;
    }
    lab(|lab| {
        let bundle = firewall(&[tc(Direction::Ingress, 1, TcVia::Auto)]).bundle(lab.folder());
        deployed(lab, &bundle);
        works(lab);
        let hook = status(lab).hooks.remove(0);
        assert_eq!(hook.hook, Hook::new(&tc(Direction::Ingress, 1, TcVia::Tcx), true));
        let link = bpftool(&["link", "show", "pinned", hook.path.unwrap().to_str().unwrap()]);
        assert_eq!((link["id"].as_u64(), link["prog_id"].as_u64()), (hook.link.map(u64::from), hook.program.map(u64::from)));
        assert!(!sh("tc qdisc show").contains("clsact"));
        let flood = lab.flood();
        (0..20).for_each(|_| drop(redeployed(lab, &bundle)));
        let (sent, received) = flood.stop();
        assert_eq!(sent, received);
        works(lab);
        undeployed(lab, "fw");
    });
}

#[test]
fn clsact_filters_carry_a_chain() {
    lab(|lab| {
        let bundle = firewall(&[tc(Direction::Ingress, 7, TcVia::Clsact)]).bundle(lab.folder());
        let steps = deployed(lab, &bundle);
        assert!(steps.contains(&Step::AddQdisc { interface: NEAR.to_owned() }));
        works(lab);
        assert!(sh("tc filter show dev near0 ingress").contains("pref 7"));
        let first = status(lab);
        assert_eq!((first.problems.as_slice(), first.hooks[0].link), (&[][..], None));
        let flood = lab.flood();
        (0..20).for_each(|_| drop(redeployed(lab, &bundle)));
        let (sent, received) = flood.stop();
        assert_eq!(sent, received);
        works(lab);
        assert_eq!(deployed(lab, &bundle), []);
        assert!(is_gone("prog", first.programs[0].id.unwrap()));
        undeployed(lab, "fw");
        assert!(!sh("tc qdisc show").contains("clsact"), "the qdisc was ours");
    });
}

#[test]
fn filters_of_others_stay() {
    lab(|lab| {
        deployed(lab, &Chain { name: "other".to_owned(), ..firewall(&[]) }.bundle(lab.folder()));
        let theirs = lab.bpffs.join("ouro/other/gen-1/progs/allow");
        sh(&format!(
            "tc qdisc add dev near0 clsact && tc filter add dev near0 ingress pref 7 handle 1 bpf da object-pinned {}",
            theirs.display()
        ));
        let taken = firewall(&[tc(Direction::Ingress, 7, TcVia::Clsact)]).bundle(lab.folder());
        let Error::Conflicts(conflicts) = deploy(lab, &taken).unwrap_err() else { panic!("the place is taken") };
        assert!(matches!(conflicts.as_slice(), [Conflict::Taken { .. }]), "{conflicts:?}");
        let bundle =
            firewall(&[tc(Direction::Ingress, 6, TcVia::Clsact), tc(Direction::Egress, 6, TcVia::Clsact)]).bundle(lab.folder());
        deployed(lab, &bundle);
        assert!(
            sh("tc filter show dev near0 ingress").contains("pref 6") && sh("tc filter show dev near0 egress").contains("pref 6")
        );
        assert_eq!(lab.ping(5), 5);
        ouro_deploy::undeploy(&lab.bpffs, "fw", &Default::default(), &mut |_| {}).unwrap();
        let left = sh("tc filter show dev near0 ingress");
        assert!(left.contains("pref 7") && !left.contains("pref 6"), "{left}");
        assert!(sh("tc qdisc show").contains("clsact"), "the qdisc was not ours");
    });
}

#[test]
fn a_filter_somebody_replaced_is_theirs() {
    lab(|lab| {
        let bundle = firewall(&[tc(Direction::Ingress, 7, TcVia::Clsact)]).bundle(lab.folder());
        deployed(lab, &bundle);
        let before = status(lab);
        let theirs = lab.bpffs.join("ouro/fw/gen-1/progs/allow");
        sh(&format!("tc filter replace dev near0 ingress pref 7 handle 1 bpf da object-pinned {}", theirs.display()));
        assert!(
            matches!(status(lab).problems.as_slice(), [Problem::NothingLive, Problem::ForeignProgram { .. }]),
            "{:?}",
            status(lab).problems
        );
        let Error::Conflicts(conflicts) = deploy(lab, &bundle).unwrap_err() else { panic!("it is theirs") };
        assert!(matches!(conflicts.as_slice(), [Conflict::Changed { .. }]), "{conflicts:?}");
        ouro_deploy::undeploy(&lab.bpffs, "fw", &Default::default(), &mut |_| {}).unwrap();
        assert!(sh("tc filter show dev near0 ingress").contains("pref 7"), "their filter stays");
        assert!(is_gone("prog", before.programs[0].id.unwrap()) && !lab.bpffs.join("ouro").exists());
    });
}

#[test]
fn a_filter_is_not_forgotten_in_another_namespace() {
    lab(|lab| {
        let bundle = firewall(&[tc(Direction::Ingress, 7, TcVia::Clsact)]).bundle(lab.folder());
        deployed(lab, &bundle);
        let error = elsewhere(|| ouro_deploy::undeploy(&lab.bpffs, "fw", &Default::default(), &mut |_| {}).unwrap_err());
        assert!(error.to_string().contains("another network namespace"), "{error}");
        works(lab);
        undeployed(lab, "fw");
    });
}

/// Does something in a new network namespace, on a thread of its own, so that this one stays where it is.
fn elsewhere<T: Send>(what: impl Fn() -> T + Sync) -> T {
    let go = || {
        // SAFETY: no pointers.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0);
        what()
    };
    std::thread::scope(|scope| scope.spawn(go).join().unwrap())
}

/// A filter that nobody can see from there was told as gone, and everybody was to deploy again.
#[test]
fn a_status_from_another_namespace_says_where_a_deployment_is() {
    lab(|lab| {
        let bundle = firewall(&[tc(Direction::Ingress, 7, TcVia::Clsact)]).bundle(lab.folder());
        deployed(lab, &bundle);
        let here = status(lab);
        assert!(here.hooks[0].namespace.is_some() && !here.hooks[0].elsewhere);
        let seen_elsewhere = |name: Option<&str>| {
            let there = elsewhere(|| status(lab));
            assert_eq!((there.generation, &there.problems), (Some(1), &vec![]));
            let hook = &there.hooks[0];
            assert_eq!((hook.alive, hook.elsewhere, hook.namespace), (false, true, here.hooks[0].namespace));
            assert_eq!(hook.netns.as_deref(), name);
        };
        seen_elsewhere(None);
        sh("mkdir -p /run/netns && mount -t tmpfs names /run/netns && touch /run/netns/lan");
        sh("mount --bind /proc/self/ns/net /run/netns/lan");
        seen_elsewhere(Some("lan"));
        let error = elsewhere(|| deploy(lab, &bundle).unwrap_err());
        assert!(error.to_string().contains("say which with `--netns lan`"), "{error}");
        undeployed(lab, "fw");
    });
}

/// A first deploy that was stopped was told as live, and as if nothing were wrong.
#[test]
fn what_never_was_live_is_not_taken_for_live_elsewhere() {
    lab(|lab| {
        let bundle = firewall(&[tc(Direction::Ingress, 7, TcVia::Clsact)]).bundle(lab.folder());
        stopped(lab, &bundle, &Options::default(), |step| matches!(step, Step::Attach { .. }), &|| {});
        let there = elsewhere(|| status(lab));
        assert_eq!((there.generation, there.problems), (None, vec![Problem::NothingLive]));
        undeployed(lab, "fw");
    });
}

#[test]
fn a_chain_can_change_its_mechanism() {
    if lacks("tcx") {
        return;
    }
    lab(|lab| {
        deployed(lab, &firewall(&[tc(Direction::Ingress, 7, TcVia::Clsact)]).bundle(lab.folder()));
        let flood = lab.flood();
        deployed(lab, &firewall(&[tc(Direction::Ingress, 7, TcVia::Tcx)]).bundle(lab.folder()));
        let (sent, received) = flood.stop();
        assert_eq!(sent, received, "the new one is attached before the old one goes");
        works(lab);
        // Removing a qdisc drops packets (the kernel stops the device's queues for it), so that waits.
        assert!(sh("tc qdisc show").contains("clsact") && !sh("tc filter show dev near0 ingress").contains("bpf"));
        undeployed(lab, "fw");
        assert!(!sh("tc qdisc show").contains("clsact"));
    });
}
