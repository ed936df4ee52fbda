/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The kernel's types, with the fields that netmon reads and no others. It is kept by hand instead of generated, so that
 * it shows at a glance what netmon depends on.
 *
 * The order and the offsets of fields do not matter: libbpf relocates each access by the running kernel's BTF (CO-RE).
 * Types that changed from version to version are in compat.h.
 */
#ifndef __VMLINUX_H__
#define __VMLINUX_H__

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed char __s8;
typedef short __s16;
typedef int __s32;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;
typedef _Bool bool;

enum { false = 0, true = 1 };

#define NULL ((void *)0)
#define AF_INET 2
#define AF_INET6 10
#define AF_SMC 43
#define IPPROTO_TCP 6
#define IPPROTO_MPTCP 262
#define S_ISUID 04000
#define S_ISGID 02000
#define MSG_PEEK 2
#define MSG_FASTOPEN 0x20000000
#define MSG_ERRQUEUE 0x2000
#define PF_EXITING 0x00000004
#define PF_WQ_WORKER 0x00000020
#define PF_KTHREAD 0x00200000
#define SOCK_DONE 1 /* of enum sock_flags: the peer has sent its FIN */
#define SOCK_LINGER 4 /* SO_LINGER is on */
#define AT_NULL 0
#define AT_UID 11
#define AT_EUID 12
#define AT_GID 13
#define AT_EGID 14
#define AT_SECURE 23
#define AT_EXECFN 31

enum { /* errno.h */
	EPIPE = 32,
	ECONNABORTED = 103,
	ECONNRESET = 104,
	ECONNREFUSED = 111,
};

enum tcp_state { /* net/tcp_states.h */
	TCP_ESTABLISHED = 1,
	TCP_SYN_SENT = 2,
	TCP_SYN_RECV = 3,
	TCP_FIN_WAIT1 = 4,
	TCP_FIN_WAIT2 = 5,
	TCP_CLOSE = 7,
	TCP_CLOSE_WAIT = 8,
	TCP_LAST_ACK = 9,
	TCP_LISTEN = 10,
	TCP_CLOSING = 11,
};

enum bpf_map_type {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_LPM_TRIE = 11,
	BPF_MAP_TYPE_ARRAY_OF_MAPS = 12,
	BPF_MAP_TYPE_RINGBUF = 27,
	BPF_MAP_TYPE_TASK_STORAGE = 29,
};

enum { BPF_F_NO_PREALLOC = 1, BPF_F_MMAPABLE = 1 << 10 };
enum { BPF_NOEXIST = 1 };
enum { BPF_RB_FORCE_WAKEUP = 2 };
enum { BPF_RB_AVAIL_DATA, BPF_RB_RING_SIZE, BPF_RB_CONS_POS };
enum { BPF_LOCAL_STORAGE_GET_F_CREATE = 1 };

/* The system call interface, which does not change: nothing is relocated. */

struct in_addr {
	__be32 s_addr;
};

struct in6_addr {
	union {
		__u8 u6_addr8[16];
		__be32 u6_addr32[4];
	} in6_u;
};

struct sockaddr {
	unsigned short sa_family;
};

struct sockaddr_in {
	unsigned short sin_family;
	__be16 sin_port;
	struct in_addr sin_addr;
	__u8 sin_zero[8];
};

struct sockaddr_in6 { /* without the scope, as RFC 2133 had it */
	unsigned short sin6_family;
	__be16 sin6_port;
	__be32 sin6_flowinfo;
	struct in6_addr sin6_addr;
};

struct iovec {
	void *iov_base;
	unsigned long iov_len;
};

/* Values differ from kernel to kernel: take them by bpf_core_enum_value(). */
enum iter_type {
	ITER_IOVEC,
	ITER_UBUF,
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

/* Sockets. */

struct ns_common {
	unsigned int inum;
};

struct net {
	struct ns_common ns;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct net_device {
	int ifindex;
};

struct dst_entry {
	struct net_device *dev;
};

typedef struct {
	__s64 counter;
} atomic64_t;

struct hlist_node {
	struct hlist_node **pprev;
};

struct sock_common {
	__u64 skc_addrpair; /* skc_daddr and skc_rcv_saddr */
	__u32 skc_portpair; /* skc_dport and skc_num */
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	unsigned char skc_ipv6only : 1;
	volatile unsigned char skc_state;
	unsigned long skc_flags;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
	struct hlist_node skc_node;
	atomic64_t skc_cookie;
};

struct socket;

struct sk_buff_head {
	__u32 qlen;
};

struct sock {
	struct sock_common __sk_common;
	struct sk_buff_head sk_receive_queue;
	__u16 sk_protocol;
	int sk_err;
	__u32 sk_mark;
	unsigned long sk_lingertime;
	struct dst_entry *sk_dst_cache;
	struct socket *sk_socket;
};

struct ipv6_pinfo {
	int mcast_oif;
};

struct inet_sock {
	struct ipv6_pinfo *pinet6;
	__be16 inet_sport;
	int mc_index;
};

struct inet_connection_sock {
	struct {
		__u32 lrcvtime; /* when data was received last, in ticks */
	} icsk_ack;
};

struct file;

struct socket {
	struct file *file;
	struct sock *sk;
};

struct tcp_sock {
	__u32 write_seq;
	__u32 snd_una;
	__u32 rcv_nxt;
	__u32 copied_seq; /* up to here the program has read */
	__u32 packets_out;
	__u32 lsndtime; /* when data was sent last, in ticks */
	__u64 tcp_mstamp; /* when it last sent or received: microseconds of CLOCK_MONOTONIC */
	__u64 bytes_acked;
	__u64 bytes_received;
	__u64 bytes_sent;
	__u64 bytes_retrans;
	__u32 total_retrans;
	__u32 srtt_us; /* eighths of microseconds */
	bool is_mptcp; /* where MPTCP is configured */
};

struct mptcp_sock { /* empty where MPTCP is not configured */
	struct tcp_sock *first; /* declared as struct sock in the kernel */
	__u64 write_seq;
	__u64 snd_nxt;
	__u64 bytes_sent; /* these three since 6.5 (commit 38967f424b5b) */
	__u64 bytes_received;
	__u64 bytes_acked;
	struct sk_buff_head receive_queue; /* until 6.13 */
};

struct iov_iter {
	__u8 iter_type; /* enum iter_type */
	unsigned long iov_offset; /* what was copied to the buffer that is used now */
	const struct iovec *__iov; /* ITER_IOVEC: that buffer, among several. Up to 6.3: iov, see compat.h */
	void *ubuf; /* ITER_UBUF: the only buffer */
};

struct msghdr {
	void *msg_name; /* the sender's address, NULL where nobody asks for it */
	struct iov_iter msg_iter;
	unsigned int msg_flags;
};

struct bpf_iter__task_file {
	struct task_struct *task;
	struct file *file;
};

struct bpf_iter__bpf_map_elem {
	void *key;
	void *value;
};

/* Processes. */

typedef struct {
	__u32 val;
} kuid_t;

typedef struct {
	__u32 val;
} kgid_t;

typedef struct { /* two words up to 6.2: see compat.h. Read it by CAPABILITIES(), not by its field */
	__u64 val;
} kernel_cap_t;

struct user_namespace {
	int level; /* 0: the host's */
};

struct cred {
	kuid_t uid;
	kgid_t gid;
	kuid_t euid;
	kgid_t egid;
	kernel_cap_t cap_inheritable;
	kernel_cap_t cap_permitted;
	kernel_cap_t cap_effective;
	kernel_cap_t cap_ambient;
	struct user_namespace *user_ns;
};

struct qstr {
	__u32 len;
	const unsigned char *name;
};

struct hlist_bl_node {
	struct hlist_bl_node **pprev;
};

struct dentry {
	struct hlist_bl_node d_hash;
	struct dentry *d_parent;
	struct qstr d_name;
};

struct vfsmount {
	struct dentry *mnt_root;
};

struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
};

struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};

struct super_block {
	__u32 s_dev;
};

struct inode {
	unsigned short i_mode;
	unsigned int i_nlink;
	unsigned long i_ino;
	struct super_block *i_sb;
};

struct file {
	struct path f_path;
	struct inode *f_inode;
	const struct cred *f_cred; /* of the task that opened it: it holds them */
};

struct fs_struct {
	struct path root;
};

struct mm_struct {
	unsigned long arg_start;
	unsigned long arg_end;
	unsigned long saved_auxv[64];
	struct file *exe_file;
};

struct kernfs_node {
	__u64 id;
	struct kernfs_node *parent;
	const char *name;
};

struct cgroup {
	struct kernfs_node *kn;
	int level;
	struct cgroup *ancestors[]; /* by level, itself among them */
};

struct cgroup_subsys_state {
	struct cgroup *cgroup;
};

enum cgroup_subsys_id { memory_cgrp_id = 3, pids_cgrp_id = 11 }; /* differ from kernel to kernel: CO-RE */

struct css_set {
	struct cgroup_subsys_state *subsys[1]; /* by enum cgroup_subsys_id */
	struct cgroup *dfl_cgrp;
};

struct mnt_namespace;

struct nsproxy {
	struct mnt_namespace *mnt_ns;
	struct net *net_ns;
};

struct signal_struct {
	int group_exit_code; /* as of wait(2) */
};

struct task_struct {
	unsigned int flags;
	int pid;
	int tgid;
	__u64 start_boottime;
	__u32 parent_exec_id; /* the parent's self_exec_id when it forked this one */
	__u64 self_exec_id;
	kuid_t loginuid;
	char comm[16];
	struct task_struct *group_leader;
	struct task_struct *real_parent;
	struct mm_struct *mm;
	const struct cred *cred;
	struct fs_struct *fs;
	struct signal_struct *signal;
	struct nsproxy *nsproxy;
	struct css_set *cgroups;
	void *worker_private; /* of a kernel thread: its struct kthread */
};

struct kthread {
	void *data; /* of a thread that works for workqueues: its struct worker */
};

struct worker {
	char desc[16]; /* longer in the kernel: the name of the workqueue that it works for */
};

#pragma clang attribute pop

#endif
