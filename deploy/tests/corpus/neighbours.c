// Sections that nobody knows, and types that the kernel may not have, beside one that every kernel takes.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int good(struct xdp_md *ctx)
{
	return XDP_PASS;
}

SEC("nobody/knows")
int unknown(void *ctx)
{
	return 0;
}

SEC("freplace/other")
int replacing(void *ctx)
{
	return 0;
}

SEC("xdp")
int bad(struct xdp_md *ctx)
{
	return *(int *)(long)ctx->data;
}

SEC("?tc")
int optional(struct __sk_buff *skb)
{
	return 0;
}

char _license[] SEC("license") = "GPL";
