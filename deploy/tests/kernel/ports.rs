//! Ports that sockets share: the program that chooses among them, of which nobody can ask which it is.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd};
use std::time::Duration;

use ouro_deploy::{Change, Options, RemoveOptions, Step};
use ouro_rules::bundle::Bundle;
use ouro_rules::manifest::{Attach, Socket};

use crate::chain::count;
use crate::missing::precedes;
use crate::socket_stops::stopped_anywhere;
use crate::sockets::{arrives, option, pair};
use crate::support::{Lab, lab};
use crate::{counting, deploy, deployed, fires, redeployed, status, undeployed};

/// A socket that shares its port, though with nobody, and one that sends to it.
fn sharing() -> (UdpSocket, UdpSocket) {
    let socket = shared(&SocketAddr::from(([127, 0, 0, 1], 0)));
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.connect(socket.local_addr().unwrap()).unwrap();
    (socket, sender)
}

/// A socket at an address that others may have, too.
fn shared(address: &SocketAddr) -> UdpSocket {
    // SAFETY: gives a new descriptor that nobody else has.
    let socket = unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        assert!(fd >= 0);
        UdpSocket::from_raw_fd(fd)
    };
    option(&socket, libc::SO_REUSEPORT, &1i32.to_ne_bytes());
    let place = libc::sockaddr_in {
        sin_family: u16::try_from(libc::AF_INET).unwrap(),
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
        sin_zero: [0; 8],
    };
    let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_in>()).unwrap();
    // SAFETY: the kernel reads the address within its length.
    assert_eq!(unsafe { libc::bind(socket.as_raw_fd(), (&raw const place).cast(), length) }, 0);
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    socket
}

fn port(socket: &impl AsRawFd) -> Attach {
    let (pid, fd) = (std::process::id(), u32::try_from(socket.as_raw_fd()).unwrap());
    Attach::Socket(Socket { pid, fd, shared_port: true })
}

/// Counts every packet, and lets the kernel choose who gets it, or nobody.
fn chooser(lab: &Lab, attach: Attach, passes: bool) -> Bundle {
    let body = format!("{}return {};", count("seen"), i32::from(passes));
    counting("sk_reuseport", &body, attach).bundle(lab.folder())
}

#[test]
fn a_shared_port_asks_the_program_and_no_more_when_it_is_gone() {
    lab(|lab| {
        let wire = sharing();
        let pass = counting("sk_reuseport", &format!("{}return 1;", count("seen")), port(&wire.0));
        fires(lab, &pass, &|| {
            (0..5).for_each(|_| assert!(arrives(&wire)));
            5
        });
        let plan = ouro_deploy::plan(&lab.bpffs, &chooser(lab, port(&wire.0), false), &Options::default()).unwrap();
        let said: Vec<String> = plan.changes.iter().map(Change::to_string).collect();
        assert!(
            said.iter().any(|said| said.ends_with("follows the root table, in place of whatever program it has")),
            "{said:?}"
        );
        deployed(lab, &chooser(lab, port(&wire.0), false));
        assert!(!arrives(&wire));
        // Somebody took the program away, which nobody can see.
        option(&wire.0, libc::SO_DETACH_REUSEPORT_BPF, &0i32.to_ne_bytes());
        assert!(arrives(&wire) && status(lab).problems.is_empty());
        let steps = redeployed(lab, &chooser(lab, port(&wire.0), false));
        assert!(steps.iter().any(|step| matches!(step, Step::Exchange { .. })), "{steps:?}");
        assert!(!arrives(&wire));
        undeployed(lab, "fw");
        assert!(arrives(&wire));
    });
}

/// Taking the program off the socket that went took it off the one that came, too.
#[test]
fn a_shared_port_keeps_its_program_when_another_of_its_sockets_is_named() {
    lab(|lab| {
        let wire = sharing();
        let beside = shared(&wire.0.local_addr().unwrap());
        let drop_all = |socket: &UdpSocket| chooser(lab, port(socket), false);
        deployed(lab, &drop_all(&wire.0));
        deployed(lab, &drop_all(&beside));
        let reaches_any = || {
            arrives(&wire) || {
                beside.set_nonblocking(true).unwrap();
                beside.recv(&mut [0; 4]).is_ok()
            }
        };
        assert!(!reaches_any());
        ouro_deploy::rollback(&lab.bpffs, "fw", &mut |_| {}).unwrap();
        assert!(!reaches_any());
        undeployed(lab, "fw");
        assert!(reaches_any());
    });
}

#[test]
fn a_program_that_is_asked_when_sockets_close_is_attached_like_others() {
    if precedes("sk_reuseport/migrate", "5.14") {
        return;
    }
    lab(|lab| {
        let wire = sharing();
        let body = format!("{}return 1;", count("seen"));
        fires(lab, &counting("sk_reuseport/migrate", &body, port(&wire.0)), &|| {
            assert!(arrives(&wire));
            1
        });
    });
}

#[test]
fn a_socket_that_cannot_share_its_port_is_told() {
    lab(|lab| {
        let (socket, _sender) = pair();
        let error = deploy(lab, &chooser(lab, port(&socket), true)).unwrap_err();
        assert!(error.to_string().contains("it cannot share its port"), "{error}");
        assert!(error.help().unwrap().contains("SO_REUSEPORT"));
        assert!(!lab.bpffs.join("ouro").exists());
    });
}

#[test]
fn a_command_at_a_shared_port_that_is_stopped_at_any_step_is_put_right_by_the_next() {
    lab(|lab| {
        let wire = sharing();
        stopped_anywhere(lab, &wire, &|passes| chooser(lab, port(&wire.0), passes), &|| {});
    });
}

/// The second took the place of the first without a word, and who was undeployed first took off the other's.
#[test]
fn a_port_is_of_one_deployment_by_whichever_of_its_sockets() {
    lab(|lab| {
        let wire = sharing();
        let beside = shared(&wire.0.local_addr().unwrap());
        deployed(lab, &chooser(lab, port(&wire.0), false));
        let mut other = chooser(lab, port(&beside), true);
        (other.manifest.name, other.manifest.chain) = ("other".to_owned(), "//test:other".to_owned());
        let error = deploy(lab, &other).unwrap_err();
        assert!(error.to_string().contains("it is taken by the deployment `fw`"), "{error}");
        let mut twice = chooser(lab, port(&wire.0), false);
        twice.manifest.attach.push(port(&beside));
        assert!(deploy(lab, &twice).unwrap_err().to_string().contains("two attach points are"));
        // A socket of another port has a program of its own.
        let elsewhere = sharing();
        other.manifest.attach = vec![port(&elsewhere.0)];
        deployed(lab, &other);
        assert!(arrives(&elsewhere));
        ouro_deploy::undeploy(&lab.bpffs, "other", &RemoveOptions::default(), &mut |_| {}).unwrap();
        let named_anew = deployed(lab, &chooser(lab, port(&beside), false));
        assert!(!named_anew.iter().any(|step| matches!(step, Step::DetachRoot { .. })), "it is never without: {named_anew:?}");
        undeployed(lab, "fw");
    });
}

/// The kernel says EINVAL there, and undeploying failed.
#[test]
fn a_socket_that_left_its_port_is_undeployed() {
    lab(|lab| {
        let wire = sharing();
        deployed(lab, &chooser(lab, port(&wire.0), true));
        let nowhere = libc::sockaddr { sa_family: u16::try_from(libc::AF_UNSPEC).unwrap(), sa_data: [0; 14] };
        let length = libc::socklen_t::try_from(size_of::<libc::sockaddr>()).unwrap();
        // SAFETY: the kernel reads the address within its length.
        assert_eq!(unsafe { libc::connect(wire.0.as_raw_fd(), &raw const nowhere, length) }, 0);
        option(&wire.0, libc::SO_REUSEPORT, &0i32.to_ne_bytes());
        undeployed(lab, "fw");
    });
}
