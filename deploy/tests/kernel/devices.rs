//! Network devices that come, go and refuse, and chains on several of them.

use ouro_deploy::{Error, Hook, Problem, Step};
use ouro_rules::manifest::{Attach, XdpMode};

use crate::chain::{Chain, xdp};
use crate::support::{FAR, NEAR, bpftool, lab, sh};
use crate::{deploy, deployed, nothing_left, status, undeployed};

fn hook(interface: &str, mode: XdpMode) -> Hook {
    Hook::Xdp { interface: interface.to_owned(), mode }
}

#[test]
fn a_device_that_comes_back_is_attached_again() {
    lab(|lab| {
        let bundle = Chain::firewall().bundle(lab.folder());
        deployed(lab, &bundle);
        sh("ip link del near0");
        let dead = |is_there| Problem::DeadLink { hook: "xdp-near0".to_owned(), is_there: Some(is_there) };
        assert_eq!(status(lab).problems, [Problem::NothingLive, dead(false)]);
        assert!(deploy(lab, &bundle).unwrap_err().to_string().contains("no network device `near0`"));
        lab.cable(NEAR, FAR, "10.99.0");
        assert_eq!(status(lab).problems, [Problem::NothingLive, dead(true)]);
        let native = hook(NEAR, XdpMode::Native);
        // The generation is whole: nothing has to be loaded.
        let steps = [Step::RemoveLink { hook: native.clone() }, Step::Attach { hook: native, generation: 1 }, Step::Settle];
        assert_eq!(deployed(lab, &bundle), steps);
        assert_eq!(lab.ping(5), 5);
        lab.udp(4000, 5);
        assert_eq!(status(lab).edges[0].counts.unwrap().taken, 5);
        undeployed(lab, "fw");
    });
}

/// It was told that the device is gone, which it was not.
#[test]
fn a_link_that_somebody_detached_is_told() {
    lab(|lab| {
        let bundle = Chain::firewall().bundle(lab.folder());
        deployed(lab, &bundle);
        sh(&format!("bpftool link detach pinned {}", lab.bpffs.join("ouro/fw/links/xdp-near0").display()));
        let found = status(lab).problems;
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(found[1].to_string(), "somebody detached `xdp-near0`, or its device went and came back: deploy again");
        deployed(lab, &bundle);
        assert_eq!(status(lab).problems, []);
        undeployed(lab, "fw");
    });
}

#[test]
fn a_deployment_of_a_lost_device_can_be_undeployed() {
    lab(|lab| {
        deployed(lab, &Chain::firewall().bundle(lab.folder()));
        sh("ip link del near0");
        undeployed(lab, "fw");
    });
}

#[test]
fn attach_points_come_and_go() {
    lab(|lab| {
        // The bpffs allows no dots in names, devices may have them.
        lab.cable("near.1", "far.1", "10.99.1");
        deployed(lab, &Chain::firewall().bundle(lab.folder()));
        let steps = deployed(lab, &Chain::firewall().attach(&[xdp(NEAR), xdp("near.1")]).bundle(lab.folder()));
        assert!(steps.contains(&Step::Switch { hook: hook(NEAR, XdpMode::Native), from: 1, to: 2 }));
        assert!(steps.contains(&Step::Attach { hook: hook("near.1", XdpMode::Native), generation: 2 }));
        assert_eq!((lab.ping(5), lab.ping_address("10.99.1.1", 5)), (5, 5));
        assert_eq!(status(lab).problems, []);
        let steps = deployed(lab, &Chain::firewall().attach(&[xdp("near.1")]).bundle(lab.folder()));
        assert!(steps.contains(&Step::Detach { hook: hook(NEAR, XdpMode::Native), generation: 2 }));
        assert_eq!(status(lab).hooks.len(), 1);
        assert!(!sh("ip link show near0").contains("xdp") && sh("ip link show near.1").contains("xdp"));
        undeployed(lab, "fw");
    });
}

#[test]
fn a_hook_can_change_its_mode() {
    lab(|lab| {
        deployed(lab, &Chain::firewall().bundle(lab.folder()));
        let generic = Attach::Xdp { interface: NEAR.to_owned(), mode: XdpMode::Generic };
        deployed(lab, &Chain::firewall().attach(&[generic]).bundle(lab.folder()));
        assert!(sh("ip link show near0").contains("xdpgeneric"));
        assert_eq!((lab.ping(5), status(lab).problems), (5, vec![]));
        deployed(lab, &Chain::firewall().bundle(lab.folder()));
        assert!(!sh("ip link show near0").contains("xdpgeneric"));
        assert_eq!((lab.ping(5), status(lab).problems), (5, vec![]));
        undeployed(lab, "fw");
    });
}

#[test]
fn a_second_device_that_refuses_undoes_the_first() {
    lab(|lab| {
        lab.cable("near1", "far1", "10.99.1");
        // A driver's XDP needs packets that fit a page; the far end may not send larger ones.
        sh("ip link set near1 mtu 9000");
        lab.far("ip").args(["link", "set", "far1", "mtu", "9000"]).status().unwrap();
        let both = Chain::firewall().attach(&[xdp(NEAR), xdp("near1")]).bundle(lab.folder());
        let error = deploy(lab, &both).unwrap_err();
        assert!(
            matches!(&error, Error::Failed { undo: None, settled: false, .. }) && error.to_string().contains("MTU"),
            "{error}"
        );
        assert!(!lab.bpffs.join("ouro").exists(), "nothing is left of a first deploy");
        assert!(!sh("ip link show near0").contains("xdp"));

        deployed(lab, &Chain::firewall().bundle(lab.folder()));
        let before = status(lab);
        let flood = lab.flood();
        for _ in 0..5 {
            deploy(lab, &both).unwrap_err();
        }
        let (sent, received) = flood.stop();
        assert_eq!(sent, received);
        let after = status(lab);
        assert_eq!((&after.programs, &after.hooks, &after.problems), (&before.programs, &before.hooks, &vec![]));
        let link = bpftool(&["link", "show", "pinned", after.hooks[0].path.as_ref().unwrap().to_str().unwrap()]);
        assert_eq!(link["prog_id"].as_u64(), before.programs[0].id.map(u64::from), "switched back");
        undeployed(lab, "fw");
        nothing_left(lab, &before, &[]);
    });
}
