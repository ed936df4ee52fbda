// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Compares a connection and a process with rules, by netmon's own code and maps: a socket filter, which any kernel runs
 * on request (BPF_PROG_TEST_RUN). Without MINIMAL, the code of options is there, too, which needs other programs' helpers.
 */
#define MINIMAL
#include "rules.h"

/* What is compared, and what comes of it. */
struct rule_case {
	__u32 direction; /* enum direction */
	__u32 family;
	__u8 addresses[2][16];
	__u16 ports[2];
	__u32 netns;
	__u32 ids[5]; /* uid, euid, gid, egid, auid */
	__u32 path_length; /* 0: the executable is unknown */
	__u32 is_complete;
	__u32 is_wanted; /* the result */
	__u8 path[1024]; /* of the executable */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct rule_case);
} cases SEC(".maps");

static __always_inline void fill_image(struct scratch *scratch, const struct rule_case *one)
{
	__u32 length = one->path_length & 1023, i;

	scratch->image_state = length ? IMAGE_READ : IMAGE_NONE;
	scratch->walk.complete = one->is_complete;
	scratch->walk.start = PATH_SIZE - length;
	scratch->walk.name_length = 0;
	__builtin_memset(&scratch->walk.path[PATH_SIZE], 0, PREFIX_SIZE);
	bpf_probe_read_kernel(&scratch->walk.path[(PATH_SIZE - length) & (PATH_SIZE - 1)], length, one->path);
	for (i = 1; i < 1024 && i <= length; i++) {
		if (one->path[(length - i) & 1023] == '/')
			break;
		scratch->walk.name_length = i;
	}
}

SEC("socket")
int compare_rules(void *context)
{
	__u32 slot = 0;
	struct rule_case *one = bpf_map_lookup_elem(&cases, &slot);
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &slot);
	struct credentials *credentials;
	__u32 set = control.generation % FILTER_SETS;
	int meets;

	if (!one || !scratch)
		return 0;
	scratch->compared.family = one->family;
	__builtin_memcpy(scratch->compared.addresses, one->addresses, sizeof(one->addresses));
	__builtin_memcpy(scratch->compared.ports, one->ports, sizeof(one->ports));
	scratch->compared.netns = one->netns;
	credentials = &scratch->record.credentials;
	credentials->uid = one->ids[0];
	credentials->euid = one->ids[1];
	credentials->gid = one->ids[2];
	credentials->egid = one->ids[3];
	credentials->auid = one->ids[4];
	scratch->predicates.evaluated = 0;
	scratch->image_state = IMAGE_UNREAD;
	one->is_wanted = !limits(set) || meets_by_connection(slot, set, one->direction);
	if (!one->is_wanted || !limits_processes(set))
		return 0;
	meets = meets_by_process(slot, set);
	if (meets == NEEDS_IMAGE) {
		fill_image(scratch, one);
		meets = meets_by_process(slot, set);
	}
	one->is_wanted = meets && scratch->compared.met & scratch->alternatives.met;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
