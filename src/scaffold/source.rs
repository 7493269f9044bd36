//! C sources of new programs, and the line that jumps to them.
//!
//! Knows C only by its lines; changes nothing it is not sure of.

use ouro_rules::hook::{self, Hook};

/// The source of a program that lets everything pass.
pub(super) fn text(name: &str, ty: &str, hook: &Hook) -> String {
    let (context, header) = context(hook);
    let verdict = match (hook.prog_type, pass(hook)) {
        ("xdp", _) => "XDP_PASS".to_owned(),
        ("sched_cls", _) => "TC_ACT_OK".to_owned(),
        (_, Some(verdict)) => hook.verdict(verdict).unwrap_or_default().to_string(),
        (_, None) => "0".to_owned(),
    };
    let header = if header.is_empty() { String::new() } else { format!("#include <{header}>\n") };
    format!(
        "#include <ouro/program.h>\n{header}\nSEC(\"{ty}\")\nint {name}({context} *ctx)\n{{\n    return {verdict};\n}}\n\n\
         char LICENSE[] SEC(\"license\") = \"Dual MIT/GPL\";\n"
    )
}

/// The name of the verdict that changes nothing; none for types without verdicts.
pub(super) fn pass(hook: &Hook) -> Option<&'static str> {
    let names = hook.verdict_names();
    ["pass", "allow", "accept"].into_iter().find(|name| names.contains(name)).or(names.first().copied())
}

/// The C type programs get a pointer to, and the header that declares more than `linux/bpf.h`.
fn context(hook: &Hook) -> (&'static str, &'static str) {
    match hook.prog_type {
        "xdp" => ("struct xdp_md", ""),
        "sched_cls" | "sched_act" => ("struct __sk_buff", "linux/pkt_cls.h"),
        "socket_filter" | "cgroup_skb" | "sk_skb" | "flow_dissector" | "lwt_in" | "lwt_out" | "lwt_xmit" => {
            ("struct __sk_buff", "")
        }
        "cgroup_sock" => ("struct bpf_sock", ""),
        "cgroup_sock_addr" => ("struct bpf_sock_addr", ""),
        "cgroup_device" => ("struct bpf_cgroup_dev_ctx", ""),
        "cgroup_sysctl" => ("struct bpf_sysctl", ""),
        "cgroup_sockopt" => ("struct bpf_sockopt", ""),
        "sock_ops" => ("struct bpf_sock_ops", ""),
        "sk_msg" => ("struct sk_msg_md", ""),
        "sk_lookup" => ("struct bpf_sk_lookup", ""),
        "sk_reuseport" => ("struct sk_reuseport_md", ""),
        _ => ("void", ""),
    }
}

/// The source of a program with a jump in front of its last `return`, where it used to let pass or drop what was left. None when
/// it is not the plain case: one function of the type, whose last statement is a `return` that is reached.
pub(super) fn with_jump(text: &str, ty: &str, function: Option<&str>, target: &str) -> Option<String> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let heads: Vec<Head<'_>> = (0..lines.len()).filter_map(|line| head(&lines, line, ty)).collect();
    let mut fitting = heads.iter().filter(|head| function.is_none_or(|name| head.name == name));
    let (Some(head), None) = (fitting.next(), fitting.next()) else { return None };
    let end = (head.body..lines.len()).find(|line| lines[*line].trim_end() == "}")?;
    let body: Vec<usize> = (head.body..end).filter(|line| !lines[*line].trim().is_empty()).collect();
    let (first, last) = (*body.first()?, *body.last()?);
    let plain = indent(lines[first]) == indent(lines[last]) && is_return(lines[last]);
    let reached = !body.iter().rev().nth(1).is_some_and(|line| stands_in_the_way(lines[*line], indent(lines[last])));
    (plain && reached).then(|| {
        let jump = format!("{}OURO_JUMP({}, {target});\n", indent(lines[last]), head.context);
        [&lines[..last], &[jump.as_str()], &lines[last..]].concat().concat()
    })
}

/// The beginning of a program's function.
struct Head<'a> {
    name: &'a str,
    /// The name of its parameter.
    context: &'a str,
    /// The first line of its body.
    body: usize,
}

/// Reads `SEC("xdp")`, `int name(struct xdp_md *ctx)`, `{`, on two or three lines.
fn head<'a>(lines: &[&'a str], at: usize, ty: &str) -> Option<Head<'a>> {
    let section = lines[at].strip_prefix("SEC(\"")?.split('"').next()?;
    if hook::find(section)?.prefix != hook::find(ty)?.prefix || lines[at].contains(';') {
        return None;
    }
    let own_line = lines[at].trim_end().ends_with("\")");
    let signature = if own_line { lines.get(at + 1)? } else { &lines[at] };
    let (before, rest) = signature.rsplit_once('(')?;
    let name = before.split_whitespace().last()?.trim_start_matches('*');
    let (parameter, after) = rest.split_once(')')?;
    let context = parameter.rsplit([' ', '*']).next().filter(|word| !word.is_empty() && !parameter.contains(','))?;
    let next = at + if own_line { 2 } else { 1 };
    match after.trim() {
        "{" => Some(Head { name, context, body: next }),
        "" if lines.get(next)?.trim_end() == "{" => Some(Head { name, context, body: next + 1 }),
        _ => None,
    }
}

fn indent(line: &str) -> &str {
    &line[..line.len() - line.trim_start().len()]
}

/// The line without blanks around it and without a comment at its end.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default().trim()
}

fn is_return(line: &str) -> bool {
    let code = code(line);
    code.strip_prefix("return").is_some_and(|rest| rest.starts_with([' ', '(']))
        && code.ends_with(';')
        && code.matches(';').count() == 1
}

/// Whether what follows the line belongs to it, as to a condition, or is never reached because the line leaves the function.
fn stands_in_the_way(line: &str, depth: &str) -> bool {
    let code = code(line);
    let goes_on = code.ends_with([')', ':', '\\']) || code.ends_with("else") || code.ends_with("*/") || code.starts_with('#');
    let leaves = indent(line) == depth && (code.starts_with("OURO_JUMP") || code.starts_with("return"));
    goes_on || leaves
}

#[cfg(test)]
mod tests {
    use super::*;

    const C: &str = "#include <ouro/program.h>\n\nSEC(\"xdp\")\nint a(struct xdp_md *ctx)\n{\n    __u32 key = 0;\n\n    if (key)\n        return 1;\n\
                     \n    return XDP_PASS; // the rest\n}\n\nchar LICENSE[] SEC(\"license\") = \"GPL\";\n";

    #[test]
    fn a_plain_source_gets_its_jump_before_the_last_return() {
        let jumped = with_jump(C, "xdp", None, "b").unwrap_or_default();
        assert_eq!(jumped, C.replace("    return XDP_PASS;", "    OURO_JUMP(ctx, b);\n    return XDP_PASS;"));
        assert_eq!(with_jump(&jumped, "xdp", None, "c"), None, "it would never be reached");
        let short = "SEC(\"tc\") int f(struct __sk_buff *skb) {\n\treturn 0;\n}\n";
        assert!(with_jump(short, "tc", Some("f"), "b").unwrap().contains("\tOURO_JUMP(skb, b);\n\treturn 0;"));
    }

    #[test]
    fn all_else_is_left_to_people() {
        let unsure = [
            C.replace("    return XDP_PASS; // the rest\n", "    if (key) // odd\n    return 1;\n"),
            C.replace("    return XDP_PASS; // the rest\n", "    for (;;)\n        return 1;\n"),
            C.replace("    return XDP_PASS; // the rest\n", ""),
            C.replace("SEC(\"xdp\")", "SEC(\"tc\")"),
            format!("{C}{C}"),
            String::new(),
        ];
        for text in unsure {
            assert_eq!(with_jump(&text, "xdp", None, "b"), None, "{text}");
        }
        assert_eq!(with_jump(C, "xdp", Some("other"), "b"), None);
    }

    #[test]
    fn every_type_gets_a_source() {
        for hook in hook::HOOKS {
            let text = text("f", hook.prefix, hook);
            assert!(text.contains(" *ctx)\n{\n    return ") && text.starts_with("#include"), "{text}");
        }
        assert_eq!(pass(hook::find("tc").unwrap()), Some("pass"));
        assert_eq!(pass(hook::find("kprobe/x").unwrap()), None);
    }
}
