//! Chains that a network card runs itself: `xdp(mode = "offload")`. Their programs and maps are made for one device, and used
//! nowhere else.
//!
//! Pure; the manifest says which device it is, so that what differs in that differs for all that compare.

use std::borrow::Cow;

use ouro_rules::bundle::Bundle;
use ouro_rules::manifest::{CARD_MAPS, Manifest, XdpMode};

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
