//! Single sockets: filtered, switched while packets flow, given back; closed, handed on, and taken by others.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use ouro_deploy::{Change, Error, Options, Problem, Step};
use ouro_rules::bundle::Bundle;
use ouro_rules::manifest::{Attach, Socket};

use crate::chain::count;
use crate::support::{Lab, lab};
use crate::{counting, deploy, deployed, fires, redeployed, seen, status, undeployed};
pub fn at(socket: &impl AsRawFd) -> Attach {
    of_process(std::process::id(), socket.as_raw_fd())
}

pub fn of_process(pid: u32, fd: i32) -> Attach {
    Attach::Socket(Socket { pid, fd: u32::try_from(fd).unwrap(), shared_port: false })
}

/// Counts every packet; `verdict` is how much of each the socket gets.
pub fn filter(lab: &Lab, attach: Attach, verdict: i32) -> Bundle {
    counting("socket", &format!("{}return {verdict};", count("seen")), attach).bundle(lab.folder())
}

pub fn named(name: &str, mut bundle: Bundle) -> Bundle {
    (bundle.manifest.name, bundle.manifest.chain) = (name.to_owned(), format!("//test:{name}"));
    bundle
}

pub fn forced() -> Options {
    Options { force_links: true, ..Options::default() }
}

/// Two sockets of which the second sends to the first.
pub fn pair() -> (UdpSocket, UdpSocket) {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.connect(receiver.local_addr().unwrap()).unwrap();
    receiver.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    (receiver, sender)
}

/// Whether what the second sends the first gets.
pub fn arrives((receiver, sender): &(UdpSocket, UdpSocket)) -> bool {
    // Where a port drops a packet as if nobody had it, the next one is told so.
    sender.send(b"ouro").or_else(|_| sender.send(b"ouro")).unwrap();
    receiver.recv(&mut [0; 4]).is_ok()
}

pub fn option(socket: &impl AsRawFd, option: i32, bytes: &[u8]) {
    let length = libc::socklen_t::try_from(bytes.len()).unwrap();
    // SAFETY: the kernel reads `bytes` within its length.
    let done = unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, bytes.as_ptr().cast(), length) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

/// Gives a socket a filter of the classic BPF that lets all pass.
fn filter_of_its_own(socket: &impl AsRawFd) {
    // BPF_RET | BPF_K
    let mut all = [libc::sock_filter { code: 6, jt: 0, jf: 0, k: u32::MAX }];
    let program = libc::sock_fprog { len: 1, filter: all.as_mut_ptr() };
    // SAFETY: the structure is plain memory, and the kernel copies what it points to.
    let bytes = unsafe { std::slice::from_raw_parts((&raw const program).cast::<u8>(), size_of::<libc::sock_fprog>()) };
    option(socket, libc::SO_ATTACH_FILTER, bytes);
}

/// How many instructions of the classic BPF filter a socket; none if a program does.
pub fn classic(socket: &impl AsRawFd) -> Option<u32> {
    let mut length = 0;
    // SAFETY: the kernel writes the length alone.
    let done = unsafe {
        let (fd, none) = (socket.as_raw_fd(), std::ptr::null_mut());
        libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, none, &raw mut length)
    };
    (done == 0).then_some(length)
}

/// A process that has a socket as its standard input, and does nothing.
pub fn holder(socket: impl Into<OwnedFd>) -> Child {
    Command::new("sleep").arg("600").stdin(Stdio::from(socket.into())).spawn().unwrap()
}

pub fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Other tests of this process may be starting programs, which have a copy for a moment.
fn eventually(what: impl Fn() -> bool) -> bool {
    (0..100).any(|_| {
        let is_so = what();
        if !is_so {
            std::thread::sleep(Duration::from_millis(20));
        }
        is_so
    })
}

#[test]
fn a_socket_is_filtered_switched_and_given_back() {
    lab(|lab| {
        let wire = pair();
        let passing = counting("socket", &format!("{}return -1;", count("seen")), at(&wire.0));
        fires(lab, &passing, &|| {
            (0..5).for_each(|_| assert!(arrives(&wire)));
            5
        });
        assert_eq!(classic(&wire.0), Some(0), "nothing is left");
        deployed(lab, &filter(lab, at(&wire.0), -1));
        deployed(lab, &filter(lab, at(&wire.0), 0));
        assert!(!arrives(&wire));
        let plan = ouro_deploy::rollback(&lab.bpffs, "fw", &mut |_| {}).unwrap();
        assert!(plan.changes.iter().any(|change| matches!(change, Change::Unasked { .. })), "{:?}", plan.changes);
        assert!(arrives(&wire) && status(lab).problems.is_empty());
        deployed(lab, &filter(lab, at(&wire.0), 0));
        assert!(!arrives(&wire));
        undeployed(lab, "fw");
        assert!(arrives(&wire) && classic(&wire.0) == Some(0));
    });
}

/// Sends one packet after another until told to stop; each must arrive. How many there were.
pub fn flow(wire: &(UdpSocket, UdpSocket), stop: &AtomicBool) -> u64 {
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        wire.1.send(b"ouro").unwrap();
        // A machine that has no time for it is no filter that drops it.
        assert!((0..50).any(|_| wire.0.recv(&mut [0; 4]).is_ok()), "packet {sent} is lost");
        sent += 1;
    }
    sent
}

#[test]
fn no_packet_is_lost_or_counted_twice_by_switches() {
    lab(|lab| {
        let wire = pair();
        let bundle = filter(lab, at(&wire.0), -1);
        deployed(lab, &bundle);
        let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| sent.store(flow(&wire, &stop), Ordering::Relaxed));
            (0..10).for_each(|_| drop(redeployed(lab, &bundle)));
            ouro_deploy::rollback(&lab.bpffs, "fw", &mut |_| {}).unwrap();
            stop.store(true, Ordering::Relaxed);
        });
        assert_eq!(seen(lab), sent.load(Ordering::Relaxed));
        undeployed(lab, "fw");
    });
}

#[test]
fn a_socket_of_another_process_is_found_where_it_is() {
    lab(|lab| {
        let wire = pair();
        let child = holder(wire.0.try_clone().unwrap());
        deployed(lab, &filter(lab, of_process(child.id(), 0), 0));
        assert!(!arrives(&wire));
        // Its process is gone, and the socket is not.
        end(child);
        let found = status(lab);
        assert!(found.problems.is_empty() && found.hooks[0].alive, "{found:?}");
        let plan = ouro_deploy::deploy(&lab.bpffs, &filter(lab, at(&wire.0), 0), &Options::default(), &mut |_| {}).unwrap();
        let moved: Vec<&Step> = plan.steps.iter().filter(|step| step.moved_hook().is_some()).collect();
        assert!(moved.is_empty() && !plan.is_empty(), "another descriptor of the same socket: {moved:?}");
        assert!(!arrives(&wire));
        undeployed(lab, "fw");
        assert!(arrives(&wire));
    });
}

#[test]
fn a_closed_socket_is_told_and_its_number_is_nobodys() {
    lab(|lab| {
        let (receiver, _sender) = pair();
        let fd = receiver.as_raw_fd();
        let bundle = filter(lab, at(&receiver), -1);
        deployed(lab, &bundle);
        // SAFETY: a descriptor of this test's own.
        let held = unsafe { OwnedFd::from_raw_fd(libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3)) };
        let other = UdpSocket::bind("127.0.0.1:0").unwrap();
        filter_of_its_own(&other);
        // SAFETY: as above; the number is another socket's from one instant to the next.
        assert_eq!(unsafe { libc::dup3(other.as_raw_fd(), fd, libc::O_CLOEXEC) }, fd);
        assert!(status(lab).problems.is_empty(), "it has another number, and is open");
        drop(held);
        let is_closed = |problem: &Problem| matches!(problem, Problem::SocketClosed { .. });
        assert!(eventually(|| status(lab).problems.iter().any(is_closed)), "{:?}", status(lab));
        let error = deploy(lab, &bundle).unwrap_err();
        assert!(error.to_string().contains("its process gave it a filter"), "another socket has the number: {error}");
        undeployed(lab, "fw");
        assert_eq!(classic(&other), Some(1));
    });
}

#[test]
fn a_deployment_follows_to_the_next_process() {
    lab(|lab| {
        let first = pair();
        let child = holder(first.0);
        let mut bundle = filter(lab, of_process(child.id(), 0), -1);
        deployed(lab, &bundle);
        let pid = child.id();
        end(child);
        assert!(eventually(|| !status(lab).hooks[0].alive));
        let error = deploy(lab, &bundle).unwrap_err();
        assert!(error.to_string().contains(&format!("there is no process {pid}")), "{error}");
        let wire = pair();
        bundle.manifest.attach = vec![at(&wire.0)];
        let steps = deployed(lab, &bundle);
        assert!(steps.iter().any(|step| matches!(step, Step::AdoptGeneration { .. })), "nothing is loaded: {steps:?}");
        assert!(arrives(&wire) && seen(lab) == 1 && status(lab).problems.is_empty(), "{:?}", status(lab));
        assert!(ouro_deploy::rollback(&lab.bpffs, "fw", &mut |_| {}).unwrap_err().to_string().contains("is closed"));
        undeployed(lab, "fw");
    });
}

#[test]
fn what_is_no_socket_is_told_before_anything_is_loaded() {
    lab(|lab| {
        let file = std::fs::File::open("/dev/null").unwrap();
        let own = std::process::id();
        for (attach, what) in [
            (at(&file), format!("descriptor {} of process {own} is no socket", file.as_raw_fd())),
            (of_process(own, 1_000_000), format!("process {own} has no descriptor 1000000")),
            (of_process(0x3fff_ffff, 3), "there is no process 1073741823".to_owned()),
        ] {
            let bundle = filter(lab, attach, -1);
            let planned = ouro_deploy::plan(&lab.bpffs, &bundle, &Options::default()).unwrap_err();
            for error in [planned, deploy(lab, &bundle).unwrap_err()] {
                assert!(error.to_string().contains(&what), "{error}");
            }
        }
        assert!(!lab.bpffs.join("ouro").exists());
    });
}

/// Its stub was told as somebody's filter, though the record says that it is ours.
#[test]
fn a_socket_whose_stub_lost_its_pin_is_taken_back_without_force() {
    lab(|lab| {
        let wire = pair();
        let bundle = filter(lab, at(&wire.0), 0);
        let roots = lab.bpffs.join("ouro/fw/root");
        for lost in ["stub", ""] {
            deployed(lab, &bundle);
            let root = std::fs::read_dir(&roots).unwrap().next().unwrap().unwrap().path();
            if lost.is_empty() {
                std::fs::remove_dir_all(&roots).unwrap();
            } else {
                std::fs::remove_file(root.join(lost)).unwrap();
            }
            let found = status(lab);
            let is_told = |problem: &Problem| matches!(problem, Problem::StubGone { .. } | Problem::RootGone { .. });
            assert!(found.problems.iter().any(is_told) && !found.hooks[0].foreign, "{found:?}");
            deployed(lab, &bundle);
            assert!(!arrives(&wire) && status(lab).problems.is_empty(), "{:?}", status(lab));
            undeployed(lab, "fw");
            assert_eq!(classic(&wire.0), Some(0));
        }
    });
}

#[test]
fn of_two_sockets_one_may_close() {
    lab(|lab| {
        let (stays, goes) = (pair(), pair());
        let mut bundle = filter(lab, at(&stays.0), 0);
        bundle.manifest.attach = vec![at(&stays.0), at(&goes.0)];
        deployed(lab, &bundle);
        assert!(!arrives(&stays) && !arrives(&goes));
        drop(goes);
        assert!(eventually(|| status(lab).problems.len() == 1), "{:?}", status(lab));
        assert!(matches!(status(lab).problems[..], [Problem::SocketClosed { .. }]), "{:?}", status(lab));
        bundle.manifest.attach = vec![at(&stays.0)];
        deployed(lab, &bundle);
        assert!(!arrives(&stays) && status(lab).problems.is_empty());
        undeployed(lab, "fw");
        assert!(arrives(&stays));
    });
}

/// What a deployment was attached by before is not its place any more.
#[test]
fn a_socket_that_a_deployment_left_is_free() {
    lab(|lab| {
        let (before, now) = (pair(), pair());
        deployed(lab, &filter(lab, at(&before.0), 0));
        deployed(lab, &filter(lab, at(&now.0), 0));
        assert!(arrives(&before) && !arrives(&now));
        deployed(lab, &named("other", filter(lab, at(&before.0), 0)));
        assert!(!arrives(&before));
        let error = deploy(lab, &named("other", filter(lab, at(&now.0), 0))).unwrap_err();
        assert!(error.to_string().contains("it is taken by the deployment `fw`"), "{error}");
        // And now `fw` cannot go back there.
        let error = ouro_deploy::rollback(&lab.bpffs, "fw", &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains("it is taken by the deployment `other`"), "{error}");
    });
}

#[test]
fn filters_of_others_are_not_replaced() {
    lab(|lab| {
        let wire = pair();
        filter_of_its_own(&wire.0);
        let bundle = filter(lab, at(&wire.0), 0);
        let error = deploy(lab, &bundle).unwrap_err();
        assert!(error.to_string().contains("its process gave it a filter"), "{error}");
        assert!(error.help().unwrap().contains("SO_DETACH_FILTER"));
        option(&wire.0, libc::SO_DETACH_FILTER, &0i32.to_ne_bytes());
        deployed(lab, &bundle);
        // Another deployment's is told by its name.
        let error = deploy(lab, &named("other", filter(lab, at(&wire.0), -1))).unwrap_err();
        assert!(error.to_string().contains("it is taken by the deployment `fw`"), "{error}");
        assert_eq!(error.help().unwrap(), "undeploy it first: `ouro undeploy fw`");
        // Its process puts its own in the place of ours.
        filter_of_its_own(&wire.0);
        let found = status(lab).problems;
        assert!(found.iter().any(|problem| matches!(problem, Problem::ForeignProgram { program: None, .. })), "{found:?}");
        let hook = status(lab).hooks.remove(0);
        assert_eq!((hook.foreign, hook.program), (true, None));
        let error = deploy(lab, &bundle).unwrap_err();
        assert!(error.help().unwrap().contains("--force-links"), "{error}");
        ouro_deploy::deploy(&lab.bpffs, &bundle, &forced(), &mut |_| {}).unwrap();
        assert!(!arrives(&wire) && status(lab).problems.is_empty());
        // What nobody can ask is made sure of when asked for.
        let again = ouro_deploy::deploy(&lab.bpffs, &bundle, &forced(), &mut |_| {}).unwrap().steps;
        assert!(again.iter().any(|step| matches!(step, Step::Exchange { .. })), "{again:?}");
        filter_of_its_own(&wire.0);
        undeployed(lab, "fw");
        assert_eq!(classic(&wire.0), Some(1), "undeploying leaves what is not ours");
    });
}

#[test]
fn a_socket_whose_filter_is_locked_lets_everything_pass_in_the_end() {
    lab(|lab| {
        let wire = pair();
        deployed(lab, &filter(lab, at(&wire.0), 0));
        option(&wire.0, libc::SO_LOCK_FILTER, &1i32.to_ne_bytes());
        deployed(lab, &filter(lab, at(&wire.0), -1));
        assert!(arrives(&wire), "the stub stays where it is, and follows");
        ouro_deploy::rollback(&lab.bpffs, "fw", &mut |_| {}).unwrap();
        assert!(!arrives(&wire));
        undeployed(lab, "fw");
        assert_eq!(classic(&wire.0), None, "the stub is locked in");
        assert!(eventually(|| arrives(&wire)), "and finds nothing to run");
        let bundle = filter(lab, at(&wire.0), 0);
        for error in [
            ouro_deploy::plan(&lab.bpffs, &bundle, &forced()).unwrap_err(),
            ouro_deploy::deploy(&lab.bpffs, &bundle, &forced(), &mut |_| {}).unwrap_err(),
        ] {
            assert!(matches!(error, Error::Conflicts(_)) && error.to_string().contains("SO_LOCK_FILTER"), "{error}");
            assert!(error.help().unwrap().contains("make a new socket"));
        }
    });
}

/// Its stub stays on the socket, where nobody can tell whose it is.
#[test]
fn a_deployment_whose_pins_are_gone_leaves_a_place_that_can_be_taken() {
    lab(|lab| {
        let wire = pair();
        let bundle = filter(lab, at(&wire.0), 0);
        deployed(lab, &bundle);
        std::fs::remove_dir_all(lab.bpffs.join("ouro")).unwrap();
        assert!(eventually(|| arrives(&wire)), "the stub finds nothing to run");
        let error = deploy(lab, &bundle).unwrap_err();
        assert!(error.to_string().contains("is a program that is not ours, as far as can be told"), "{error}");
        assert!(error.help().unwrap().contains("--force-links"), "{error}");
        let plan = ouro_deploy::deploy(&lab.bpffs, &bundle, &forced(), &mut |_| {}).unwrap();
        let said: Vec<String> = plan.changes.iter().map(Change::to_string).collect();
        assert!(said.iter().any(|said| said.ends_with("in place of whatever program it has")), "{said:?}");
        assert!(!said.iter().any(|said| said.contains("which stay")), "{said:?}");
        assert!(!arrives(&wire) && status(lab).problems.is_empty());
        undeployed(lab, "fw");
        assert_eq!(classic(&wire.0), Some(0));
    });
}

/// Connections inherit the filter of the socket that accepts them, and are found by nobody.
#[test]
fn connections_that_inherit_a_filter_follow_it() {
    lab(|lab| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        deployed(lab, &filter(lab, at(&listener), -1));
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut far = listener.accept().unwrap().0;
        far.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        deployed(lab, &filter(lab, at(&listener), 0));
        near.write_all(b"ouro").unwrap();
        assert!(far.read_exact(&mut [0; 4]).is_err(), "the new generation drops it");
        undeployed(lab, "fw");
        far.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        far.read_exact(&mut [0; 4]).unwrap();
    });
}
