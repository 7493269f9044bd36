// A function that no kernel has; its neighbour does without.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

void no_such_function(int number) __ksym;

SEC("tc")
int wants(struct __sk_buff *skb)
{
	no_such_function(1);
	return 0;
}

SEC("tc")
int does_without(struct __sk_buff *skb)
{
	return 0;
}

char _license[] SEC("license") = "GPL";
