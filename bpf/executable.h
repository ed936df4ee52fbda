/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The executable that a process runs: its path, its arguments, and how its exec was a secure one. All of it is read
 * once per exec into the program's scratch slot, never for an event of a known process.
 */
#ifndef __EXECUTABLE_H__
#define __EXECUTABLE_H__

#include "maps.h"
#include <bpf/bpf_core_read.h>

enum {
	MAX_PATH_STEPS = PATH_SIZE / 2, /* the shortest component is "/x" */
	MAX_AUXV_STEPS = AUXV_SIZE,
};

/* Returns the mount that contains a struct vfsmount, as the kernel's real_mount(). */
static __always_inline struct mount *mount_of(struct vfsmount *vfsmount)
{
	return (void *)vfsmount - bpf_core_field_offset(struct mount, mnt);
}

/* Writes '/' and a dentry's name in front of the path. Returns false when there is no room for them. */
static __always_inline bool prepend(struct path_walk *walk, struct dentry *dentry)
{
	const unsigned char *name = BPF_CORE_READ(dentry, d_name.name);
	__u32 length = BPF_CORE_READ(dentry, d_name.len);
	__u32 start = walk->start;

	/*
	 * Never down to 0: a path of PATH_SIZE bytes would have length 0 after its mask. Most file systems bound names to
	 * NAME_SIZE, but not all of them, and FUSE to 1,024 bytes.
	 */
	if (length >= PATH_SIZE || start <= length + 1 || start > PATH_SIZE)
		return false;
	if (start == PATH_SIZE)
		walk->name_length = length; /* of a bind-mounted file: the mount point's name, as in the path */
	start -= length + 1;
	walk->start = start;
	walk->path[start & (PATH_SIZE - 1)] = '/';
	bpf_probe_read_kernel(&walk->path[(start + 1) & (PATH_SIZE - 1)], length & (PATH_SIZE - 1), name);
	return true;
}

/* A step of bpf_loop(), as the loop of the kernel's prepend_path() (fs/d_path.c). Returns 1 to stop. */
static long walk_path_step(__u32 index, __u32 *slot)
{
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, slot);
	struct dentry *dentry, *parent;
	struct mount *mount, *mount_parent;
	struct path_walk *walk;

	if (!scratch)
		return 1;
	walk = &scratch->walk;
	/* Local variables: BPF_CORE_READ would relocate an access through our own struct. */
	dentry = walk->dentry;
	mount = walk->mount;
	if (dentry == walk->root_dentry && mount == walk->root_mount) {
		walk->complete = true;
		return 1;
	}
	parent = BPF_CORE_READ(dentry, d_parent);
	if (dentry == BPF_CORE_READ(mount, mnt.mnt_root)) {
		mount_parent = BPF_CORE_READ(mount, mnt_parent);
		if (mount_parent == mount) { /* the executable is outside of the process's root directory */
			walk->complete = true;
			return 1;
		}
		walk->dentry = BPF_CORE_READ(mount, mnt_mountpoint);
		walk->mount = mount_parent;
		return 0;
	}
	if (!prepend(walk, dentry))
		return 1;
	if (dentry == parent) { /* a memfd, which is in no directory */
		walk->complete = true;
		return 1;
	}
	walk->dentry = parent;
	return 0;
}

/*
 * Fills scratch->walk with the executable's path as the process itself sees it, under its own root directory. Sets the
 * record's flags when part of it is missing or the file was removed. bpf_d_path() would do this, but the kernel does
 * not allow it in these programs.
 */
static __always_inline void read_path(struct scratch *scratch, __u32 slot, struct task_struct *task,
				      struct file *exe)
{
	struct path_walk *walk = &scratch->walk;
	struct dentry *dentry = BPF_CORE_READ(exe, f_path.dentry);

	walk->dentry = dentry;
	walk->mount = mount_of(BPF_CORE_READ(exe, f_path.mnt));
	walk->root_dentry = BPF_CORE_READ(task, fs, root.dentry);
	walk->root_mount = mount_of(BPF_CORE_READ(task, fs, root.mnt));
	walk->start = PATH_SIZE;
	walk->name_length = 0;
	walk->complete = false;
	bpf_loop(MAX_PATH_STEPS, walk_path_step, &slot, 0);
	if (!walk->complete)
		scratch->record.flags |= PROCESS_PATH_INCOMPLETE;

	/* As the kernel's d_unlinked(). It is true of a memfd, too. */
	if (!BPF_CORE_READ(dentry, d_hash.pprev))
		scratch->record.flags |= PROCESS_UNLINKED;
}

/* A step of bpf_loop(): copies an entry of auxv into aux, by type. Returns 1 to stop, at the last. */
static long walk_auxv_step(__u32 index, __u32 *slot)
{
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, slot);
	__u32 at = 2 * (index & (MAX_AUXV_STEPS - 1));
	__u64 type, value;

	if (!scratch)
		return 1;
	if (scratch->auxv[0] >> 32) { /* no type is that large: the 32-bit entries of a 32-bit program */
		type = ((__u32 *)scratch->auxv)[at];
		value = ((__u32 *)scratch->auxv)[at + 1];
	} else {
		type = scratch->auxv[at];
		value = scratch->auxv[at + 1];
	}
	if (type == AT_NULL)
		return 1;
	if (type < MAX_AUXV_STEPS)
		scratch->aux[type] = value;
	return 0;
}

/*
 * Fills scratch->aux with the ELF auxiliary vector: what the kernel passed to the program at exec. Unlike the process's
 * credentials, it does not change afterwards.
 */
static __always_inline void read_auxv(struct scratch *scratch, __u32 slot, struct mm_struct *mm)
{
	__builtin_memset(scratch->aux, 0, sizeof(scratch->aux));
	bpf_probe_read_kernel(scratch->auxv, sizeof(scratch->auxv), mm->saved_auxv);
	bpf_loop(MAX_AUXV_STEPS, walk_auxv_step, &slot, 0);
}

/*
 * Whether a file without links had none when it was executed. Those that never had one are in memory (memfd_create), in
 * no directory, or were made by O_TMPFILE, which names them '#' and a number. A file that was deleted first can only be
 * executed by a descriptor of it, which the kernel tells the program. One that was executed by its path, as a program
 * that was upgraded since, had a link. Only the option exec knows for sure: a process may change what it was told.
 */
static __always_inline bool was_fileless(struct scratch *scratch, struct dentry *dentry)
{
	char name[8] = {};

	if (BPF_CORE_READ(dentry, d_parent) == dentry)
		return true;
	bpf_probe_read_kernel(name, 2, BPF_CORE_READ(dentry, d_name.name));
	if (name[0] == '#' && name[1] >= '0' && name[1] <= '9')
		return true;
	if (report_options.other_tasks && scratch->other)
		return false; /* its memory cannot be read */
	bpf_probe_read_user(name, sizeof(name), (void *)scratch->aux[AT_EXECFN]);
	return !bpf_strncmp(name, 6, "/proc/") || !bpf_strncmp(name, 8, "/dev/fd/");
}

/* Sets the record's secureexec: why the exec gave the process privileges that its caller did not have. */
static __always_inline void read_secureexec(struct scratch *scratch, __u32 slot, struct task_struct *task,
					    struct mm_struct *mm, struct file *exe)
{
	__u16 mode = BPF_CORE_READ(exe, f_inode, i_mode);
	const struct cred *cred = BPF_CORE_READ(task, cred);
	__u64 ambient = 0;
	__u32 how = 0;

	read_auxv(scratch, slot, mm);
	if (!BPF_CORE_READ(exe, f_inode, i_nlink) && was_fileless(scratch, BPF_CORE_READ(exe, f_path.dentry)))
		scratch->record.secureexec |= SECUREEXEC_FILELESS_EXEC;
	if (!scratch->aux[AT_SECURE])
		return;
	if (mode & S_ISUID && scratch->aux[AT_UID] != scratch->aux[AT_EUID])
		how |= SECUREEXEC_SETUID;
	if (mode & S_ISGID && scratch->aux[AT_GID] != scratch->aux[AT_EGID])
		how |= SECUREEXEC_SETGID;
	/*
	 * AT_SECURE does not prove file capabilities: security modules set it, too, and so does euid != uid. Only
	 * capabilities that come neither from root's ids nor from the ambient set show that the file gave them.
	 */
	bpf_probe_read_kernel(&ambient, sizeof(ambient), &cred->cap_ambient);
	if (!how && scratch->aux[AT_UID] && scratch->aux[AT_EUID] &&
	    scratch->record.credentials.cap_permitted & ~ambient)
		how |= SECUREEXEC_FILE_CAPS;
	scratch->record.secureexec |= how;
}

/*
 * Copies argv from the current process's memory to offset in strings. Returns its length; 0 when the memory is paged
 * out, which the record's flags say: user space then reads /proc.
 */
static __always_inline __u32 read_args(struct scratch *scratch, __u32 offset, struct mm_struct *mm)
{
	__u64 start = BPF_CORE_READ(mm, arg_start), length = BPF_CORE_READ(mm, arg_end) - start;

	if (length > ARGS_SIZE) {
		length = ARGS_SIZE;
		scratch->record.flags |= PROCESS_ARGS_INCOMPLETE;
	}
	if (offset > CGROUP_SIZE + CONTAINER_ID_SIZE + PATH_SIZE)
		return 0;
	if (bpf_probe_read_user(&scratch->strings[offset], length, (void *)start)) {
		scratch->record.flags |= PROCESS_ARGS_INCOMPLETE;
		return 0;
	}
	return length;
}

#endif
