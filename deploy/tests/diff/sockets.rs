//! Sockets: which one a descriptor means, and what nobody can ask of it.

use ouro_deploy::{
    Attachment, Change, Conflict, Hook, MapFacts, Observed, Options, Problem, Root, Runs, SocketId, Step, diff, resolve, way_back,
};
use ouro_rules::bundle::Bundle;
use ouro_rules::manifest::{Attach, Socket};

use crate::{NAMESPACE, bundle, generation, made_live, nothing, pin, seen, steps};

/// The root of chains of the type that [`bundle`] makes.
const ROOT: &str = "xdp-XDP";

fn point(fd: u32, shared_port: bool) -> Attach {
    Attach::Socket(Socket { pid: 7, fd, shared_port })
}

/// The socket that a descriptor means.
fn hook(fd: u32, cookie: u64, shared_port: bool) -> Hook {
    let id = Some(SocketId { inode: 1000 + cookie, cookie });
    Hook::Socket { place: Socket { pid: 7, fd, shared_port }, id }
}

/// A live chain at a socket; its descriptors mean the sockets with these cookies now.
fn live(old: &Bundle, at: &Hook, descriptors: &[(u32, u64)]) -> Observed {
    let mut observed = nothing();
    observed.has_folders = true;
    let mut first = made_live(generation(old, 1), 1);
    first.meta.as_mut().unwrap().hooks = vec![at.clone()];
    observed.generations.insert(1, first);
    let root = Root { stub: Some(99), table: Some(MapFacts::default()), program: Some(10) };
    observed.roots.insert(ROOT.to_owned(), root);
    let (hook, root, target, generation) = (at.clone(), Some(ROOT.to_owned()), Some(0), Some(1));
    let attachment = Attachment { hook, link: None, program: 10, root, target, generation, namespace: NAMESPACE };
    observed.attachments.insert(at.name(), attachment);
    observed.maps.insert(pin(old), seen());
    let ids = descriptors.iter().map(|(fd, cookie)| ((7, *fd), SocketId { inode: 1000 + cookie, cookie: *cookie }));
    observed.host.sockets = ids.collect();
    observed
}

fn moved(steps: &[Step]) -> Vec<&Step> {
    steps.iter().filter(|step| step.moved_hook().is_some()).collect()
}

#[test]
fn a_descriptor_is_the_socket_that_it_means_now() {
    let mut host = nothing().host;
    let name = |host: &_| resolve(&[point(3, false)], host).0[0].name();
    assert_eq!(name(&host), "socket+filter-descriptor+3+of+process+7");
    host.sockets.insert((7, 3), SocketId { inode: 5, cookie: 42 });
    assert_eq!(name(&host), "socket-42");
    assert_eq!(hook(3, 42, true).name(), "port-42", "which is another place of the same socket");
}

#[test]
fn two_descriptors_of_one_socket_are_one_place() {
    let (wanted, at) = (bundle("a", &[point(3, false), point(4, false)]), hook(3, 42, false));
    let found = diff(&wanted, &live(&wanted, &at, &[(3, 42), (4, 42)]), &Options::default()).unwrap_err();
    assert_eq!(found, [Conflict::Twice { hook: hook(4, 42, false) }]);
    // One that has another descriptor now is attached already.
    let moved_on = bundle("a", &[point(4, false)]);
    let found = steps(&moved_on, &live(&wanted, &at, &[(4, 42)]));
    assert!(moved(&found).is_empty() && !found.is_empty(), "{found:?}");
}

#[test]
fn a_recycled_descriptor_is_another_place() {
    let (wanted, at) = (bundle("a", &[point(3, false)]), hook(3, 42, false));
    let mut observed = live(&wanted, &at, &[(3, 43)]);
    let found = steps(&wanted, &observed);
    let attach = Step::AttachRoot { hook: hook(3, 43, false), root: ROOT.to_owned(), generation: 2 };
    let detach = Step::DetachRoot { hook: at.clone(), root: ROOT.to_owned(), generation: 1 };
    assert_eq!(moved(&found), [&attach, &detach]);
    // The one before may be closed, of which nothing is left to detach.
    observed.attachments.get_mut("socket-42").unwrap().target = None;
    let plan = diff(&wanted, &observed, &Options::default()).unwrap();
    assert_eq!(moved(&plan.steps), [&attach]);
    let closed = |change: &Change| matches!(change, Change::Drift { problem: Problem::SocketClosed { .. } });
    assert!(plan.changes.iter().any(closed), "{:?}", plan.changes);
}

#[test]
fn what_cannot_be_asked_is_said_and_made_sure_of_by_force() {
    let (old, new, at) = (bundle("a", &[point(3, false)]), bundle("b", &[point(3, false)]), hook(3, 42, false));
    let observed = live(&old, &at, &[(3, 42)]);
    let plan = diff(&new, &observed, &Options::default()).unwrap();
    assert!(plan.changes.contains(&Change::Unasked { hook: at.clone() }) && moved(&plan.steps).is_empty(), "{:?}", plan.changes);
    let force = Options { force_links: true, ..Options::default() };
    let plan = diff(&new, &observed, &force).unwrap();
    let runs = |generation| Runs::Root { root: ROOT.to_owned(), generation };
    assert_eq!(moved(&plan.steps), [&Step::Exchange { hook: at.clone(), from: runs(1), to: runs(2) }]);
    let said: Vec<String> = plan.changes.iter().map(Change::to_string).collect();
    assert!(!said.iter().any(|said| said.starts_with("not atomic") || said.contains("does not tell")), "{said:?}");
    assert_eq!(steps(&old, &observed), [], "what is live is not attached again for nothing");
}

/// Whether a killed deploy had come so far nobody can tell, so what should be attached is attached again, until it is live for good.
#[test]
fn a_shared_port_is_attached_again_by_every_switch() {
    let (old, new, at) = (bundle("a", &[point(3, true)]), bundle("b", &[point(3, true)]), hook(3, 42, true));
    let mut observed = live(&old, &at, &[(3, 42)]);
    let again = |steps: &[Step]| matches!(moved(steps)[..], [Step::Exchange { .. }]);
    assert!(again(&steps(&new, &observed)));
    assert_eq!(steps(&old, &observed), []);
    let mut second = made_live(generation(&new, 2), 2);
    second.meta.as_mut().unwrap().hooks = vec![at.clone()];
    observed.generations.insert(2, second);
    assert!(again(&steps(&old, &observed)), "the last deploy was stopped before this one was live");
    observed.attachments.get_mut("port-42").unwrap().generation = Some(2);
    observed.roots.get_mut(ROOT).unwrap().program = Some(20);
    assert!(again(&way_back(&observed).unwrap().steps));
}

#[test]
fn what_goes_from_a_shared_port_goes_before_what_comes() {
    let (old, new, at) = (bundle("a", &[point(3, true)]), bundle("a", &[point(4, true)]), hook(3, 42, true));
    let found = steps(&new, &live(&old, &at, &[(3, 42), (4, 43)]));
    assert!(matches!(moved(&found)[..], [Step::DetachRoot { .. }, Step::AttachRoot { .. }]), "{found:?}");
}
