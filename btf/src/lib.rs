//! BTF, the types of a kernel or an object: read, and written as C.
//!
//! Pure: bytes in, text out. Knows no files, no rules and no builds. Nothing it is given makes it panic or work without end.

mod damaged;
mod fits;
mod read;
mod types;

mod index;
mod names;
mod same;
mod word;

mod closure;
mod tokens;
mod words;

mod text;

mod layout;
mod print;

pub use damaged::Damaged;
pub use text::HeaderText;
pub use types::{Btf, Enumerator, Kind, Member, Type};
pub use words::Words;

use names::Names;

/// The types of a kernel as the header that CO-RE programs include: `vmlinux.h`.
#[derive(Debug)]
pub struct Header {
    btf: Btf,
    names: Names,
}

impl Header {
    /// Of these types. What each is called, and which words mean it, is found once.
    pub fn of(btf: Btf) -> Result<Header, Damaged> {
        if let Some(id) = btf.dangling() {
            return Err(Damaged::Dangling(id));
        }
        let names = Names::of(&btf);
        Ok(Header { btf, names })
    }

    /// All types with a name, and every enumerator.
    pub fn whole(&self) -> Result<String, Damaged> {
        let is_root = |id: &u32| {
            let ty = self.btf.get(*id);
            ty.is_some_and(|ty| matches!(ty.kind, Kind::Struct | Kind::Union | Kind::Enum | Kind::Typedef))
        };
        let types = self.btf.ids().filter(is_root).filter(|id| self.names.canonical(*id) == *id);
        let roots: Vec<u32> = types.chain(self.names.functions().iter().copied()).collect();
        print::header(&self.btf, &self.names, &roots)
    }

    /// The types that a program with these words can reach; of all others at most the name.
    pub fn slim(&self, words: &Words) -> Result<String, Damaged> {
        print::header(&self.btf, &self.names, &closure::reached(&self.btf, &self.names, words))
    }
}
