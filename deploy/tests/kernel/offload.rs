//! Chains that a network card runs itself, on netdevsim: a device that takes programs and maps as cards do, and runs nothing.

use std::collections::BTreeSet;
use std::path::Path;

use ouro_deploy::{Conflict, Error, Options, RemoveOptions, Step};
use ouro_rules::manifest::{Attach, Layout, MapSpec, OnChange, PacketTest, XdpMode};

use crate::chain::{Chain, DROP, count, map, xdp};
use crate::missing::lacks_netdevsim;
use crate::support::{Lab, NEAR, bpftool, is_gone, lab, sh};
use crate::variants::variants;
use crate::{deploy, deployed, map_pin, nothing_left, redeployed, status, undeployed};

const KNOBS: &str = "/sys/kernel/debug/netdevsim";
const BUS: &str = "/sys/bus/netdevsim";

/// A network card of this network namespace, with one port.
struct Card {
    number: u32,
    device: String,
}

impl Card {
    /// Tests have numbers of their own: those are the machine's.
    fn new(number: u32) -> Card {
        let before = devices();
        sh(&format!("echo '{number} 1' > {BUS}/new_device"));
        let device = devices().difference(&before).next().expect("the card has a port").clone();
        Card { number, device }
    }

    /// Has the driver refuse something from now on: programs or maps.
    fn refuse(&self, what: &str) {
        sh(&format!("echo N > {KNOBS}/netdevsim{}/{what}", self.number));
    }

    /// The id of the program that runs on the card; 0 for none.
    fn runs(&self) -> u32 {
        sh(&format!("cat {KNOBS}/netdevsim{}/ports/0/bpf_offloaded_id", self.number)).trim().parse().expect("an id")
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        let _ = std::fs::write(Path::new(BUS).join("del_device"), self.number.to_string());
    }
}

/// The network devices of this namespace.
fn devices() -> BTreeSet<String> {
    let name = |line: &str| line.split(": ").nth(1).and_then(|name| name.split('@').next()).expect("a name").to_owned();
    sh("ip -o link").lines().map(name).collect()
}

fn offload(device: &str) -> Attach {
    Attach::Xdp { interface: device.to_owned(), mode: XdpMode::Offload }
}

/// A chain of one program with one map, which netdevsim gives two elements at most.
fn chain(seen: MapSpec, attach: Attach) -> Chain {
    let body = format!("{}return XDP_PASS;", count("seen"));
    Chain::new("fw").map(seen).program("watch", "xdp", &body, &[]).attach(&[attach])
}

/// Numbers by numbers.
fn numbers(on_change: OnChange) -> MapSpec {
    let int = |bytes| Some(Layout::Int { bytes, signed: false });
    MapSpec { on_change, key_layout: int(4), value_layout: int(8), ..map("seen", "hash", 2) }
}

fn conflicts(error: Error) -> Vec<Conflict> {
    let Error::Conflicts(conflicts) = error else { panic!("{error:?}") };
    conflicts
}

fn put(lab: &Lab, key: u32, value: u64) {
    let bytes = |bytes: &[u8]| bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(" ");
    let (pin, key, value) = (map_pin(lab, "seen"), bytes(&key.to_ne_bytes()), bytes(&value.to_ne_bytes()));
    sh(&format!("bpftool map update pinned {} key {key} value {value}", pin.display()));
}

/// What the live map holds, and the device whose card has it.
fn held(lab: &Lab) -> (Vec<(u32, u64)>, Option<u64>) {
    let pin = map_pin(lab, "seen");
    let byte = |byte: &serde_json::Value| u8::from_str_radix(byte.as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
    let bytes = |bytes: &serde_json::Value| bytes.as_array().unwrap().iter().map(byte).collect::<Vec<_>>();
    let dump = bpftool(&["map", "dump", "pinned", pin.to_str().unwrap()]);
    let element = |element: &serde_json::Value| {
        let (key, value) = (bytes(&element["key"]), bytes(&element["value"]));
        (u32::from_ne_bytes(key.try_into().unwrap()), u64::from_ne_bytes(value.try_into().unwrap()))
    };
    let shown = bpftool(&["map", "show", "pinned", pin.to_str().unwrap()]);
    (dump.as_array().unwrap().iter().map(element).collect(), shown["dev"]["ifindex"].as_u64())
}

#[test]
fn a_device_without_such_a_card_is_named_before_anything_is_loaded() {
    lab(|lab| {
        for device in [NEAR, "lo"] {
            let bundle = chain(map("seen", "array", 1), offload(device)).bundle(lab.folder());
            let (bpffs, options) = (&lab.bpffs, Options::default());
            let tried = [
                ouro_deploy::plan(bpffs, &bundle, &options).unwrap_err(),
                ouro_deploy::rehearse(bpffs, &bundle, &options, &mut |_| {}).unwrap_err(),
                ouro_deploy::deploy(bpffs, &bundle, &options, &mut |_| {}).unwrap_err(),
            ];
            for error in tried {
                let found = conflicts(error);
                let [conflict] = found.as_slice() else { panic!("{found:?}") };
                let said = format!(
                    "cannot attach to offload XDP of `{device}`: `{device}` has no network card that runs programs, or it takes none now"
                );
                assert_eq!(conflict.to_string(), said);
                assert!(conflict.help().contains("use `mode = \"native\"`"), "{}", conflict.help());
            }
            assert!(!bpffs.join("ouro").exists());
        }
        // The same where the chain runs in another mode already: it was told that the card does not take the map.
        deployed(lab, &chain(numbers(OnChange::Reset), xdp(NEAR)).bundle(lab.folder()));
        let found = conflicts(deploy(lab, &chain(numbers(OnChange::Reset), offload(NEAR)).bundle(lab.folder())).unwrap_err());
        assert!(matches!(found.as_slice(), [Conflict::NoPlace { .. }]), "{found:?}");
        assert_eq!(status(lab).problems, []);
        undeployed(lab, "fw");
    });
}

#[test]
fn a_card_runs_a_chain_and_takes_the_next_in_its_place() {
    if lacks_netdevsim() {
        return;
    }
    lab(|lab| {
        let card = Card::new(71);
        let chain = chain(numbers(OnChange::Keep), offload(&card.device));
        ouro_deploy::rehearse(&lab.bpffs, &chain.bundle(lab.folder()), &Options::default(), &mut |_| {}).unwrap();
        assert!(!lab.bpffs.join("ouro").exists());
        deployed(lab, &chain.bundle(lab.folder()));
        let first = status(lab);
        assert_eq!((&first.problems, first.hooks[0].alive, Some(card.runs())), (&vec![], true, first.programs[0].id));
        assert!(sh(&format!("ip -d link show {}", card.device)).contains("xdpoffload"));
        put(lab, 7, 70);
        assert_eq!(deployed(lab, &chain.bundle(lab.folder())), [], "it is live");

        let steps = redeployed(lab, &chain.bundle(lab.folder()));
        assert!(steps.iter().any(|step| matches!(step, Step::Switch { .. })), "{steps:?}");
        let second = status(lab);
        assert_eq!((&second.problems, Some(card.runs())), (&vec![], second.programs[0].id));
        assert_ne!(first.programs[0].id, second.programs[0].id);
        let (elements, index) = held(lab);
        assert_eq!(elements, [(7, 70)]);
        assert_eq!(index, second.hooks[0].ifindex.map(u64::from));

        ouro_deploy::rollback(&lab.bpffs, "fw", &mut |_| {}).unwrap();
        assert_eq!(Some(card.runs()), first.programs[0].id);
        undeployed(lab, "fw");
        assert_eq!(card.runs(), 0);
    });
}

#[test]
fn state_goes_over_to_a_card_and_back() {
    if lacks_netdevsim() {
        return;
    }
    lab(|lab| {
        let card = Card::new(72);
        let bundle = |attach, on_change| chain(numbers(on_change), attach).bundle(lab.folder());
        deployed(lab, &bundle(xdp(&card.device), OnChange::Keep));
        put(lab, 7, 70);
        let found = conflicts(deploy(lab, &bundle(offload(&card.device), OnChange::Keep)).unwrap_err());
        let [Conflict::MapChanged { remedy: Some(OnChange::Copy), differences, .. }] = found.as_slice() else {
            panic!("{found:?}")
        };
        assert_eq!(differences[0].pinned, "none");
        deployed(lab, &bundle(offload(&card.device), OnChange::Copy));
        let index = status(lab).hooks[0].ifindex.map(u64::from);
        assert_eq!(held(lab), (vec![(7, 70)], index));
        assert_eq!((status(lab).problems, card.runs() > 0), (vec![], true));
        for is_on_card in [false, true] {
            ouro_deploy::rollback(&lab.bpffs, "fw", &mut |_| {}).unwrap();
            assert_eq!((status(lab).problems, card.runs() > 0), (vec![], is_on_card));
        }
        deployed(lab, &bundle(xdp(&card.device), OnChange::Copy));
        assert_eq!((held(lab), card.runs()), ((vec![(7, 70)], None), 0));
        undeployed(lab, "fw");
    });
}

#[test]
fn a_chain_is_on_one_card_and_nowhere_else() {
    if lacks_netdevsim() {
        return;
    }
    lab(|lab| {
        let (card, other) = (Card::new(73), Card::new(74));
        let both = [offload(&card.device), offload(&other.device)];
        let wrong = conflicts(deploy(lab, &Chain { attach: both.into(), ..on(&card) }.bundle(lab.folder())).unwrap_err());
        let said = format!("the network card of `{}` runs what is loaded for it alone", other.device);
        assert!(wrong.len() == 1 && wrong[0].to_string().starts_with(&said), "{wrong:?}");
        deployed(lab, &on(&card).bundle(lab.folder()));
        for point in [offload(&other.device), xdp(NEAR)] {
            let error = ouro_deploy::reattach(&lab.bpffs, "fw", &mut |_| vec![point.clone()], &mut |_| {}).unwrap_err();
            assert!(matches!(conflicts(error).as_slice(), [Conflict::OtherCard { .. }]));
        }
        // Another card takes programs and maps of its own.
        let (before, reset) = (card.runs(), chain(numbers(OnChange::Reset), offload(&other.device)));
        deployed(lab, &reset.bundle(lab.folder()));
        assert_eq!((card.runs(), other.runs() > 0, status(lab).problems), (0, true, vec![]));
        assert_ne!(other.runs(), before);
        undeployed(lab, "fw");
        // Nor can a card be given what the kernel runs.
        deployed(lab, &chain(numbers(OnChange::Keep), xdp(NEAR)).bundle(lab.folder()));
        let attach = vec![offload(&card.device)];
        let error = ouro_deploy::reattach(&lab.bpffs, "fw", &mut |_| attach.clone(), &mut |_| {}).unwrap_err();
        assert!(matches!(conflicts(error).as_slice(), [Conflict::OtherCard { .. }]));
        undeployed(lab, "fw");
    });
}

/// Of candidates a card takes others than the kernel does.
#[test]
fn the_first_candidate_that_a_card_takes_is_chosen() {
    if lacks_netdevsim() {
        return;
    }
    lab(|lab| {
        let card = Card::new(78);
        let chain = |attach: Attach| {
            move |body: &str| {
                let globals = "const volatile __u64 limit = 7;".to_owned();
                Chain { globals, ..Chain::new("fw") }.program("watch", "xdp", body, &[]).attach(std::slice::from_ref(&attach))
            }
        };
        let bodies: &[(&str, &str, &[&str])] =
            &[("choosy", "return limit ? XDP_PASS : XDP_DROP;", &[]), ("plain", "return XDP_PASS;", &[])];
        for (attach, taken) in [(xdp(&card.device), "choosy"), (offload(&card.device), "plain")] {
            deployed(lab, &variants(lab, "watch", &chain(attach), bodies));
            assert_eq!(status(lab).programs[0].candidate.as_deref(), Some(taken));
        }
        assert!(card.runs() > 0);
        undeployed(lab, "fw");
    });
}

fn on(card: &Card) -> Chain {
    chain(numbers(OnChange::Keep), offload(&card.device))
}

#[test]
fn what_a_driver_refuses_is_told_and_undone() {
    if lacks_netdevsim() {
        return;
    }
    lab(|lab| {
        let card = Card::new(75);
        let refused = |chain: &Chain, words: &str| {
            let error = deploy(lab, &chain.bundle(lab.folder())).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
            assert!(!lab.bpffs.join("ouro").exists() && card.runs() == 0);
        };
        let choosy = Chain::new("fw").global("limit", 7).program("watch", "xdp", "return limit ? XDP_PASS : XDP_DROP;", &[]);
        refused(&choosy.attach(&[offload(&card.device)]), "it has variables or texts in `.rodata`");
        let large = chain(map("seen", "hash", 3), offload(&card.device));
        refused(&large, &format!("the network card of `{}` does not take it", card.device));
        let spread = chain(map("seen", "percpu_array", 1), offload(&card.device));
        refused(&spread, "offload device mismatch between prog and map");
        card.refuse("ports/0/bpf_xdpoffload_accept");
        refused(&on(&card), "the network card does not take the program now");
        card.refuse("bpf_bind_accept");
        refused(&on(&card), "has no network card that runs programs");
    });
}

/// The kernel runs test packets through programs of its own: a card's are not there for it.
#[test]
fn test_packets_are_run_by_the_kernel() {
    if lacks_netdevsim() {
        return;
    }
    lab(|lab| {
        let card = Card::new(76);
        let test = |verdict| PacketTest { name: "any".to_owned(), data: "00".repeat(64), verdict };
        let wrong = Chain { tests: vec![test(DROP)], ..on(&card) }.bundle(lab.folder());
        let error = ouro_deploy::rehearse(&lab.bpffs, &wrong, &Options::default(), &mut |_| {}).unwrap_err();
        assert_eq!(error.to_string(), "test `any`: the chain says `pass` instead of `drop`");
        assert!(matches!(deploy(lab, &wrong).unwrap_err(), Error::Failed { undo: None, .. }));
        assert!(!lab.bpffs.join("ouro").exists());
        deployed(lab, &Chain { tests: vec![test(2)], ..on(&card) }.bundle(lab.folder()));
        assert_eq!((status(lab).problems, card.runs() > 0), (vec![], true));
        undeployed(lab, "fw");
    });
}

/// The kernel tells nothing of what was on a card that is gone; nobody could look at the deployment any more, or remove it.
#[test]
fn a_card_that_goes_takes_all_with_it_and_leaves_no_mess() {
    if lacks_netdevsim() {
        return;
    }
    lab(|lab| {
        let card = Card::new(77);
        deployed(lab, &on(&card).bundle(lab.folder()));
        put(lab, 7, 70);
        let before = status(lab);
        drop(card);
        let after = status(lab);
        assert_eq!((after.hooks[0].alive, after.programs[0].id), (false, before.programs[0].id));
        // One of the same name has nothing to begin with, and what is dead of the old one goes.
        let card = Card::new(77);
        assert_eq!(card.device, before.hooks[0].hook.interface().unwrap());
        deployed(lab, &on(&card).bundle(lab.folder()));
        assert_eq!((held(lab).0, card.runs() > 0, status(lab).problems), (vec![], true, vec![]));
        let error = ouro_deploy::rollback(&lab.bpffs, "fw", &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains("it was loaded for one that is gone"), "{error}");
        assert_eq!((card.runs() > 0, status(lab).problems), (true, vec![]));
        drop(card);
        let dead = status(lab);
        ouro_deploy::undeploy(&lab.bpffs, "fw", &RemoveOptions::default(), &mut |_| {}).unwrap();
        nothing_left(lab, &dead, &[]);
        assert!(is_gone("prog", before.programs[0].id.unwrap()));
    });
}
