//! Chains that a network card runs itself: `xdp(mode = "offload")`. Their programs and maps are made for one device, and used
//! nowhere else.
//!
//! Pure; the manifest says which device it is, so that what differs in that differs for all that compare.

use std::borrow::Cow;

use ouro_rules::bundle::Bundle;
use ouro_rules::manifest::{Attach, CARD_MAPS, Manifest, XdpMode};

use crate::conflict::Conflict;
use crate::hook::Hook;
use crate::kernel::Host;
use crate::observe::Observed;
use crate::resolve::resolve;

/// The bundle as it is loaded on this machine: for the card that an attach point asks for, if one does.
pub(crate) fn bind<'a>(bundle: &'a Bundle, host: &Host) -> Cow<'a, Bundle> {
    let points = bundle.manifest.attach.iter().filter(|point| point.is_offloaded());
    let hooks = points.flat_map(|point| resolve(std::slice::from_ref(point), host).0);
    match hooks.filter_map(|hook| index(&hook, host)).next() {
        Some(card) => Cow::Owned(loaded_for(bundle, Some(card))),
        None => Cow::Borrowed(bundle),
    }
}

/// The same for the kernel, which runs test packets, as cards do not; none if it is for the kernel.
pub(crate) fn for_kernel(bundle: &Bundle) -> Option<Bundle> {
    bundle.manifest.card.map(|_| loaded_for(bundle, None))
}

/// Whether a card is to have maps.
pub(crate) fn has_maps(manifest: &Manifest) -> bool {
    let is_offloaded = manifest.attach.iter().any(Attach::is_offloaded);
    is_offloaded && manifest.maps.iter().any(|map| CARD_MAPS.contains(&map.ty.as_str()))
}

fn loaded_for(bundle: &Bundle, card: Option<u32>) -> Bundle {
    let mut manifest = Manifest { card, ..bundle.manifest.clone() };
    let on_card = manifest.maps.iter_mut().filter(|map| CARD_MAPS.contains(&map.ty.as_str()));
    on_card.for_each(|map| map.card = card);
    Bundle { manifest, ..bundle.clone() }
}

/// Why a hook cannot run what is loaded for this card, or for the kernel. A device that is not there is told as such.
pub(crate) fn other_card(observed: &Observed, hook: &Hook, manifest: &Manifest) -> Option<Conflict> {
    let needed = index(hook, &observed.host);
    let is_offloaded = matches!(hook, Hook::Xdp { mode: XdpMode::Offload, .. });
    let is_wrong = if is_offloaded { needed.is_some() && needed != manifest.card } else { manifest.card.is_some() };
    is_wrong.then(|| Conflict::OtherCard { hook: hook.clone() })
}

fn index(hook: &Hook, host: &Host) -> Option<u32> {
    host.devices.get(hook.interface()?).map(|device| device.index)
}

#[cfg(test)]
mod tests {
    use ouro_rules::manifest::MapSpec;

    use super::*;
    use crate::kernel::Device;

    fn host() -> Host {
        let device = |index| Device { index, labels: vec![format!("card{index}")], ..Device::default() };
        Host {
            devices: [("eth0", 2), ("eth1", 3)].map(|(name, index)| (name.to_owned(), device(index))).into(),
            ..Host::default()
        }
    }

    fn bundle(interface: &str, mode: XdpMode) -> Bundle {
        let map = |name: &str| MapSpec { name: name.to_owned(), ty: name.to_owned(), ..MapSpec::default() };
        let maps = ["array", "hash", "perf_event_array"].map(map).into();
        let attach = vec![Attach::Xdp { interface: interface.to_owned(), mode }];
        let manifest = Manifest { maps, attach, ..Manifest::default() };
        Bundle { manifest, objects: Default::default(), btf: None, digest: String::new() }
    }

    #[test]
    fn programs_and_maps_are_for_the_device_that_is_meant() {
        let cards = |manifest: &Manifest| (manifest.card, manifest.maps.iter().map(|map| map.card).collect::<Vec<_>>());
        for (interface, card) in [("eth1", 3), ("label:card3", 3), ("eth*", 2)] {
            let bundle = bundle(interface, XdpMode::Offload);
            let bound = bind(&bundle, &host());
            // Events go to the kernel's own memory.
            assert_eq!(cards(&bound.manifest), (Some(card), vec![Some(card), Some(card), None]), "{interface}");
            assert_eq!(for_kernel(&bound).map(|bundle| cards(&bundle.manifest)), Some((None, vec![None; 3])));
        }
        for other in [bundle("eth9", XdpMode::Offload), bundle("eth0", XdpMode::Native)] {
            assert_eq!(cards(&bind(&other, &host()).manifest), (None, vec![None; 3]));
            assert_eq!(for_kernel(&other), None);
        }
    }

    /// Only the maps take it; who lacked it was told in the middle of a deploy, and that the card did not take the map.
    #[test]
    fn maps_of_a_card_take_one_capability_more() {
        let takes = |bundle: &Bundle| crate::capabilities(&bundle.manifest).contains(&"CAP_SYS_ADMIN");
        let mut offloaded = bundle("eth0", XdpMode::Offload);
        assert_eq!((takes(&offloaded), takes(&bundle("eth0", XdpMode::Native))), (true, false));
        offloaded.manifest.maps.retain(|map| map.ty == "perf_event_array");
        assert!(!takes(&offloaded));
    }

    #[test]
    fn a_hook_runs_what_was_loaded_for_it() {
        let observed = Observed { host: host(), ..Observed::default() };
        let hook = |interface: &str, mode| Hook::Xdp { interface: interface.to_owned(), mode };
        let is_wrong = |card, hook: &Hook| other_card(&observed, hook, &Manifest { card, ..Manifest::default() }).is_some();
        let (offload, native) = (hook("eth0", XdpMode::Offload), hook("eth0", XdpMode::Native));
        assert_eq!([Some(2), Some(3), None].map(|card| is_wrong(card, &offload)), [false, true, true]);
        assert_eq!([Some(2), None].map(|card| is_wrong(card, &native)), [true, false]);
        assert!(!is_wrong(None, &hook("eth9", XdpMode::Offload)), "that it is not there is told");
    }
}
