//! Control groups: each type of program is attached to a group of the test's own and seen to fire, and to refuse.

use ouro_deploy::{Problem, Renewal, Step};
use ouro_rules::hook;
use ouro_rules::manifest::{Attach, Cgroup, CgroupMode, Order};

use crate::chain::{Chain, count};
use crate::missing::{does_not_offer, is_locked_down, lacks_for_a_part, lacks_security_module, since};
use crate::support::{Group, Lab, lab, sh};
use crate::{counting, deploy, deployed, fires, redeployed, seen, status, undeployed};

fn place(group: &Group, section: &str) -> Cgroup {
    let attach_type = hook::find(section).expect("a type").attach_type.to_owned();
    let (mode, order) = (CgroupMode::Multi, Order::Last);
    Cgroup { path: group.path.clone(), attach_type, function: None, mode, order, revision: None }
}

fn chain(group: &Group, section: &str, body: &str) -> Chain {
    counting(section, body, Attach::Cgroup(place(group, section)))
}

/// Runs `command` in the group three times.
fn thrice(group: &Group, command: &str) -> u64 {
    for _ in 0..3 {
        let (said, done) = group.sh(command);
        assert!(done, "`{command}`: {said}");
    }
    3
}

#[test]
fn packets_in_both_directions_are_counted() {
    lab(|lab| {
        let group = Group::new("skb");
        let ping = || thrice(&group, "ping -n -q -c 1 -W 1 127.0.0.1");
        // On the loopback device a ping and its answer go out, and come in.
        let echo = "if (ctx->len < 28 || ctx->protocol != 8) return 1;";
        for section in ["cgroup_skb/egress", "cgroup_skb/ingress"] {
            let body = format!("{echo}{}return 1;", count("seen"));
            fires(lab, &chain(&group, section, &body), &|| {
                let before = seen(lab);
                ping();
                (seen(lab) - before).max(1)
            });
        }
    });
}

#[test]
fn a_group_that_may_not_send_cannot_ping() {
    lab(|lab| {
        let group = Group::new("deny");
        deployed(lab, &chain(&group, "cgroup_skb/egress", &format!("{}return 0;", count("seen"))).bundle(lab.folder()));
        let (said, done) = group.sh("ping -n -c 1 -W 1 127.0.0.1");
        assert!(!done, "{said}");
        assert!(seen(lab) >= 1);
        // Others are not in the group.
        sh("ping -n -q -c 1 -W 1 127.0.0.1");
        undeployed(lab, "fw");
        thrice(&group, "ping -n -q -c 1 -W 1 127.0.0.1");
    });
}

#[test]
fn connections_are_counted_and_refused() {
    lab(|lab| {
        let group = Group::new("connect");
        let (allow, deny) = (format!("{}return 1;", count("seen")), format!("{}return 0;", count("seen")));
        // Nobody listens at the port, so an allowed connection is refused by the other end, and a denied one by the program.
        let connect = "exec 3<>/dev/tcp/127.0.0.1/9 && exit 1 || true";
        fires(lab, &chain(&group, "cgroup/connect4", &allow), &|| thrice(&group, connect));
        assert!(group.sh(connect).0.contains("refused"));
        deployed(lab, &chain(&group, "cgroup/connect4", &deny).bundle(lab.folder()));
        let (said, _) = group.sh(connect);
        assert!(said.contains("not permitted"), "{said}");
        undeployed(lab, "fw");
    });
}

/// What a shell does in the group, and so makes a program of the type run each time.
const TRIGGERS: &[(&str, &str)] = &[
    ("cgroup/connect6", "exec 3<>/dev/tcp/::1/9 || true"),
    ("cgroup/sendmsg4", "echo x > /dev/udp/127.0.0.1/9 || true"),
    ("cgroup/sock_create", "echo x > /dev/udp/127.0.0.1/9 || true"),
    ("cgroup/sock_release", "echo x > /dev/udp/127.0.0.1/9 || true"),
    ("sockops", "exec 3<>/dev/tcp/127.0.0.1/9 || true"),
    ("cgroup/sysctl", "cat /proc/sys/net/ipv4/ip_forward"),
    ("cgroup/dev", "echo > /dev/null"),
    ("cgroup/getsockopt", "ping -n -q -c 1 -W 1 127.0.0.1"),
    ("cgroup/setsockopt", "ping -n -q -c 1 -W 1 127.0.0.1"),
];

#[test]
fn every_other_type_fires() {
    lab(|lab| {
        for (section, trigger) in TRIGGERS.iter().filter(|(section, _)| !matches!(*section, "cgroup/sendmsg4")) {
            let group = Group::new("types");
            let verdict = if *section == "sockops" { "return 0;" } else { "return 1;" };
            let chain = chain(&group, section, &format!("{}{verdict}", count("seen")));
            fires(lab, &chain, &|| {
                let before = seen(lab);
                group.sh(trigger);
                let rise = seen(lab) - before;
                assert!(rise > 0, "{section} does not fire");
                rise
            });
        }
    });
}

/// Types that need more than a shell to fire are attached and detached.
#[test]
fn every_type_of_the_table_can_be_attached() {
    lab(|lab| {
        let group = Group::new("table");
        let of_groups = hook::HOOKS.iter().filter(|hook| hook.attach() == ["cgroup"] && !hook.attach_type.is_empty());
        let mut attached = 0;
        for hook in of_groups {
            let verdict = if hook.prefix == "sockops" { 0 } else { 1 };
            let bundle = chain(&group, hook.prefix, &format!("{}return {verdict};", count("seen"))).bundle(lab.folder());
            if lacks_for_a_part(&format!("`{}` programs", hook.prefix), since(hook)) {
                continue;
            }
            deployed(lab, &bundle);
            let status = status(lab);
            assert!(status.problems.is_empty() && status.hooks[0].alive && status.hooks[0].target.is_some(), "{status:?}");
            redeployed(lab, &bundle);
            undeployed(lab, "fw");
            attached += 1;
        }
        assert!(attached >= 20, "{attached}");
    });
}

#[test]
fn hooks_of_security_modules_fire_for_a_group() {
    if does_not_offer("lsm_cgroup", "6.0") {
        return;
    }
    lab(|lab| {
        let group = Group::new("lsm");
        let function = Some("socket_connect".to_owned());
        let attach = Attach::Cgroup(Cgroup { function, ..place(&group, "lsm_cgroup") });
        let chain = counting("lsm_cgroup/socket_connect", &format!("{}return 1;", count("seen")), attach);
        if !is_locked_down(lab, "lsm_cgroup", &chain) && !lacks_security_module() {
            fires(lab, &chain, &|| thrice(&group, "echo x > /dev/udp/127.0.0.1/9"));
        }
    });
}

#[test]
fn a_group_that_takes_one_program_is_switched_and_guarded() {
    lab(|lab| {
        for mode in [CgroupMode::Override, CgroupMode::None] {
            let group = Group::new("alone");
            let section = "cgroup/connect4";
            let attach = Attach::Cgroup(Cgroup { mode, ..place(&group, section) });
            let chain = counting(section, &format!("{}return 1;", count("seen")), attach);
            fires(lab, &chain, &|| thrice(&group, "exec 3<>/dev/tcp/127.0.0.1/9 || true"));

            // A program of another deployment is not replaced.
            let bundle = chain.bundle(lab.folder());
            deployed(lab, &bundle);
            let mut other = bundle.clone();
            (other.manifest.name, other.manifest.chain) = ("other".to_owned(), "//test:other".to_owned());
            let error = deploy(lab, &other).unwrap_err().to_string();
            assert!(error.contains("is taken by program"), "{error}");
            undeployed(lab, "fw");
        }
    });
}

#[test]
fn a_group_that_is_gone_leaves_a_dead_link() {
    lab(|lab| {
        let group = Group::new("gone");
        let path = group.path.clone();
        let bundle = chain(&group, "cgroup/connect4", "return 1;").bundle(lab.folder());
        deployed(lab, &bundle);
        drop(group);
        // The kernel detaches a moment after the folder is gone.
        let is_dead = || status(lab).problems.iter().any(|problem| matches!(problem, Problem::DeadLink { .. }));
        assert!(
            (0..100).any(|_| is_dead() || {
                std::thread::sleep(std::time::Duration::from_millis(50));
                false
            }),
            "{:?}",
            status(lab)
        );
        let error = deploy(lab, &bundle).unwrap_err();
        assert!(error.to_string().contains(&format!("there is no control group `{path}`")), "{error}");
        let again = Group::new("gone");
        let steps = deployed(lab, &bundle);
        assert!(
            steps.iter().any(|step| matches!(step, Step::Attach { hook, .. } if hook.renewal() == Renewal::Link)),
            "{steps:?}"
        );
        assert_eq!(status(lab).problems, []);
        undeployed(lab, "fw");
        drop(again);
    });
}

#[test]
fn a_group_that_is_not_there_is_told_with_what_is_near() {
    lab(|lab: &Lab| {
        let group = Group::new("nearly");
        let mut place = place(&group, "cgroup/connect4");
        place.path = place.path.replace("nearly", "neraly");
        let bundle = counting("cgroup/connect4", "return 1;", Attach::Cgroup(place)).bundle(lab.folder());
        let error = deploy(lab, &bundle).unwrap_err();
        assert_eq!(error.help(), Some(format!("did you mean `{}`?", group.path)), "{error}");
        assert!(!lab.bpffs.join("ouro").join("fw").join("gen-1").exists());
    });
}
