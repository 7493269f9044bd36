//! The kernel's own types: where a program attaches to, which functions it may call, what CO-RE relocations mean here.
//!
//! Read when first asked for, once for all objects of a deployment.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use ouro_btf::{Btf, Kind};
use ouro_rules::bundle::Bundle;

use super::sys;
use crate::object::{Reason, essential};

const FOLDER: &str = "/sys/kernel/btf";

/// The types that CO-RE relocations are made for.
#[derive(Debug, Clone, Default)]
pub(crate) enum CoreTypes {
    /// The running kernel's.
    #[default]
    Kernel,
    /// Those in this file.
    File(PathBuf),
    /// These, which travelled in a bundle.
    Bundled(Arc<[u8]>),
}

impl CoreTypes {
    /// Those of a file that was given, else those that travelled in the bundle, else the running kernel's.
    pub(crate) fn of(bundle: &Bundle, file: Option<&PathBuf>) -> CoreTypes {
        let file = file.cloned().map(CoreTypes::File);
        file.or_else(|| bundle.btf.clone().map(CoreTypes::Bundled)).unwrap_or_default()
    }
}

/// The types, read or not.
#[derive(Default)]
pub(super) struct KernelTypes {
    pub(super) core_from: CoreTypes,
    kernel: OnceLock<Result<Btf, Reason>>,
    core: OnceLock<Result<Btf, Reason>>,
    modules: OnceLock<Vec<Module>>,
    /// The BTF of modules that was asked for, as the kernel has it.
    open: Mutex<BTreeMap<String, Arc<OwnedFd>>>,
    /// The types of modules that more was asked of than names, behind the kernel's.
    whole: Mutex<BTreeMap<String, Arc<Btf>>>,
}

/// What a module offers by name.
struct Module {
    name: String,
    /// In order of their names.
    types: Vec<(String, Kind, u32)>,
}

/// A type of the kernel, of a module or of a program.
#[derive(Clone)]
pub(super) struct Found {
    /// Its id.
    pub(super) id: u32,
    /// The module's BTF, or the program; none is the kernel's own.
    pub(super) module: Option<Arc<OwnedFd>>,
}

impl Found {
    /// The module's BTF, or the program.
    pub(super) fn module(&self) -> Option<BorrowedFd<'_>> {
        self.module.as_ref().map(AsFd::as_fd)
    }
}

impl KernelTypes {
    /// The kernel's own types.
    pub(super) fn kernel(&self) -> Result<&Btf, Reason> {
        let kernel = self.kernel.get_or_init(|| read(&Path::new(FOLDER).join("vmlinux")));
        kernel.as_ref().map_err(Reason::clone)
    }

    /// The types that CO-RE relocations are made for.
    pub(super) fn core(&self) -> Result<&Btf, Reason> {
        let bundled = |bytes: &[u8]| Btf::read(bytes).map_err(|error| format!("the types in the bundle cannot be read: {error}"));
        let core = match &self.core_from {
            CoreTypes::Kernel => return self.kernel(),
            CoreTypes::File(path) => self.core.get_or_init(|| read(path)),
            CoreTypes::Bundled(bytes) => self.core.get_or_init(|| bundled(bytes)),
        };
        core.as_ref().map_err(Reason::clone)
    }

    /// The types of the module that has one of this name, behind the kernel's; none where relocations are for another kernel.
    pub(super) fn of_module(&self, name: &str, kind: Kind) -> Option<Arc<Btf>> {
        let kernel = self.kernel().ok().filter(|_| matches!(self.core_from, CoreTypes::Kernel))?;
        let (_, module) = self.in_module(kernel, None, name, kind)?;
        self.with_module(kernel, module)
    }

    /// The types of a module, behind the kernel's.
    fn with_module(&self, kernel: &Btf, module: &str) -> Option<Arc<Btf>> {
        let mut whole = self.whole.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !whole.contains_key(module) {
            let mut types = kernel.clone();
            types.extend(&fs::read(Path::new(FOLDER).join(module)).ok()?).ok()?;
            whole.insert(module.to_owned(), Arc::new(types));
        }
        whole.get(module).cloned()
    }

    /// Finds a type by name and kind, in the kernel first and then in its modules.
    pub(super) fn find(&self, name: &str, kind: Kind) -> Result<Option<Found>, Reason> {
        let kernel = self.kernel()?;
        if let Some(id) = find(kernel, name, kind) {
            return Ok(Some(Found { id, module: None }));
        }
        let Some((id, module)) = self.in_module(kernel, None, name, kind) else { return Ok(None) };
        Ok(Some(Found { id, module: Some(self.open(name, module)?) }))
    }

    /// Finds a type of one module alone.
    pub(super) fn find_in(&self, module: &str, name: &str, kind: Kind) -> Result<Option<Found>, Reason> {
        let Some((id, module)) = self.in_module(self.kernel()?, Some(module), name, kind) else { return Ok(None) };
        Ok(Some(Found { id, module: Some(self.open(name, module)?) }))
    }

    /// Finds a function that an object declares, under its name or without its flavour. The first that takes and returns what is
    /// declared; if there are others alone, `Err` within says so.
    pub(super) fn find_function(&self, name: &str, declared: (&Btf, u32)) -> Result<Result<Option<Found>, Unfit>, Reason> {
        let kernel = self.kernel()?;
        let mut unfit = None;
        for name in [name, essential(name)] {
            if let Some(id) = find(kernel, name, Kind::Function) {
                if fits(declared, kernel, id) {
                    return Ok(Ok(Some(Found { id, module: None })));
                }
                unfit = Some(Unfit(name.to_owned()));
            } else if let Some((id, module)) = self.in_module(kernel, None, name, Kind::Function) {
                if self.with_module(kernel, module).is_some_and(|types| fits(declared, &types, id)) {
                    return Ok(Ok(Some(Found { id, module: Some(self.open(name, module)?) })));
                }
                unfit = Some(Unfit(name.to_owned()));
            }
        }
        Ok(unfit.map_or(Ok(None), Err))
    }

    fn in_module(&self, kernel: &Btf, only: Option<&str>, name: &str, kind: Kind) -> Option<(u32, &str)> {
        let file = |name: String| Some((fs::read(Path::new(FOLDER).join(&name)).ok()?, name));
        let modules = self.modules.get_or_init(|| index(kernel, modules().into_iter().filter_map(file)));
        let mut wanted = modules.iter().filter(|module| only.is_none_or(|only| module.name == only));
        wanted.find_map(|module| Some((module.find(name, kind)?, &*module.name)))
    }

    /// The types of a module, where `name` was found.
    fn open(&self, name: &str, module: &str) -> Result<Arc<OwnedFd>, Reason> {
        let mut open = self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(known) = open.get(module) {
            return Ok(known.clone());
        }
        let failed = |why: &str| format!("`{name}` is in the module `{module}`, whose types cannot be had: {why}");
        let found = sys::module_btf(module).map_err(|error| failed(&error.to_string()))?;
        let found = Arc::new(found.ok_or_else(|| failed("it was removed meanwhile"))?);
        open.insert(module.to_owned(), found.clone());
        Ok(found)
    }
}

/// What the kernel has under a name is no function of the declared type.
pub(super) struct Unfit(pub(super) String);

impl Module {
    fn find(&self, name: &str, kind: Kind) -> Option<u32> {
        let first = self.types.partition_point(|(known, ..)| &**known < name);
        let same = self.types[first..].iter().take_while(|(known, ..)| known == name);
        same.filter(|(_, known, _)| *known == kind).map(|(.., id)| *id).next()
    }
}

/// Reads every module once. Their types go on counting from the kernel's.
fn index(kernel: &Btf, files: impl Iterator<Item = (Vec<u8>, String)>) -> Vec<Module> {
    let (mut types, own) = (kernel.clone(), kernel.ids().end);
    let module = |(bytes, name): (Vec<u8>, String)| {
        let types = types.with_module(&bytes, |types| named(types, own)).unwrap_or_default();
        Module { name, types }
    };
    files.map(module).collect()
}

fn named(types: &Btf, from: u32) -> Vec<(String, Kind, u32)> {
    let asked_for =
        |kind| matches!(kind, Kind::Function | Kind::Variable | Kind::Typedef | Kind::Struct | Kind::Union | Kind::Enum);
    let all = (from..types.ids().end).filter_map(|id| Some((id, types.get(id)?)));
    let mut named: Vec<_> = all
        .filter(|(_, ty)| asked_for(ty.kind) && !types.name(*ty).is_empty())
        .map(|(id, ty)| (types.name(ty).to_owned(), ty.kind, id))
        .collect();
    named.sort_by(|one, other| (&one.0, one.2).cmp(&(&other.0, other.2)));
    named
}

fn fits((object, declared): (&Btf, u32), kernel: &Btf, function: u32) -> bool {
    kernel.get(function).is_some_and(|function| object.fits(declared, kernel, function.size_or_type))
}

fn find(types: &Btf, name: &str, kind: Kind) -> Option<u32> {
    types.ids().find(|id| types.get(*id).is_some_and(|ty| ty.kind == kind && types.name(ty) == name))
}

fn modules() -> Vec<String> {
    let entries = fs::read_dir(FOLDER).into_iter().flatten().filter_map(Result::ok);
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| name != "vmlinux");
    names.sort_unstable();
    names
}

fn read(path: &Path) -> Result<Btf, Reason> {
    let no_types = |why: &str| format!("it needs the kernel's types, and `{}` cannot be read: {why}", path.display());
    Btf::read(&fs::read(path).map_err(|error| no_types(&error.to_string()))?).map_err(|error| no_types(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// BTF of functions without types, each with a name of the text that begins behind `base`.
    fn btf(base: u32, names: &[&str]) -> Vec<u8> {
        let (mut text, mut words) = (String::from(if base == 0 { "\0" } else { "" }), Vec::new());
        for name in names {
            words.extend([base + text.len() as u32, 12 << 24, 0]);
            text.push_str(name);
            text.push('\0');
        }
        let (types, strings) = (4 * words.len() as u32, text.len() as u32);
        let header = [0x1_eb9f, 24, 0, types, types, strings];
        header.iter().chain(&words).flat_map(|word: &u32| word.to_ne_bytes()).chain(text.bytes()).collect()
    }

    /// Each was read again, with a copy of all of the kernel's types, for each call of a function that was not the kernel's own.
    #[test]
    fn modules_are_read_once_whatever_is_looked_for() {
        let kernel = Btf::read(&btf(0, &["own", "both"])).unwrap();
        let base = "\0own\0both\0".len() as u32;
        let mut reads = 0;
        let files = [("a", vec!["first", "both"]), ("b", vec!["second"]), ("c", vec!["third", "third_too"])];
        let files = files.map(|(name, names)| (btf(base, &names), name.to_owned())).into_iter().inspect(|_| reads += 1);
        let types = KernelTypes {
            kernel: OnceLock::from(Ok(kernel.clone())),
            modules: OnceLock::from(index(&kernel, files)),
            ..KernelTypes::default()
        };
        let found = |name: &str| types.in_module(&kernel, None, name, Kind::Function);
        for _ in 0..100 {
            assert_eq!((found("first"), found("second"), found("third_too")), (Some((3, "a")), Some((3, "b")), Some((4, "c"))));
            assert_eq!(
                (found("own"), found("absent"), types.in_module(&kernel, None, "first", Kind::Struct)),
                (None, None, None)
            );
            let of_one = |module| types.in_module(&kernel, Some(module), "both", Kind::Function);
            assert_eq!((of_one("a"), of_one("b"), of_one("none")), (Some((4, "a")), None, None));
        }
        assert_eq!(types.find("both", Kind::Function).unwrap().unwrap().id, 2, "the kernel's own comes first");
        assert_eq!(reads, 3);
    }
}
