//! `ouro attach` and `ouro detach`

use ouro_deploy::{Plan, Step};
use ouro_rules::manifest::{self, Manifest, TcVia, XdpMode};
use serde_json::json;

use crate::cli::{Attach, Detach, Direction, Mode, Place};
use crate::commands::deploy::{bpffs, failure};
use crate::commands::undeploy::{name, require};
use crate::error::{CliError, Kind};
use crate::netns;
use crate::session::Session;

/// Attaches a live chain to one more device. The next `ouro deploy` goes back to what the BUILD file says.
pub fn attach(session: &Session, args: &Attach) -> Result<(), CliError> {
    let plan = change(session, &args.name, &args.place, &mut |live| {
        let mut attach: Vec<_> =
            live.attach.iter().filter(|point| device(point) != args.interface || is_other_way(point, args)).cloned().collect();
        attach.push(point(live, args));
        attach
    })?;
    tell(session, &args.name, &args.place, &plan.steps, &format!("attached `{}` to `{}`", args.name, args.interface))
}

/// Detaches a live chain from a device; what is loaded stays.
pub fn detach(session: &Session, args: &Detach) -> Result<(), CliError> {
    let mut was_there = false;
    let plan = change(session, &args.name, &args.place, &mut |live| {
        was_there = live.attach.iter().any(|point| device(point) == args.interface);
        live.attach.iter().filter(|point| device(point) != args.interface).cloned().collect()
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
    require(&bpffs, &name)?;
    ouro_deploy::reattach(&bpffs, &name, to, &mut |step| session.detail(&format!("{step}"))).map_err(failure)
}

fn device(point: &manifest::Attach) -> &str {
    match point {
        manifest::Attach::Xdp { interface, .. } | manifest::Attach::Tc { interface, .. } => interface,
    }
}

/// Traffic control has two hooks on each device.
fn is_other_way(point: &manifest::Attach, args: &Attach) -> bool {
    matches!(point, manifest::Attach::Tc { direction, .. } if *direction != way(args.direction))
}

fn way(direction: Direction) -> manifest::Direction {
    match direction {
        Direction::Ingress => manifest::Direction::Ingress,
        Direction::Egress => manifest::Direction::Egress,
    }
}

fn point(live: &Manifest, args: &Attach) -> manifest::Attach {
    let interface = args.interface.clone();
    let mode = match args.mode {
        Mode::Native => XdpMode::Native,
        Mode::Generic => XdpMode::Generic,
        Mode::Offload => XdpMode::Offload,
    };
    match live.program_type.as_str() {
        "tcx/ingress" => {
            manifest::Attach::Tc { interface, direction: manifest::Direction::Ingress, priority: 1, via: TcVia::Tcx }
        }
        "tcx/egress" => manifest::Attach::Tc { interface, direction: manifest::Direction::Egress, priority: 1, via: TcVia::Tcx },
        "tc" | "classifier" => manifest::Attach::Tc { interface, direction: way(args.direction), priority: 1, via: TcVia::Auto },
        _ => manifest::Attach::Xdp { interface, mode },
    }
}

fn tell(session: &Session, name: &str, place: &Place, steps: &[Step], done: &str) -> Result<(), CliError> {
    if place.json {
        return session.fact(&format!("{:#}\n", json!({ "name": name, "steps": steps })));
    }
    session.output.status(&format!("{}\n", if steps.is_empty() { "nothing to do" } else { done }));
    Ok(())
}
