/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Every map and global. User space sizes events before load, and makes the maps in maps: their definitions here are
 * what they must be like, all but the size.
 */
#ifndef __MAPS_H__
#define __MAPS_H__

#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "records.h"

const volatile struct basics basics SEC(".rodata.basics");
#ifdef PLAIN
/* Known to clang, which leaves out what they ask for: that netmon starts sooner, and does less for an event. */
static const struct options options = {};
#else
const volatile struct options options SEC(".rodata.options");
#endif
struct settings settings[FILTER_SETS] SEC(".data.settings");
struct control control SEC(".data.control");
struct losses losses SEC(".data.losses");
__u64 next_process_id = 1;
__u64 flows_made SEC(".data.flows") = 0;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

union event {
	struct event_head head;
	struct ipv4_event ipv4;
	struct ipv6_event ipv6;
};

/* The two programs of a hook: see netmon.bpf.c. */
enum program {
	PROGRAM_MAIN = 1,
	PROGRAM_SPARE = 2,
	PROGRAM_ONLY = 3, /* of a hook that is seldom reached: without a spare */
};

enum phase {
	PHASE_PENDING = 1, /* neither succeeded nor failed: the event's time is that of the request */
	PHASE_CLOSING = 2, /* its socket is being closed */
	PHASE_FOUND = 4,   /* open, and not reported yet */
	PHASE_TELLING = 8, /* it is being reported */
	PHASE_UNTOLD = PHASE_PENDING | PHASE_FOUND,
};

/* A connection that was reported, until its socket is closed. */
struct connection {
	/* As it was opened: to be sent again at its close, when the socket may have lost its ends (a refused connect
	 * is disconnected before it is closed). */
	union event event;
	__u64 opener_exec_id; /* the opener's self_exec_id */
	__u64 opener_start_ns;
	__u8 reported_by;     /* enum program; 0 once the other program has seen it, too */
	__u8 direction;	      /* enum direction */
	__u8 ended_by;	      /* enum ending: of a connection that ended before its socket is closed */
	__u8 passed_on;	      /* another process than the opener closes it */
	__u32 phase;	      /* enum phase, of what is not reported yet */
	__u32 closer_tid;     /* PHASE_CLOSING: who closes the socket */
	__u64 closer_id;
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct connection);
} connections SEC(".maps");

#ifdef PLAIN
enum { PLACES = 1 << 14 };

/* Where the plain object keeps connections: see connection.h. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PLACES);
	__type(key, __u32);
	__type(value, struct connection);
} places SEC(".maps");
#endif

/* Why MPTCP's paths failed: see mptcp.h. Old ones make room. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, __u32);
} path_errors SEC(".maps");

enum described {
	NOT_DESCRIBED,
	DESCRIBED_ALONE, /* without its parent, as another's parent */
	DESCRIBED,
};

/* What was last told of a process. */
struct process {
	__u64 id; /* 0 or LOST: the rest means nothing yet. The last to be written, the first and last to be read. */
	__u64 exec_id;
	__u64 cgroup_id;
	__u64 generation; /* of the filter that judged it */
	struct credentials credentials;
	__u32 ppid;
	__u8 described; /* enum described: its record was sent */
	__u8 passes;	/* the process filter's verdict */
};

/* Kept with each thread group's leader. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct process);
} processes SEC(".maps");

enum { RECENT_PROCESSES = 16 };

struct recent {
	struct process process;
	__u64 start_time_ns; /* of the thread that it was found for */
	__u32 tid;
};

/* Copies, for the threads that this CPU has met last, each at its id modulo their number. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, RECENT_PROCESSES);
	__type(key, __u32);
	__type(value, struct recent);
} recent_processes SEC(".maps");

/*
 * Sets of things to be found in: struct settings says which of them there are. Sizes, not types: clang leaves the types
 * that only an inner map names out of BTF.
 */
struct ipv4_cidr_trie {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(struct ipv4_cidr_key));
	__uint(value_size, sizeof(__u8));
};

struct ipv6_cidr_trie {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(struct ipv6_cidr_key));
	__uint(value_size, sizeof(__u8));
};

struct port_array {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct port_sets));
};

struct id_hash {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(struct id_key));
	__uint(value_size, sizeof(__u8));
};

struct name_hash {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u8[NAME_SIZE]));
	__uint(value_size, sizeof(__u8));
};

struct path_hash {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u8[BINARY_PATH_SIZE]));
	__uint(value_size, sizeof(__u8));
};

struct prefix_trie {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(struct prefix_key));
	__uint(value_size, sizeof(__u8));
};

#define FILTER_MAPS(name, inner)                                                                       \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);                                          \
		__uint(max_entries, FILTER_SETS + 1); /* the last no program looks at */           \
		__type(key, __u32);                                                                \
		__array(values, struct inner);                                                     \
	} name SEC(".maps")

FILTER_MAPS(ipv4_cidrs, ipv4_cidr_trie);
FILTER_MAPS(ipv6_cidrs, ipv6_cidr_trie);
FILTER_MAPS(ports, port_array);
FILTER_MAPS(ids, id_hash);
FILTER_MAPS(binary_names, name_hash);
FILTER_MAPS(binary_paths, path_hash);
FILTER_MAPS(binary_prefixes, prefix_trie);
FILTER_MAPS(cgroups, prefix_trie);
FILTER_MAPS(container_ids, prefix_trie);

struct flow_hash {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(struct flow_key));
	__uint(value_size, sizeof(struct flow));
};

/* The sums of the current period: user space puts another map in its place, and reads it once no program uses it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct flow_hash);
} flows SEC(".maps");

/*
 * Room to describe a process in, more than the stack has: for each program on each CPU. A program may be preempted while
 * it does, but the kernel never runs the same program twice at once on one CPU.
 */
enum slot {
	SLOT_TCP_V4_CONNECT,
	SLOT_TCP_V6_CONNECT,
	SLOT_INET_CSK_ACCEPT,
	SLOT_TCP_CLOSE,
	SLOT_MPTCP_CONNECT,
	SLOT_MPTCP_ACCEPT,
	SLOT_MPTCP_CLOSE,
	SLOT_SPARES, /* the first four again; user space makes no room for them where it loads none */
	SLOT_WALK = SLOT_SPARES + SLOT_MPTCP_CONNECT, /* nor for this one, where it loads no walk */
	SLOTS,
};

/* The walk from the executable's dentry up to the process's root, in map memory: the verifier does not follow it. */
struct walk {
	struct dentry *dentry;
	struct mount *mount;
	struct dentry *root_dentry;
	struct mount *root_mount;
	__u32 start;		       /* offset in path of the part written so far */
	__u32 name_length;	       /* of the executable's own name */
	__u8 complete;
	__u8 path[PATH_SIZE + NAME_SIZE]; /* written from the end of PATH_SIZE backwards */
};

/* The way from the root's cgroup down to the process's own. */
struct cgroup_walk {
	struct cgroup *cgroup; /* the process's own */
	__u32 depth;	       /* of it; the root's is 0 */
	__u32 length;	       /* of the text so far */
	__u32 digits;	       /* where in the text a container's id may be */
	__u8 are_digits;
	/* A struct prefix_key of the path, each name of it followed by '/'. Behind it there is room for one more name. */
	__u32 prefixlen;
	__u8 text[PREFIX_SIZE + NAME_SIZE];
	struct prefix_key container; /* the innermost one's id; prefixlen is 0 on the host */
};

enum { AUXV_SIZE = 32 };

struct scratch {
	struct process_record record;
	__u8 strings[CGROUP_SIZE + PATH_SIZE + ARGS_SIZE]; /* follows the record, sent with it */
	struct walk walk;
	struct kernfs_node *kernfs_node;
	__u32 cgroup_length;
	union {
		__u64 auxv[2 * AUXV_SIZE]; /* pairs of type and value */
		__u8 name[NAME_SIZE];
		__u8 binary_path[BINARY_PATH_SIZE];
		struct prefix_key binary_prefix;
		struct cgroup_walk cgroup_walk;
	};
	__u64 aux[AUXV_SIZE]; /* auxv's values by type */
	struct task_struct *other; /* the task that is described; NULL: the current one */
};

/* By slot: what the spare has told because the main program, which runs before it, was skipped. */
__u64 covered[SLOT_MPTCP_CONNECT] SEC(".data.covered");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, struct scratch);
} scratches SEC(".maps");

#endif
