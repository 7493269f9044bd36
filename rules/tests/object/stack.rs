//! How much of the stack a program and its functions may take.

use crate::declared::xdp;

/// A program whose own frame has so many bytes, and that calls a function with a frame of its own.
fn nested(own: u32, callee: u32, in_callee: &str) -> String {
    format!(
        r#"static __noinline int inner(struct xdp_md *ctx) {{
	volatile __u64 room[{callee} / 8];
	for (int i = 0; i < {callee} / 8; i++) room[i] = i;
	if (room[0]) return 3;
	{in_callee}
}}
SEC("xdp") int parse(struct xdp_md *ctx) {{
	volatile __u64 room[{own} / 8];
	for (int i = 0; i < {own} / 8; i++) room[i] = i;
	return inner(ctx) + room[0];
}}"#
    )
}

#[test]
fn the_stack_above_a_jump_is_bounded() {
    let jump = "OURO_JUMP(ctx, a);";
    assert_eq!(xdp(&["a"]).facts(&nested(240, 16, jump)).stack, 256);
    assert_eq!(
        xdp(&["a"]).finding(&nested(248, 16, jump)),
        "fw/parse.c:6: `inner` jumps with 256 bytes of stack in its callers; the kernel allows less than 256"
    );
    // Without a jump the same frames are fine.
    assert_eq!(xdp(&[]).facts(&nested(248, 16, "return ctx->rx_queue_index;")).stack, 272);
}

#[test]
fn the_whole_stack_is_bounded() {
    let plain = "return ctx->rx_queue_index;";
    assert_eq!(xdp(&[]).facts(&nested(256, 256, plain)).stack, 512);
    assert_eq!(
        xdp(&[]).finding(&nested(256, 264, plain)),
        "fw/parse.c:2: `inner` needs 528 bytes of stack, 256 of them in its callers; the kernel has 512"
    );
}

#[test]
fn endless_recursion_is_a_finding() {
    let source = r#"__attribute__((noinline)) int inner(struct xdp_md *ctx, int n);
__attribute__((noinline)) int inner(struct xdp_md *ctx, int n) {
	int more = n > 9 ? 1 : inner(ctx, n + 1);
	asm volatile("" : "+r"(more));
	return more + 1;
}
SEC("xdp") int parse(struct xdp_md *ctx) { return inner(ctx, 0); }"#;
    assert_eq!(xdp(&[]).finding(source), "fw/parse.c:3: `parse` reaches `inner` through more than 8 functions");
}
