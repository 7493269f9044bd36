#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
char _license[] SEC("license") = "GPL";

static __attribute__((noinline)) int deep(struct xdp_md *ctx)
{
	volatile char bytes[300];
	bytes[ctx->rx_queue_index & 127] = 1;
	return bytes[0];
}
SEC("xdp") int p(struct xdp_md *ctx)
{
	volatile char bytes[300];
	bytes[ctx->rx_queue_index & 127] = 1;
	return deep(ctx) + bytes[1];
}
