#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
char _license[] SEC("license") = "GPL";

SEC("xdp") int p(struct xdp_md *ctx)
{
	unsigned char *at = (void *)(long)ctx->rx_queue_index;
	return *at;
}
