//! `ouro attach` and `ouro detach`

use ouro_deploy::{Plan, Step};
use ouro_rules::manifest::{self, Manifest, Order, TcVia, XdpMode};
use serde_json::json;

use crate::cli::{Attach, Detach, Direction, Mode, Place};
use crate::commands::deploy::{bpffs, failure};
use crate::commands::undeploy::{name, require};
use crate::error::{CliError, Kind};
use crate::netns;
use crate::session::Session;

/// Attaches a live chain to one more device. The next `ouro deploy` goes back to what the BUILD file says.
pub fn attach(session: &Session, args: &Attach) -> Result<(), CliError> {
    let mut other_type = None;
    let plan = change(session, &args.name, &args.place, &mut |live| {
        let Some(point) = point(live, args) else {
            other_type = Some(live.program_type.clone());
            return live.attach.clone();
        };
        let mut attach: Vec<_> = live
            .attach
            .iter()
            .filter(|point| point.interface() != Some(&args.interface) || is_other_way(point, args))
            .cloned()
            .collect();
        attach.push(point);
        attach
    })?;
    if let Some(ty) = other_type {
        let message = format!("`{}` is of type `{ty}`, which is attached to no network device", args.name);
        return Err(CliError::new(Kind::Failed, message).help("say where it is attached in its BUILD file's `attach`"));
    }
    tell(session, &args.name, &args.place, &plan.steps, &format!("attached `{}` to `{}`", args.name, args.interface))
}

/// Detaches a live chain from a device; what is loaded stays.
pub fn detach(session: &Session, args: &Detach) -> Result<(), CliError> {
    let mut was_there = false;
    let plan = change(session, &args.name, &args.place, &mut |live| {
        was_there = live.attach.iter().any(|point| point.interface() == Some(&args.interface));
        live.attach.iter().filter(|point| point.interface() != Some(&args.interface)).cloned().collect()
    })?;
    if !was_there {
        let message = format!("`{}` is not attached to `{}`", args.name, args.interface);
        return Err(CliError::new(Kind::Failed, message).help("`ouro status` shows where it is attached"));
    }
    tell(session, &args.name, &args.place, &plan.steps, &format!("detached `{}` from `{}`", args.name, args.interface))
}

fn change(
    session: &Session,
    text: &str,
    place: &Place,
    to: &mut dyn FnMut(&Manifest) -> Vec<manifest::Attach>,
) -> Result<Plan, CliError> {
    let name = name(session, text)?;
    let bpffs = bpffs(session, place)?;
    netns::enter(place.netns.as_deref())?;
    ouro_deploy::limit_to_change(&bpffs, &name).map_err(failure)?;
    require(&bpffs, &name)?;
    ouro_deploy::reattach(&bpffs, &name, to, &mut |step| session.detail(&format!("{step}"))).map_err(failure)
}

/// Traffic control has two hooks on each device.
fn is_other_way(point: &manifest::Attach, args: &Attach) -> bool {
    let (manifest::Attach::Tc { direction, .. } | manifest::Attach::Tcx { direction, .. }) = point else { return false };
    *direction != way(args.direction)
}

fn way(direction: Direction) -> manifest::Direction {
    match direction {
        Direction::Ingress => manifest::Direction::Ingress,
        Direction::Egress => manifest::Direction::Egress,
    }
}

/// Where in the receive path a chain is attached already.
fn own_mode(point: &manifest::Attach) -> Option<XdpMode> {
    match point {
        manifest::Attach::Xdp { mode, .. } => Some(*mode),
        manifest::Attach::SharedXdp(place) => Some(place.mode),
        _ => None,
    }
}

/// The attach point of a chain that devices run; none of any other.
fn point(live: &Manifest, args: &Attach) -> Option<manifest::Attach> {
    let interface = args.interface.clone();
    let mode = match args.mode {
        None => live.attach.iter().find_map(own_mode).unwrap_or(XdpMode::Native),
        Some(Mode::Native) => XdpMode::Native,
        Some(Mode::Generic) => XdpMode::Generic,
        Some(Mode::Offload) => XdpMode::Offload,
    };
    let tcx = |interface, direction| manifest::Attach::Tcx { interface, direction, order: Order::Last, revision: None };
    Some(match live.program_type.as_str() {
        "tcx/ingress" | "tc/ingress" => tcx(interface, manifest::Direction::Ingress),
        "tcx/egress" | "tc/egress" => tcx(interface, manifest::Direction::Egress),
        "tc" | "classifier" => {
            let direction = way(args.direction);
            manifest::Attach::Tc { interface, direction, priority: 1, via: TcVia::Auto, handle: 1 }
        }
        "xdp" | "xdp.frags" => manifest::Attach::Xdp { interface, mode },
        _ => return None,
    })
}

fn tell(session: &Session, name: &str, place: &Place, steps: &[Step], done: &str) -> Result<(), CliError> {
    if place.json {
        return session.fact(&format!("{:#}\n", json!({ "name": name, "steps": steps })));
    }
    session.output.status(&format!("{}\n", if steps.is_empty() { "nothing to do" } else { done }));
    Ok(())
}
