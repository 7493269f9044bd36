//! Sockets: which one a descriptor means, and what nobody can ask of it.

use ouro_deploy::{
    Attachment, Change, Conflict, Hook, MapFacts, NotAtomic, Observed, Options, Port, Problem, RemoveOptions, Root, Runs,
    SocketId, Step, Unseen, diff, remove, resolve, way_back,
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
    Hook::Socket { place: Socket { pid: 7, fd, shared_port }, id: Some(socket(cookie)) }
}

fn socket(cookie: u64) -> SocketId {
    SocketId { inode: 1000 + cookie, cookie, port: None }
}

/// A socket that stands for the port with this number.
fn of_port(cookie: u64, port: u16) -> SocketId {
    let port = Port { namespace: 1, protocol: 17, device: 0, address: ([127, 0, 0, 1], port).into() };
    SocketId { port: Some(port), ..socket(cookie) }
}

/// The hook of such a socket.
fn port(fd: u32, cookie: u64, port: u16) -> Hook {
    Hook::Socket { place: Socket { pid: 7, fd, shared_port: true }, id: Some(of_port(cookie, port)) }
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
    let ids = descriptors.iter().map(|(fd, cookie)| ((7, *fd), Ok(socket(*cookie))));
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
    host.sockets.insert((7, 3), Ok(socket(42)));
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

/// That program was gone for a moment of which the plan said nothing; and when what came could not be attached, for good.
#[test]
fn a_port_whose_sockets_are_known_is_never_without_its_program() {
    let (old, new, at) = (bundle("a", &[point(3, true)]), bundle("a", &[point(4, true)]), port(3, 42, 80));
    let mut observed = live(&old, &at, &[]);
    observed.host.sockets.insert((7, 4), Ok(of_port(43, 80)));
    let found = steps(&new, &observed);
    let runs = |generation| Runs::Root { root: ROOT.to_owned(), generation };
    assert_eq!(moved(&found), [&Step::Exchange { hook: port(4, 43, 80), from: runs(1), to: runs(2) }]);
    // Another port is another place.
    observed.host.sockets.insert((7, 4), Ok(of_port(43, 81)));
    let plan = diff(&new, &observed, &Options::default()).unwrap();
    assert!(matches!(moved(&plan.steps)[..], [Step::DetachRoot { .. }, Step::AttachRoot { .. }]), "{:?}", plan.steps);
    let gap = |plan: &ouro_deploy::Plan| {
        plan.changes.iter().any(|change| matches!(change, Change::NotAtomic { why: NotAtomic::Gap { .. } }))
    };
    assert!(!gap(&plan), "{:?}", plan.changes);
    // Of one that was not bound nobody knows.
    observed.host.sockets.insert((7, 4), Ok(socket(43)));
    assert!(gap(&diff(&new, &observed, &Options::default()).unwrap()));
}

#[test]
fn two_sockets_of_one_port_are_one_place() {
    let wanted = bundle("a", &[point(3, true), point(4, true)]);
    let mut observed = nothing();
    observed.host.sockets = [((7, 3), Ok(of_port(42, 80))), ((7, 4), Ok(of_port(43, 80)))].into();
    let found = diff(&wanted, &observed, &Options::default()).unwrap_err();
    assert_eq!(found, [Conflict::Twice { hook: port(4, 43, 80) }]);
    observed.host.sockets.insert((7, 4), Ok(of_port(43, 81)));
    assert!(diff(&wanted, &observed, &Options::default()).is_ok());
}

/// What was there is replaced at one instant, and is there still if that fails.
#[test]
fn a_socket_is_taken_over_by_one_step() {
    let (wanted, at) = (bundle("a", &[point(3, false)]), hook(3, 42, false));
    let mut observed = nothing();
    observed.host.sockets.insert((7, 3), Ok(socket(42)));
    observed.taken.insert(at.name());
    let taken = Conflict::Taken { hook: at.clone(), program: None, deployment: None };
    assert_eq!(diff(&wanted, &observed, &Options::default()).unwrap_err(), [taken]);
    let force = Options { force_links: true, ..Options::default() };
    let plan = diff(&wanted, &observed, &force).unwrap();
    assert_eq!(moved(&plan.steps), [&Step::TakeOver { hook: at.clone(), root: ROOT.to_owned(), generation: 1 }]);
    // The classic filter that its process put in the place of ours.
    let mut observed = live(&wanted, &at, &[(3, 42)]);
    let attached = observed.attachments.get_mut("socket-42").unwrap();
    (attached.program, attached.root, attached.generation) = (0, None, None);
    let found = diff(&wanted, &observed, &Options::default()).unwrap_err();
    assert_eq!(found, [Conflict::Changed { hook: at.clone(), program: None }]);
    assert!(matches!(moved(&diff(&wanted, &observed, &force).unwrap().steps)[..], [Step::TakeOver { .. }]));
}

/// A deploy that was killed between the root table and the socket left another's program there, which was taken for ours.
#[test]
fn a_socket_that_was_never_attached_for_good_is_attached_again() {
    let (wanted, at) = (bundle("a", &[point(3, false)]), hook(3, 42, false));
    let mut observed = live(&wanted, &at, &[(3, 42)]);
    assert_eq!(steps(&wanted, &observed), []);
    observed.generations.get_mut(&1).unwrap().went_live = None;
    let found = steps(&wanted, &observed);
    assert!(matches!(moved(&found)[..], [Step::Exchange { .. }]), "{found:?}");
    // Nor does it count that one before had it which has not been live since.
    let elsewhere = hook(5, 44, false);
    let mut second = made_live(generation(&wanted, 2), 2);
    second.meta.as_mut().unwrap().hooks = vec![elsewhere];
    observed.generations.insert(2, second);
    assert!(matches!(moved(&steps(&wanted, &observed))[..], [Step::Exchange { .. }]));
}

/// Its stub was told as somebody's filter, and a deploy asked for `--force-links`.
#[test]
fn a_socket_whose_stub_lost_its_pin_is_taken_back() {
    let (wanted, at) = (bundle("a", &[point(3, false)]), hook(3, 42, false));
    let mut observed = live(&wanted, &at, &[(3, 42)]);
    observed.roots.get_mut(ROOT).unwrap().stub = None;
    let plan = diff(&wanted, &observed, &Options::default()).unwrap();
    assert!(matches!(moved(&plan.steps)[..], [Step::Exchange { .. }]), "{:?}", plan.steps);
    let gone = |change: &Change| matches!(change, Change::Drift { problem: Problem::StubGone { .. } });
    assert!(plan.changes.iter().any(gone), "{:?}", plan.changes);
    // With its table nothing tells which generation it ran.
    observed.roots.clear();
    let attached = observed.attachments.get_mut("socket-42").unwrap();
    (attached.program, attached.generation) = (0, None);
    assert!(matches!(moved(&steps(&wanted, &observed))[..], [Step::TakeOver { .. }]));
    let removed = remove(&observed, &RemoveOptions::default()).unwrap();
    assert!(removed.contains(&Step::RemoveLink { hook: at }), "{removed:?}");
}

#[test]
fn a_socket_that_is_not_seen_is_changed_by_nobody_and_left_by_undeploying() {
    let (wanted, at) = (bundle("a", &[point(3, false)]), hook(3, 42, false));
    let mut observed = live(&wanted, &at, &[(3, 42)]);
    observed.attachments.clear();
    let see = |is_curable| Unseen { what: "why".to_owned(), help: "help".to_owned(), is_curable };
    for is_curable in [true, false] {
        observed.unseen = [(at.name(), (at.clone(), see(is_curable)))].into();
        let (why, help) = ("why".to_owned(), "help".to_owned());
        let unseen = vec![Conflict::Unseen { hook: at.clone(), why, help, is_curable }];
        assert_eq!(diff(&wanted, &observed, &Options::default()).unwrap_err(), unseen);
        assert_eq!(remove(&observed, &RemoveOptions::default()).is_err(), is_curable, "who can be seen by others is not left");
        let force = RemoveOptions { force: true, ..RemoveOptions::default() };
        let removed = remove(&observed, &force).unwrap();
        assert!(moved(&removed).is_empty() && removed.contains(&Step::RemoveRoot { root: ROOT.to_owned() }), "{removed:?}");
    }
}
