#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
char _license[] SEC("license") = "GPL";

SEC("xdp") int p(struct xdp_md *ctx)
{
	unsigned char *data = (void *)(long)ctx->data;
	asm volatile("%0 *= 2" : "+r"(data));
	return (long)data;
}
