// Functions of the kernel under names of our own: of several declarations the one that is meant is the one that fits.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

void bpf_rcu_read_lock___ours(void) __ksym;
void bpf_rcu_read_unlock(void) __ksym;
int bpf_rcu_read_lock___other(int a, int b) __ksym __weak;
int bpf_rcu_read_unlock___wrong(int a) __ksym;

SEC("tc")
int flavours(struct __sk_buff *skb)
{
	bpf_rcu_read_lock___ours();
	bpf_rcu_read_unlock();
	// What does not fit is not there: the verifier never sees the call.
	if (bpf_rcu_read_lock___other)
		return bpf_rcu_read_lock___other(1, 2);
	return 0;
}

SEC("tc")
int wrong(struct __sk_buff *skb)
{
	return bpf_rcu_read_unlock___wrong(1);
}

char _license[] SEC("license") = "GPL";
