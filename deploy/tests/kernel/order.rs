//! TCX: programs of several deployments at one place, in the order they ask for.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ouro_deploy::{Options, Problem, RemoveOptions};
use ouro_rules::bundle::Bundle;
use ouro_rules::manifest::{Attach, Direction, Order};

use crate::chain::{Chain, count, if_udp, map, save};
use crate::crash::{CHILD, for_ever, kill_after, slowness};
use crate::missing::lacks;
use crate::support::{Lab, NEAR, NEAR_ADDRESS, bpftool, lab, sh};
use crate::{deploy, deployed, fires};

fn tcx(order: Order, revision: Option<u64>) -> Attach {
    Attach::Tcx { interface: NEAR.to_owned(), direction: Direction::Ingress, order, revision }
}

fn chain(name: &str, order: Order) -> Chain {
    Chain::new(name).map(map("seen", "array", 1)).program(name, "tcx/ingress", "return -1;", &[]).attach(&[tcx(order, None)])
}

/// The names of the programs at the place, in the order they run in.
fn names() -> Vec<String> {
    let shown = bpftool(&["net", "show", "dev", NEAR]);
    let programs = shown[0]["tc"].as_array().into_iter().flatten();
    let named = |program: &serde_json::Value| {
        let id = program["prog_id"].as_u64().or(program["id"].as_u64()).expect("a program").to_string();
        bpftool(&["prog", "show", "id", &id])["name"].as_str().unwrap_or_default().to_owned()
    };
    programs.map(named).collect()
}

/// The ids at the place by the kernel's own word: old versions of bpftool know no TCX.
fn order_of(lab: &Lab, names: &[&str]) -> Vec<String> {
    let found = self::names();
    if !found.is_empty() {
        return found;
    }
    let mut bundle = chain("zz", Order::Last).bundle(lab.folder());
    bundle.manifest.name = "zz".to_owned();
    let ids = foreign(lab, &bundle);
    let name = |id: &u32| {
        let of = |name: &&&str| {
            ouro_deploy::status(&lab.bpffs).unwrap().iter().any(|found| found.name == **name && found.programs[0].id == Some(*id))
        };
        names.iter().find(of).map_or_else(String::new, |name| (*name).to_owned())
    };
    ids.iter().map(name).collect()
}

fn foreign(lab: &Lab, bundle: &Bundle) -> Vec<u32> {
    let layout = ouro_deploy::Layout::new(&lab.bpffs, &bundle.manifest.name).unwrap();
    let mut observed = ouro_deploy::observe(&lab.bpffs, &bundle.manifest.name).unwrap();
    observed.look_at(&layout, &bundle.manifest.attach);
    observed.foreign_programs.into_values().next().unwrap_or_default()
}

#[test]
fn deployments_stand_in_the_order_they_ask_for() {
    if lacks("tcx") {
        return;
    }
    lab(|lab| {
        deployed(lab, &chain("b", Order::Last).bundle(lab.folder()));
        deployed(lab, &chain("d", Order::Last).bundle(lab.folder()));
        deployed(lab, &chain("a", Order::First).bundle(lab.folder()));
        deployed(lab, &chain("c", Order::Before("d".to_owned())).bundle(lab.folder()));
        let pin = lab.bpffs.join("ouro/d/gen-1/progs/d").to_str().unwrap().to_owned();
        deployed(lab, &chain("e", Order::After(pin)).bundle(lab.folder()));
        assert_eq!(order_of(lab, &["a", "b", "c", "d", "e"]), ["a", "b", "c", "d", "e"]);
        // A new generation takes the place of the old one.
        let again = chain("c", Order::Before("d".to_owned())).bundle(lab.folder());
        ouro_deploy::deploy(&lab.bpffs, &again, &Options { force: true, ..Options::default() }, &mut |_| {}).unwrap();
        assert_eq!(order_of(lab, &["a", "b", "c", "d", "e"]), ["a", "b", "c", "d", "e"]);
        let error = deploy(lab, &chain("x", Order::After("bb".to_owned())).bundle(lab.folder())).unwrap_err();
        assert!(error.to_string().contains("nothing is deployed as `bb`"), "{error}");
        for name in ["a", "b", "c", "d", "e"] {
            ouro_deploy::undeploy(&lab.bpffs, name, &RemoveOptions::default(), &mut |_| {}).unwrap();
        }
        assert!(foreign(lab, &again).is_empty());
    });
}

/// To another place and back, by deploys and a rollback.
fn change_order(bpffs: &Path, bundle: &Bundle) {
    for order in [Order::First, Order::Last] {
        let mut moved = bundle.clone();
        moved.manifest.attach = vec![tcx(order, None)];
        ouro_deploy::deploy(bpffs, &moved, &Options::default(), &mut |_| {}).unwrap();
    }
    ouro_deploy::rollback(bpffs, &bundle.manifest.name, &mut |_| {}).unwrap();
}

/// Ends the sending, also when the test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The old link went before the new one came: packets passed meanwhile, and after a kill all of them.
#[test]
fn a_filter_is_never_away_while_its_order_changes() {
    if let Ok(arguments) = std::env::var(CHILD) {
        return for_ever(&arguments, change_order);
    }
    if lacks("tcx") {
        return;
    }
    lab(|lab| {
        let body = if_udp("return TC_ACT_SHOT;", "return -1;");
        let guard = Chain::new("guard").program("guard", "tcx/ingress", &body, &[]).attach(&[tcx(Order::Last, None)]);
        let guard = guard.bundle(lab.folder());
        deployed(lab, &chain("b", Order::Last).bundle(lab.folder()));
        save(&guard, lab.folder());
        deployed(lab, &guard);
        let socket = UdpSocket::bind((NEAR_ADDRESS, 4000)).unwrap();
        socket.set_nonblocking(true).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    lab.udp(4000, 2000)
                }
            });
            let _ends = Ends(&done);
            let pace = slowness(lab);
            for round in 0..40 / u64::from(pace.min(4)) {
                let test = "order::a_filter_is_never_away_while_its_order_changes";
                kill_after(lab, test, pace * Duration::from_micros(round * 2711 % 100_000));
                let found = ouro_deploy::status(&lab.bpffs).unwrap().into_iter().find(|found| found.name == "guard").unwrap();
                assert_eq!((&found.foreign, found.hooks[0].alive), (&vec![], true));
                let two = found.problems.contains(&Problem::TwoLinks { hook: found.hooks[0].name.clone() });
                let there = order_of(lab, &["b", "guard"]);
                assert_eq!(there.len(), 2 + usize::from(two), "a second one is told: {there:?}, {:?}", found.problems);
                if two {
                    deployed(lab, &guard);
                    assert_eq!(order_of(lab, &["b", "guard"]), ["b", "guard"], "and gone with the next deploy");
                }
            }
        });
        assert_eq!(socket.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock, "a packet passed");
        deployed(lab, &guard);
        assert_eq!(order_of(lab, &["b", "guard"]), ["b", "guard"], "and one of each");
        for name in ["b", "guard"] {
            ouro_deploy::undeploy(&lab.bpffs, name, &RemoveOptions::default(), &mut |_| {}).unwrap();
        }
        assert!(foreign(lab, &guard).is_empty());
        // It was the guard that kept them away.
        socket.set_nonblocking(false).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        lab.udp(4000, 1);
        assert_eq!(socket.recv(&mut [0; 8]).unwrap(), 4, "without it a packet passes");
    });
}

#[test]
fn an_unexpected_revision_stops_the_deploy() {
    if lacks("tcx") {
        return;
    }
    lab(|lab| {
        let with = |revision| chain("fw", Order::Last).attach(&[tcx(Order::Last, Some(revision))]).bundle(lab.folder());
        let error = deploy(lab, &with(77)).unwrap_err().to_string();
        assert!(error.contains("another revision than expected"), "{error}");
        // Before anything was ever attached the revision is 1.
        deployed(lab, &with(1));
        let error = deploy(lab, &with(77)).unwrap_err().to_string();
        assert!(error.contains("another revision than expected"), "also where a link is there: {error}");
        deployed(lab, &with(2));
        ouro_deploy::rollback(&lab.bpffs, "fw", &mut |_| {}).unwrap();
        let found = crate::status(lab);
        assert_eq!((found.generation, found.problems), (Some(1), vec![]), "what comes back asks for no revision");
        ouro_deploy::undeploy(&lab.bpffs, "fw", &RemoveOptions::default(), &mut |_| {}).unwrap();
    });
}

#[test]
fn a_program_that_shares_a_place_is_switched() {
    if lacks("tcx") {
        return;
    }
    lab(|lab| {
        let body = format!("if (ctx->protocol != 8) return -1;\n{}return -1;", count("seen"));
        let chain = crate::counting("tcx/ingress", &body, tcx(Order::First, None));
        fires(lab, &chain, &|| {
            lab.udp(4000, 11);
            11
        });
    });
}

#[test]
fn devices_are_named_by_pattern_and_label() {
    lab(|lab| {
        lab.cable("near1", "far1", "10.99.1");
        sh("ip link set dev near1 alias uplink");
        sh("ip link property add dev near0 altname a-second-name-that-is-long");
        let places = |interface: &str| {
            let attach = Attach::Xdp { interface: interface.to_owned(), mode: ouro_rules::manifest::XdpMode::Native };
            deployed(lab, &Chain::firewall().attach(&[attach]).bundle(lab.folder()));
            let status = crate::status(lab);
            assert_eq!(status.problems, []);
            status.hooks.iter().map(|hook| hook.hook.interface().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(places("near*"), ["near0", "near1"]);
        assert_eq!(places("label:uplink"), ["near1"]);
        assert_eq!(places("label:a-second-name-that-is-long"), ["near0"]);
        crate::undeployed(lab, "fw");
    });
}
