//! How the types of an object's maps lie in memory, from its BTF.
//!
//! Knows nothing of maps. What is damaged or without end has no layout.

use ouro_btf::{Btf, Kind, Type};

use crate::manifest::{Layout, Member};

/// More parts than a value of a map has use for; of a larger type only the size is compared.
const MAX_PARTS: usize = 4096;
/// Structs inside of each other.
const MAX_DEPTH: usize = 32;
/// Structs that the kernel finds by their names, and fills and empties itself (`btf_find_field`).
const OF_THE_KERNEL: &[&str] = &[
    "bpf_spin_lock",
    "bpf_res_spin_lock",
    "bpf_timer",
    "bpf_wq",
    "bpf_task_work",
    "bpf_list_head",
    "bpf_list_node",
    "bpf_rb_root",
    "bpf_rb_node",
    "bpf_refcount",
];

/// How the type of this id lies in memory.
pub(super) fn of(btf: &Btf, id: u32) -> Option<Layout> {
    Reader { btf, left: MAX_PARTS }.layout(id, 0)
}

struct Reader<'a> {
    btf: &'a Btf,
    left: usize,
}

impl Reader<'_> {
    fn layout(&mut self, id: u32, depth: usize) -> Option<Layout> {
        self.left = self.left.checked_sub(1)?;
        let (ty, btf) = (self.btf.resolve(id).filter(|_| depth < MAX_DEPTH)?, self.btf);
        let bytes = btf.size(id)?;
        let other = |what: String| Some(Layout::Other { bytes, what });
        match ty.kind {
            Kind::Int | Kind::Enum => Some(Layout::Int { bytes, signed: ty.is_signed() }),
            Kind::Array => self.array(ty, depth),
            Kind::Struct if OF_THE_KERNEL.contains(&btf.name(ty)) => other(format!("`struct {}`", btf.name(ty))),
            Kind::Struct => self.members(ty, depth).map(|members| Layout::Struct { bytes, members }),
            Kind::Union => self.members(ty, depth).map(|members| Layout::Union { bytes, members }),
            Kind::Pointer => other("a pointer".to_owned()),
            Kind::Float => other("a floating-point number".to_owned()),
            _ => None,
        }
    }

    fn array(&mut self, ty: Type, depth: usize) -> Option<Layout> {
        let (of, count) = ty.array()?;
        self.layout(of, depth + 1).map(|of| Layout::Array { count, of: Box::new(of) })
    }

    /// The members; those of a struct without a name belong to the one around it, as in C.
    fn members(&mut self, record: Type, depth: usize) -> Option<Vec<Member>> {
        let mut found = Vec::new();
        for member in self.btf.members(record) {
            let (at, bits) = self.btf.place(record, member);
            let (at, bits) = (u32::try_from(at).ok()?, bits.map(u32::try_from).transpose().ok()?);
            let name = self.btf.member_name(member).to_owned();
            match self.layout(member.ty, depth + 1)? {
                Layout::Struct { members, .. } if name.is_empty() => {
                    for inner in members {
                        found.push(Member { at: at.checked_add(inner.at)?, ..inner });
                    }
                }
                layout => found.push(Member { name, at, bits, layout }),
            }
        }
        Some(found)
    }
}
