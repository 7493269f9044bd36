//! `ctx.actions`: what implementations can have done. Nothing is done here: all that is made is data.

use std::collections::BTreeMap;

use allocative::Allocative;
use ouro_rules::action::{Action, ActionKind, Artifact, Tool};
use ouro_rules::diagnostic::Diagnostic;
use ouro_rules::native::Native;
use starlark::any::ProvidesStaticType;
use starlark::environment::{Methods, MethodsBuilder};
use starlark::eval::Evaluator;
use starlark::starlark_module;
use starlark::starlark_simple_value;
use starlark::values::dict::DictRef;
use starlark::values::none::NoneType;
use starlark::values::{NoSerialize, StarlarkPagablePanic, StarlarkValue, Value, ValueLike, starlark_value};

use super::args::{Args, arguments};
use super::inputs::{Collected, ToolView, file};
use super::run::Run;
use crate::load::errors::refuse;
use crate::load::values::shown_as;
use crate::load::views::FileView;

/// `ctx.actions`.
#[derive(Clone, Copy, ProvidesStaticType, NoSerialize, StarlarkPagablePanic, Allocative)]
pub(super) struct Actions;

starlark_simple_value!(Actions);
shown_as!(Actions, _this => "<ctx.actions>");

#[starlark_value(type = "actions")]
impl<'v> StarlarkValue<'v> for Actions {
    fn get_methods() -> Option<&'static Methods> {
        Some(ACTIONS.methods())
    }
}

/// What a process is started from.
struct Process<'v> {
    mnemonic: &'v str,
    tool: Tool,
    args: Vec<String>,
    inputs: Option<Value<'v>>,
    tools: Option<Value<'v>>,
    env: Option<Value<'v>>,
    depfile: Option<Value<'v>>,
    outputs: Value<'v>,
}

impl Process<'_> {
    fn run(self, eval: &Evaluator<'_, '_, '_>) -> starlark::Result<NoneType> {
        let run = Run::of(eval)?;
        run.act(self.action(run)?, &run.place(eval));
        Ok(NoneType)
    }

    fn action(self, run: &Run<'_>) -> starlark::Result<Action> {
        let mut inputs = inputs(self.inputs, self.tools)?;
        if let Tool::File(program) = &self.tool {
            inputs.add(program);
        }
        let depfile = self.depfile.map(|value| file("depfile", value)).transpose()?;
        let depfile = depfile.map(|file| file.path().clone());
        let env = self.env.map_or(Ok(BTreeMap::new()), environment)?;
        let mut outputs = Collected::default();
        outputs.extend("outputs", self.outputs)?;
        let kind = ActionKind::Run { tool: self.tool, args: self.args.into(), env, depfile, fallback: None, check: None };
        Ok(action(run, word(self.mnemonic)?, kind, inputs.into_files(), outputs.into_files()))
    }
}

fn action(run: &Run<'_>, mnemonic: &str, kind: ActionKind, inputs: Vec<Artifact>, outputs: Vec<Artifact>) -> Action {
    Action { mnemonic: mnemonic.into(), owner: run.target.label.clone(), kind, inputs, outputs }
}

/// Mnemonics stand in logs, one word each.
fn word(mnemonic: &str) -> starlark::Result<&str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !mnemonic.is_empty() && mnemonic.chars().all(plain) {
        return Ok(mnemonic);
    }
    let finding = Diagnostic::bare(format!("`{}` is no mnemonic", mnemonic.escape_debug()));
    Err(refuse(finding.help("use one word of letters, digits, `_` and `-`")))
}

fn environment(given: Value<'_>) -> starlark::Result<BTreeMap<String, String>> {
    let text = |value: Value<'_>| value.unpack_str().map(str::to_owned);
    let entries = DictRef::from_value(given)
        .and_then(|dict| dict.iter().map(|(name, value)| Some((text(name)?, text(value)?))).collect::<Option<BTreeMap<_, _>>>());
    let wrong = |what: &str| refuse(Diagnostic::bare(what.to_owned()).help("write `{\"NAME\": \"value\"}`"));
    let entries = entries.ok_or_else(|| wrong("`env` is a dictionary of strings"))?;
    match entries.keys().find(|name| name.is_empty() || name.contains('=')) {
        Some(name) => Err(wrong(&format!("`{name}` cannot name a variable of the environment"))),
        None => Ok(entries),
    }
}

fn tool(executable: Value<'_>) -> starlark::Result<Tool> {
    if let Some(file) = executable.downcast_ref::<FileView>() {
        return Ok(Tool::File(file.0.clone()));
    }
    if let Some(tool) = executable.downcast_ref::<ToolView>() {
        return Ok(tool.0.clone());
    }
    let help = "give a file, a tool of `ctx.toolchain`, or the name of a program in `PATH`";
    match executable.unpack_str() {
        Some(name) if !name.is_empty() && !name.contains(['/', '\0']) => Ok(Tool::Program(name.into())),
        Some(name) => Err(refuse(Diagnostic::bare(format!("`{}` is no program's name", name.escape_debug())).help(help))),
        None => Err(refuse(Diagnostic::bare(format!("`executable` is a {}", executable.get_type())).help(help))),
    }
}

/// The files that `inputs` and `tools` name.
fn inputs(given: Option<Value<'_>>, tools: Option<Value<'_>>) -> starlark::Result<Collected> {
    let mut files = Collected::default();
    given.map_or(Ok(()), |given| files.extend("inputs", given))?;
    tools.map_or(Ok(()), |tools| files.extend("tools", tools))?;
    Ok(files)
}

fn declare(name: &str, eval: &Evaluator<'_, '_, '_>) -> starlark::Result<FileView> {
    let run = Run::of(eval)?;
    run.declare(name, &run.place(eval)).map(FileView).map_err(refuse)
}

/// The arguments of a process; none when nothing is given.
fn given(list: Option<Value<'_>>) -> starlark::Result<Vec<String>> {
    list.map_or(Ok(Vec::new()), arguments)
}

/// What `/bin/sh` is told to run a command, with arguments for that.
fn shell(command: &str, list: Option<Value<'_>>) -> starlark::Result<Vec<String>> {
    let own = ["-e", "-c", command, "sh"].map(str::to_owned);
    Ok(own.into_iter().chain(given(list)?).collect())
}

fn write(output: Value<'_>, content: Value<'_>, executable: bool, eval: &Evaluator<'_, '_, '_>) -> starlark::Result<NoneType> {
    let run = Run::of(eval)?;
    let content = match (content.unpack_str(), content.downcast_ref::<Args>()) {
        (Some(text), _) => text.to_owned(),
        (None, Some(_)) => arguments(content)?.into_iter().map(|line| line + "\n").collect(),
        (None, None) => {
            let finding = Diagnostic::bare(format!("`content` is a {}", content.get_type()));
            return Err(refuse(finding.help("give a string, or `ctx.actions.args()`")));
        }
    };
    let kind = ActionKind::Write { content: content.into_bytes().into(), executable };
    run.act(action(run, "write", kind, Vec::new(), vec![file("output", output)?]), &run.place(eval));
    Ok(NoneType)
}

fn copy(source: Value<'_>, output: Value<'_>, mnemonic: &str, eval: &Evaluator<'_, '_, '_>) -> starlark::Result<NoneType> {
    let run = Run::of(eval)?;
    let mut from = Collected::default();
    from.extend("src", source)?;
    let from = from.into_files();
    if from.len() != 1 {
        let finding = Diagnostic::bare(format!("one file can be copied, and these are {}", from.len()));
        return Err(refuse(finding.help("copy each by itself")));
    }
    let action = action(run, mnemonic, ActionKind::Native(Native::Copy), from, vec![file("output", output)?]);
    run.act(action, &run.place(eval));
    Ok(NoneType)
}

starlark::methods_static!(ACTIONS = actions_methods);

#[starlark_module]
fn actions_methods(builder: &mut MethodsBuilder) {
    /// A file that one of the rule's actions will make, relative to the target's package.
    fn declare_file<'v>(
        #[starlark(this)] _this: Value<'v>,
        #[starlark(require = pos)] name: &str,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<FileView> {
        declare(name, eval)
    }

    /// An empty command line.
    fn args<'v>(#[starlark(this)] _this: Value<'v>) -> starlark::Result<Args> {
        Ok(Args::default())
    }

    /// Writes a string, or the arguments of an `args()` one a line.
    fn write<'v>(
        #[starlark(this)] _this: Value<'v>,
        output: Value<'v>,
        content: Value<'v>,
        #[starlark(require = named, default = false)] is_executable: bool,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<NoneType> {
        write(output, content, is_executable, eval)
    }

    /// Gives a file's bytes another name.
    fn copy<'v>(
        #[starlark(this)] _this: Value<'v>,
        src: Value<'v>,
        output: Value<'v>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<NoneType> {
        copy(src, output, "copy", eval)
    }

    /// The same as `copy`: outputs are plain files, so that they are the same wherever they come from.
    fn symlink<'v>(
        #[starlark(this)] _this: Value<'v>,
        #[starlark(require = named)] output: Value<'v>,
        #[starlark(require = named)] target_file: Value<'v>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<NoneType> {
        copy(target_file, output, "symlink", eval)
    }

    /// Runs a program in the workspace root.
    fn run<'v>(
        #[starlark(this)] _this: Value<'v>,
        #[starlark(require = named)] executable: Value<'v>,
        #[starlark(require = named)] outputs: Value<'v>,
        #[starlark(require = named)] arguments: Option<Value<'v>>,
        #[starlark(require = named)] inputs: Option<Value<'v>>,
        #[starlark(require = named)] tools: Option<Value<'v>>,
        #[starlark(require = named)] env: Option<Value<'v>>,
        #[starlark(require = named, default = "run")] mnemonic: &'v str,
        #[starlark(require = named)] depfile: Option<Value<'v>>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<NoneType> {
        let args = given(arguments)?;
        Process { mnemonic, tool: tool(executable)?, args, inputs, tools, env, depfile, outputs }.run(eval)
    }

    /// Runs a command of `/bin/sh -e` in the workspace root; `arguments` are its `$1`, `$2` and so on.
    fn run_shell<'v>(
        #[starlark(this)] _this: Value<'v>,
        #[starlark(require = named)] command: &str,
        #[starlark(require = named)] outputs: Value<'v>,
        #[starlark(require = named)] arguments: Option<Value<'v>>,
        #[starlark(require = named)] inputs: Option<Value<'v>>,
        #[starlark(require = named)] tools: Option<Value<'v>>,
        #[starlark(require = named)] env: Option<Value<'v>>,
        #[starlark(require = named, default = "shell")] mnemonic: &'v str,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<NoneType> {
        let args = shell(command, arguments)?;
        Process { mnemonic, tool: Tool::Shell, args, inputs, tools, env, depfile: None, outputs }.run(eval)
    }
}
