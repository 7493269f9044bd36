//! From a manifest's attach points to hooks: devices by pattern and label, one counter for each CPU, sockets by descriptors.
//!
//! Pure.

use ouro_rules::manifest::{Attach, LABEL, PerfEvent, is_pattern, matches};

use crate::conflict::Conflict;
use crate::hook::Hook;
use crate::kernel::Host;

/// The hooks that attach points mean on a machine, and the points that mean none.
pub fn resolve(attach: &[Attach], host: &Host) -> (Vec<Hook>, Vec<Conflict>) {
    let (mut hooks, mut conflicts) = (Vec::new(), Vec::new());
    for point in attach {
        match devices(point, host) {
            Some(devices) if devices.is_empty() => conflicts.push(no_device(point.interface().unwrap_or_default(), host)),
            Some(devices) => hooks.extend(devices.iter().map(|device| Hook::new(&point.on(device), host.tcx))),
            None => hooks.extend(others(point, host)),
        }
    }
    (hooks, conflicts)
}

/// The names of the devices a point means; a plain name means itself, whether it is there or not.
fn devices(point: &Attach, host: &Host) -> Option<Vec<String>> {
    let interface = point.interface()?;
    let names = || host.devices.iter();
    Some(match interface.strip_prefix(LABEL) {
        Some(label) => {
            names().filter(|(_, device)| device.labels.iter().any(|own| own == label)).map(|(name, _)| name.clone()).collect()
        }
        None if is_pattern(interface) => names().map(|(name, _)| name).filter(|name| matches(interface, name)).cloned().collect(),
        None => vec![interface.to_owned()],
    })
}

fn no_device(interface: &str, host: &Host) -> Conflict {
    let existing = match interface.starts_with(LABEL) {
        true => host.devices.values().flat_map(|device| &device.labels).map(|label| format!("{LABEL}{label}")).collect(),
        false => host.devices.keys().cloned().collect(),
    };
    Conflict::NoDevice { interface: interface.to_owned(), similar: None, existing }
}

/// A counter of all processes is one of each CPU to the kernel, and a descriptor is the socket that it means now.
fn others(point: &Attach, host: &Host) -> Vec<Hook> {
    match point {
        Attach::Socket(place) => {
            let id = host.sockets.get(&(place.pid, place.fd)).and_then(|found| found.as_ref().ok()).copied();
            vec![Hook::Socket { place: place.clone(), id }]
        }
        Attach::PerfEvent(place) if place.cpu.is_none() && place.pid.is_none() => {
            host.cpus.iter().map(|cpu| Hook::PerfEvent(PerfEvent { cpu: Some(*cpu), ..place.clone() })).collect()
        }
        other => vec![Hook::new(other, host.tcx)],
    }
}

#[cfg(test)]
mod tests {
    use ouro_rules::manifest::{Sample, XdpMode};

    use super::*;
    use crate::kernel::Device;

    fn host() -> Host {
        let device = |index, label: &str| Device { index, labels: vec![label.to_owned()], ..Device::default() };
        let devices =
            [("eth0", device(2, "uplink")), ("eth1", device(3, "lan")), ("lo", Device { index: 1, ..Device::default() })];
        Host { devices: devices.map(|(name, device)| (name.to_owned(), device)).into(), cpus: vec![0, 3], ..Host::default() }
    }

    fn names(interface: &str) -> Vec<String> {
        let point = Attach::Xdp { interface: interface.to_owned(), mode: XdpMode::Native };
        let (hooks, conflicts) = resolve(&[point], &host());
        let conflicts = conflicts.iter().map(|conflict| format!("{conflict}: {}", conflict.help()));
        hooks.iter().map(Hook::name).chain(conflicts).collect()
    }

    #[test]
    fn devices_are_found_by_name_pattern_and_label() {
        assert_eq!(names("eth9"), ["xdp-eth9"]);
        assert_eq!(names("eth*"), ["xdp-eth0", "xdp-eth1"]);
        assert_eq!(names("label:lan"), ["xdp-eth1"]);
        assert_eq!(names("wan*"), ["there is no network device `wan*`: there are: eth0, eth1, lo"]);
        assert_eq!(names("label:wan"), ["there is no network device `label:wan`: there are: label:uplink, label:lan"]);
    }

    #[test]
    fn a_counter_of_everything_is_one_of_each_cpu() {
        let place = PerfEvent { event: "cpu-clock".to_owned(), sample: Sample::Frequency(99), cpu: None, pid: None };
        let count = |place: &PerfEvent| resolve(&[Attach::PerfEvent(place.clone())], &host()).0.len();
        assert_eq!(count(&place), 2);
        assert_eq!(count(&PerfEvent { pid: Some(7), ..place.clone() }), 1);
        assert_eq!(count(&PerfEvent { cpu: Some(3), ..place }), 1);
    }
}
