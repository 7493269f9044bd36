#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
char _license[] SEC("license") = "GPL";

SEC("xdp") int p(struct xdp_md *ctx)
{
	unsigned char *data_end = (void *)(long)ctx->data_end;
	return *data_end;
}
