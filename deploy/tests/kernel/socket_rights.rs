//! Single sockets, and who has not all rights: what takes descriptors of other processes, and what is told instead.

use ouro_deploy::{ErrorKind, RemoveOptions};

use crate::sockets::{arrives, end, filter, holder, of_process, pair};
use crate::support::{Lab, lab};
use crate::{deploy, deployed, redeployed, status, undeployed};

/// A thread that may not look into a process is told so, instead of taking its socket for closed and leaving the filter there.
#[test]
fn who_may_not_take_descriptors_changes_nothing() {
    lab(|lab| {
        // This process has no copy, which it could take.
        let child = holder(pair().0);
        let bundle = filter(lab, of_process(child.id(), 0), 0);
        deployed(lab, &bundle);
        redeployed(lab, &bundle);
        let help = "run it as root, or give it CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH";
        std::thread::scope(|scope| {
            let refused = || {
                // Gives up all rights but those to deploy what attaches nowhere.
                ouro_deploy::limit_to_change(&lab.bpffs, "nothing").unwrap();
                let removed = ouro_deploy::undeploy(&lab.bpffs, "fw", &RemoveOptions::default(), &mut |_| {}).unwrap_err();
                assert!(removed.help().unwrap().starts_with(help), "{:?}", removed.help());
                let back = ouro_deploy::rollback(&lab.bpffs, "fw", &mut |_| {}).unwrap_err();
                for error in [removed, back, deploy(lab, &bundle).unwrap_err()] {
                    assert_eq!(error.kind(), ErrorKind::NotPermitted, "{error}");
                    assert!(error.to_string().contains("`descriptor 0 of process"), "which it is: {error}");
                }
                let shown = status(lab);
                assert!(!shown.hooks[0].alive && shown.problems.is_empty() && shown.generation == Some(2), "{shown:?}");
                assert!(shown.hooks[0].unseen.as_ref().unwrap().contains("which had it, may not be looked into"), "{shown:?}");
            };
            scope.spawn(refused).join().unwrap();
            // What a deploy keeps is enough.
            let enough = || {
                ouro_deploy::limit_to_change(&lab.bpffs, "fw").unwrap();
                redeployed(lab, &bundle);
                undeployed(lab, "fw");
            };
            scope.spawn(enough).join().unwrap();
        });
        end(child);
    });
}

/// Runs `then` as a thread that may change what is deployed under this name, and no more.
fn limited(lab: &Lab, name: &str, then: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let run = || {
            ouro_deploy::limit_to_change(&lab.bpffs, name).unwrap();
            then();
        };
        scope.spawn(run).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

/// Its filter was told as gone, and stayed when the deployment was removed.
#[test]
fn a_socket_that_was_handed_on_is_not_told_as_closed_by_who_may_not_look() {
    lab(|lab| {
        let wire = pair();
        let (first, second) = (holder(wire.0.try_clone().unwrap()), holder(wire.0.try_clone().unwrap()));
        deployed(lab, &filter(lab, of_process(first.id(), 0), 0));
        end(first);
        let near = wire.1;
        drop(wire.0);
        limited(lab, "nothing", || {
            let found = status(lab);
            assert!(found.problems.is_empty() && found.hooks[0].unseen.is_some(), "{found:?}");
            let refused = ouro_deploy::undeploy(&lab.bpffs, "fw", &RemoveOptions::default(), &mut |_| {}).unwrap_err();
            assert!(refused.to_string().contains("it was not found, and "), "{refused}");
            assert!(refused.help().unwrap().contains("`ouro undeploy --force` leaves its stub there"), "{refused}");
        });
        assert!(status(lab).hooks[0].alive, "who may look sees it");
        limited(lab, "nothing", || {
            let force = RemoveOptions { force: true, ..RemoveOptions::default() };
            let done = ouro_deploy::undeploy(&lab.bpffs, "fw", &force, &mut |_| {}).unwrap();
            assert_eq!(done.left.len(), 1, "which is said");
        });
        assert!(!lab.bpffs.join("ouro").exists());
        drop(near);
        end(second);
    });
}

/// The record of what was kept names a socket, and nobody kept the rights to look at that.
#[test]
fn what_was_kept_is_removed_by_who_may_not_look_at_its_socket() {
    lab(|lab| {
        let wire = pair();
        let child = holder(wire.0.try_clone().unwrap());
        deployed(lab, &filter(lab, of_process(child.id(), 0), 0));
        let keep = RemoveOptions { keep_maps: true, ..RemoveOptions::default() };
        limited(lab, "fw", || drop(ouro_deploy::undeploy(&lab.bpffs, "fw", &keep, &mut |_| {}).unwrap()));
        assert!(arrives(&wire));
        limited(lab, "fw", || {
            assert!(ouro_deploy::observe(&lab.bpffs, "fw").unwrap().unseen.is_empty());
            undeployed(lab, "fw");
        });
        end(child);
    });
}
