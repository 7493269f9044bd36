#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
char _license[] SEC("license") = "GPL";

SEC("xdp") int p(struct xdp_md *ctx)
{
	unsigned char *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	if (data + 14 > data_end || bpf_xdp_adjust_head(ctx, -14))
		return 1;
	return data[12];
}
