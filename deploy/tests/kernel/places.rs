//! Netfilter, network namespaces and maps of sockets.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use ouro_rules::manifest::{Attach, Family, MapSpec, Netfilter, NetfilterHook, Netns, OnChange, Sockmap};

use crate::chain::{Chain, count, map};
use crate::missing::{does_not_offer, lacks, precedes};
use crate::support::{lab, sh};
use crate::{counting, deploy, deployed, fires, raw, redeployed, seen, status, undeployed};

fn netfilter(priority: i32, at: NetfilterHook) -> Attach {
    Attach::Netfilter(Netfilter { family: Family::Ipv4, at, priority, defrag: false })
}

#[test]
fn netfilter_counts_and_drops() {
    if lacks("netfilter") {
        return;
    }
    lab(|lab| {
        let accept = format!("{}return 1;", count("seen"));
        fires(lab, &counting("netfilter", &accept, netfilter(-128, NetfilterHook::Input)), &|| {
            lab.udp(4000, 9);
            9
        });
        assert_eq!(lab.ping(3), 3);
        deployed(lab, &counting("netfilter", "return 0;", netfilter(-128, NetfilterHook::Prerouting)).bundle(lab.folder()));
        assert_eq!(lab.ping(3), 0);
        // A priority has one program.
        let mut other = counting("netfilter", "return 1;", netfilter(-128, NetfilterHook::Prerouting)).bundle(lab.folder());
        (other.manifest.name, other.manifest.chain) = ("other".to_owned(), "//test:other".to_owned());
        let error = deploy(lab, &other).unwrap_err().to_string();
        assert!(error.contains("another program is attached there already"), "{error}");
        undeployed(lab, "fw");
        assert_eq!(lab.ping(3), 3);
    });
}

#[test]
fn sk_lookup_refuses_connections() {
    lab(|lab| {
        // No other laboratory's: the namespace is its own.
        let port = 4000;
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let connects = || TcpStream::connect(("127.0.0.1", port)).is_ok();
        assert!(connects());
        let attach = || Attach::Netns(Netns { attach_type: "SK_LOOKUP".to_owned(), path: None });
        let body = format!("if (ctx->local_port != {port}) return 1;\n{}return 0;", count("seen"));
        fires(lab, &counting("sk_lookup", &body, attach()), &|| {
            (0..5).for_each(|_| assert!(!connects()));
            5
        });
        assert!(connects());
        drop(listener);
    });
}

#[test]
fn a_namespace_is_named_by_its_file() {
    lab(|lab| {
        let path = Some("/proc/thread-self/ns/net".to_owned());
        let attach = Attach::Netns(Netns { attach_type: "SK_LOOKUP".to_owned(), path });
        deployed(lab, &counting("sk_lookup", "return 1;", attach).bundle(lab.folder()));
        assert_eq!(status(lab).hooks[0].target, Some(status_namespace()));
        undeployed(lab, "fw");
        let attach = Attach::Netns(Netns { attach_type: "SK_LOOKUP".to_owned(), path: Some("/no/such/namespace".to_owned()) });
        let error = deploy(lab, &counting("sk_lookup", "return 1;", attach).bundle(lab.folder())).unwrap_err();
        assert!(error.to_string().contains("there is no network namespace `/no/such/namespace`"), "{error}");
    });
}

fn status_namespace() -> u64 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/thread-self/ns/net").unwrap().ino()
}

#[test]
fn flow_dissectors_see_packets() {
    lab(|lab| {
        // A device that spreads what it receives over CPUs looks into every packet, and so has it dissected.
        let sys = lab.folder().join("sys").display().to_string();
        let spread = format!("echo 3 > {sys}/class/net/near0/queues/rx-0/rps_cpus");
        sh(&format!("mkdir {sys} && mount -t sysfs sysfs {sys} && {spread}; done=$?; umount {sys}; exit $done"));
        let attach = Attach::Netns(Netns { attach_type: "FLOW_DISSECTOR".to_owned(), path: None });
        // IPv4 alone: devices greet each other by IPv6. BPF_FLOW_DISSECTOR_CONTINUE: the kernel's own goes on.
        let body = format!("if (ctx->flow_keys->n_proto == 8) {}return 129;", count("seen"));
        fires(lab, &counting("flow_dissector", &body, attach), &|| {
            let before = seen(lab);
            lab.udp(4000, 8);
            let rise = seen(lab) - before;
            assert!(rise >= 8, "{rise}");
            rise
        });
    });
}

/// A connection of this process's with itself.
fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (near, listener.accept().unwrap().0)
}

#[test]
fn messages_of_sockets_in_a_map_are_seen() {
    if does_not_offer("sockmap", "6.10") {
        return;
    }
    lab(|lab| {
        for (section, attach_type) in [
            ("sk_msg", "SK_MSG_VERDICT"),
            ("sk_skb/verdict", "SK_SKB_VERDICT"),
            ("sk_skb/stream_verdict", "SK_SKB_STREAM_VERDICT"),
        ] {
            let attach = Attach::Sockmap(Sockmap { map: "socks".to_owned(), attach_type: attach_type.to_owned() });
            let socks = MapSpec { value: "__u32".to_owned(), value_size: 4, ..map("socks", "sockmap", 4) };
            let chain: Chain = counting(section, &format!("{}return 1;", count("seen")), attach).map(socks);
            let bundle = chain.bundle(lab.folder());
            deployed(lab, &bundle);
            let (mut near, mut far) = connection();
            // What is sent is seen at one end, what comes in at the other.
            let end = if section == "sk_msg" { near.as_raw_fd() } else { far.as_raw_fd() };
            raw::map_update(&crate::map_pin(lab, "socks"), 0, &end.to_ne_bytes()).unwrap();
            let mut send = || {
                let before = seen(lab);
                near.write_all(b"ouro").unwrap();
                far.read_exact(&mut [0; 4]).unwrap();
                assert!(seen(lab) > before, "{section}");
            };
            send();
            redeployed(lab, &bundle);
            send();
            undeployed(lab, "fw");
        }
    });
}

/// The link took the new program and stayed on the old map: sockets in the new one had no verdict.
#[test]
fn a_map_of_sockets_that_changes_takes_its_program_along() {
    if precedes("links of sockmaps", "6.10") {
        return;
    }
    lab(|lab| {
        for atomic in [false, true] {
            let of = |sockets| {
                let attach = Attach::Sockmap(Sockmap { map: "socks".to_owned(), attach_type: "SK_MSG_VERDICT".to_owned() });
                let socks = MapSpec { value: "__u32".to_owned(), value_size: 4, ..map("socks", "sockmap", sockets) };
                let socks = MapSpec { on_change: OnChange::Reset, ..socks };
                let chain = counting("sk_msg", &format!("{}return 1;", count("seen")), attach).map(socks);
                Chain { atomic, ..chain }.bundle(lab.folder())
            };
            let is_seen = || {
                let (mut near, mut far) = connection();
                raw::map_update(&crate::map_pin(lab, "socks"), 0, &near.as_raw_fd().to_ne_bytes()).unwrap();
                let before = seen(lab);
                near.write_all(b"ouro").unwrap();
                far.read_exact(&mut [0; 4]).unwrap();
                seen(lab) > before
            };
            deployed(lab, &of(4));
            assert!(is_seen());
            deployed(lab, &of(8));
            assert!(is_seen(), "in the new map, atomic: {atomic}");
            ouro_deploy::rollback(&lab.bpffs, "fw", &mut |_| {}).unwrap();
            assert!(is_seen(), "in the old map, atomic: {atomic}");
            assert_eq!(status(lab).problems, []);
            undeployed(lab, "fw");
        }
    });
}
