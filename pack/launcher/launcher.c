/* The launcher: the beginning of the single-file executable. Starts Python from the zip archive that follows it in the
 * file, without writing anything to a disk.
 *
 * 1. The archive's directory start/ holds the dynamic linker, Python and the libraries that Python needs. The launcher
 *    unpacks each into memory: a sealed memfd, which nobody can write to.
 * 2. In its own process it does what the kernel does in exec: it maps Python and the linker, and jumps into the linker.
 *    A real exec would replace the process's executable (/proc/self/exe, the archive that Python imports from), its
 *    name, arguments and file capabilities; this way the process keeps them.
 * 3. Python runs start.py, which imports netmon from the archive.
 *
 * A static program for any Linux, compiled by pack/executable.py. */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <zlib.h>

#define EXIT_FAILED 1
#define MAX_LIBRARIES 32
#define MAX_SEGMENTS 16
#define STORED 0
#define DEFLATED 8
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

/* Environment variables that would make the linker, the C library or Python load code or settings from elsewhere. */
static const char *const REFUSED[] = {
	"LD_", "PYTHON", "GLIBC_TUNABLES=", "MALLOC_", "GCONV_PATH=", "GETCONF_DIR=", "HOSTALIASES=", "LANG=",
	"LANGUAGE=", "LC_", "LOCALDOMAIN=", "LOCPATH=", "NLSPATH=", "RESOLV_", "RES_OPTIONS=", "TMPDIR=", "TZDIR=",
};

static _Noreturn void fail(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fputs("netmon: cannot start: ", stderr);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
	exit(EXIT_FAILED);
}

static void *checked(void *mapped, const char *what)
{
	if (mapped == MAP_FAILED)
		fail("%s: %s", what, strerror(errno));
	return mapped;
}

/* --- The archive ---------------------------------------------------------------------------------------------- */

struct archive {
	const uint8_t *bytes;
	size_t size;
	size_t directory; /* offset of the archive's directory */
	unsigned entries;
};

struct entry {
	const char *name;
	unsigned name_size, method;
	uint32_t checksum, packed_size, size;
	const uint8_t *packed;
};

/* Return a number of the archive. Zip is little-endian, as both architectures are. */
static uint32_t number(const struct archive *archive, size_t offset, size_t size)
{
	uint32_t value = 0;

	if (offset > archive->size || archive->size - offset < size)
		fail("the file is damaged: a part lies outside it");
	memcpy(&value, archive->bytes + offset, size);
	return value;
}

/* The file ends with the archive's end record and a comment: the checksum of all bytes before the record, in
 * hexadecimal. */
#define END_SIZE 22
#define COMMENT_SIZE 8

static struct archive read_archive(int file)
{
	struct archive archive = {0};
	struct stat status;
	char comment[COMMENT_SIZE + 1] = "", expected[COMMENT_SIZE + 1];
	size_t end;

	if (fstat(file, &status) || status.st_size < END_SIZE + COMMENT_SIZE)
		fail("the file cannot be read");
	archive.size = status.st_size;
	archive.bytes = checked(mmap(NULL, archive.size, PROT_READ, MAP_PRIVATE, file, 0), "the file");
	end = archive.size - END_SIZE - COMMENT_SIZE;
	memcpy(comment, archive.bytes + end + END_SIZE, COMMENT_SIZE);
	snprintf(expected, sizeof(expected), "%08lx", crc32_z(0, archive.bytes, end));
	if (memcmp(archive.bytes + end, "PK\5\6", 4) || strcmp(comment, expected))
		fail("the file is damaged: its checksum is wrong; download it again");
	archive.entries = number(&archive, end + 10, 2);
	archive.directory = number(&archive, end + 16, 4);
	return archive;
}

/* Return the directory's entry at *offset, and advance *offset to the next one. */
static struct entry next_entry(const struct archive *archive, size_t *offset)
{
	size_t at = *offset, local = number(archive, at + 42, 4), begin;
	struct entry entry = {
		.name = (const char *)archive->bytes + at + 46,
		.name_size = number(archive, at + 28, 2),
		.method = number(archive, at + 10, 2),
		.checksum = number(archive, at + 16, 4),
		.packed_size = number(archive, at + 20, 4),
		.size = number(archive, at + 24, 4),
	};

	*offset = at + 46 + entry.name_size + number(archive, at + 30, 2) + number(archive, at + 32, 2);
	begin = local + 30 + number(archive, local + 26, 2) + number(archive, local + 28, 2);
	if (*offset > archive->size || begin > archive->size || archive->size - begin < entry.packed_size)
		fail("the file is damaged: a part lies outside it");
	entry.packed = archive->bytes + begin;
	return entry;
}

static int is_under(const struct entry *entry, const char *directory)
{
	size_t size = strlen(directory);

	return entry->name_size > size && !memcmp(entry->name, directory, size);
}

static int is_named(const struct entry *entry, const char *name)
{
	return entry->name_size == strlen(name) && !memcmp(entry->name, name, entry->name_size);
}

static int inflate_all(const struct entry *entry, uint8_t *output)
{
	z_stream stream = {
		.next_in = (uint8_t *)entry->packed,
		.avail_in = entry->packed_size,
		.next_out = output,
		.avail_out = entry->size,
	};
	int done = inflateInit2(&stream, -MAX_WBITS) == Z_OK && inflate(&stream, Z_FINISH) == Z_STREAM_END;

	inflateEnd(&stream);
	return done && !stream.avail_out;
}

/* --- Files in memory ------------------------------------------------------------------------------------------ */

/* Move a descriptor above 0, 1 and 2, which belong to the program even when they are closed. Returns the new one, or -1
 * with errno set if file is -1 or cannot be moved. */
static int above_standard(int file)
{
	int moved, error;

	if (file < 0)
		return file;
	moved = fcntl(file, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	error = errno;
	close(file);
	errno = error;
	return moved;
}

static int new_memory_file(const char *name)
{
	/* The file is mapped, not executed: with this flag it is allowed even where vm.memfd_noexec forbids executable
	 * ones. Kernels before 6.3 do not know the flag. */
	int file = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);

	if (file < 0 && errno == EINVAL)
		file = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	return above_standard(file);
}

static int unpack(const struct entry *entry)
{
	char name[64];
	int file;
	uint8_t *bytes;

	snprintf(name, sizeof(name), "netmon/%.*s", (int)entry->name_size, entry->name);
	file = new_memory_file(name);
	if (file < 0 || ftruncate(file, entry->size))
		fail("memory for %s: %s", name, strerror(errno));
	bytes = checked(mmap(NULL, entry->size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0), name);
	if (entry->method == STORED && entry->packed_size == entry->size)
		memcpy(bytes, entry->packed, entry->size);
	else if (entry->method != DEFLATED || !inflate_all(entry, bytes))
		fail("the file is damaged: %s cannot be unpacked", name);
	munmap(bytes, entry->size);
	if (fcntl(file, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE))
		fail("%s cannot be sealed: %s", name, strerror(errno));
	return file;
}

struct start {
	int linker, python;
	int libraries[MAX_LIBRARIES];
	unsigned count;
};

static struct start unpack_start(const struct archive *archive)
{
	struct start start = {.linker = -1, .python = -1};
	size_t offset = archive->directory;

	for (unsigned i = 0; i < archive->entries; i++) {
		struct entry entry = next_entry(archive, &offset);

		if (!is_under(&entry, "start/"))
			continue;
		if (is_named(&entry, "start/linker"))
			start.linker = unpack(&entry);
		else if (is_named(&entry, "start/python"))
			start.python = unpack(&entry);
		else if (start.count < MAX_LIBRARIES)
			start.libraries[start.count++] = unpack(&entry);
		else
			fail("too many libraries");
	}
	if (start.linker < 0 || start.python < 0)
		fail("the file is damaged: parts are missing");
	return start;
}

/* --- Programs in memory --------------------------------------------------------------------------------------- */

struct image {
	uintptr_t base, entry, headers;
	unsigned header_count;
};

static uintptr_t page_down(uintptr_t address)
{
	return address & -(uintptr_t)getauxval(AT_PAGESZ);
}

static uintptr_t page_up(uintptr_t address)
{
	return page_down(address + getauxval(AT_PAGESZ) - 1);
}

static int protection(const Elf64_Phdr *segment)
{
	return (segment->p_flags & PF_R ? PROT_READ : 0) | (segment->p_flags & PF_W ? PROT_WRITE : 0) |
	       (segment->p_flags & PF_X ? PROT_EXEC : 0);
}

static void map_segment(int file, const Elf64_Phdr *segment, uintptr_t base)
{
	uintptr_t begin = base + segment->p_vaddr, first = page_down(begin), in_page = begin - first;
	uintptr_t file_end = begin + segment->p_filesz, end = page_up(begin + segment->p_memsz);

	checked(mmap((void *)first, in_page + segment->p_filesz, protection(segment), MAP_PRIVATE | MAP_FIXED, file,
		     segment->p_offset - in_page),
		"a segment");
	if (segment->p_memsz == segment->p_filesz)
		return;
	/* The rest of the segment is zeros. */
	memset((void *)file_end, 0, page_up(file_end) - file_end);
	if (end > page_up(file_end))
		checked(mmap((void *)page_up(file_end), end - page_up(file_end), protection(segment),
			     MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0),
			"a segment");
}

/* Map an ELF file's segments as the kernel would. */
static struct image map_program(int file)
{
	Elf64_Ehdr header;
	Elf64_Phdr segments[MAX_SEGMENTS];
	ssize_t size;
	uintptr_t lowest = UINTPTR_MAX, highest = 0, begin;
	int fixed;

	if (pread(file, &header, sizeof(header), 0) != sizeof(header) || memcmp(header.e_ident, ELFMAG, SELFMAG) ||
	    header.e_phnum > MAX_SEGMENTS)
		fail("the file is damaged: a part is not a program");
	size = header.e_phnum * sizeof(*segments);
	if (pread(file, segments, size, header.e_phoff) != size)
		fail("the file is damaged: a part is not a program");
	for (unsigned i = 0; i < header.e_phnum; i++) {
		if (segments[i].p_type != PT_LOAD)
			continue;
		if (page_down(segments[i].p_vaddr) < lowest)
			lowest = page_down(segments[i].p_vaddr);
		if (page_up(segments[i].p_vaddr + segments[i].p_memsz) > highest)
			highest = page_up(segments[i].p_vaddr + segments[i].p_memsz);
	}
	fixed = header.e_type == ET_EXEC ? MAP_FIXED_NOREPLACE : 0;
	begin = (uintptr_t)checked(mmap(fixed ? (void *)lowest : NULL, highest - lowest, PROT_NONE,
					MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | fixed, -1, 0),
				   "room for a program");
	for (unsigned i = 0; i < header.e_phnum; i++)
		if (segments[i].p_type == PT_LOAD)
			map_segment(file, &segments[i], begin - lowest);
	return (struct image){
		.base = begin - lowest,
		.entry = begin - lowest + header.e_entry,
		/* The first segment begins at the file's start, as linkers lay it out. */
		.headers = begin + header.e_phoff,
		.header_count = header.e_phnum,
	};
}

/* --- The program's beginning ---------------------------------------------------------------------------------- */

/* Jump into the dynamic linker with the stack that the kernel would make in exec. */
static _Noreturn void jump(uintptr_t entry, const uintptr_t *stack)
{
#if defined(__x86_64__)
	__asm__ volatile("mov %0, %%rsp\n\txor %%edx, %%edx\n\tjmp *%1"
			 :
			 : "r"(stack), "r"(entry)
			 : "rdx", "memory");
#elif defined(__aarch64__)
	__asm__ volatile("mov sp, %0\n\tmov x0, #0\n\tmov x30, #0\n\tbr %1"
			 :
			 : "r"(stack), "r"(entry)
			 : "x0", "x30", "memory");
#else
#error "unsupported architecture"
#endif
	__builtin_unreachable();
}

static int is_refused(const char *variable)
{
	for (size_t i = 0; i < sizeof(REFUSED) / sizeof(*REFUSED); i++)
		if (!strncmp(variable, REFUSED[i], strlen(REFUSED[i])))
			return 1;
	return 0;
}

static uintptr_t auxiliary(const Elf64_auxv_t *given, const struct image *python, const struct image *linker)
{
	switch (given->a_type) {
	case AT_PHDR:
		return python->headers;
	case AT_PHNUM:
		return python->header_count;
	case AT_ENTRY:
		return python->entry;
	case AT_BASE:
		return linker->base;
	case AT_SECURE:
		/* Otherwise the linker would refuse our own libraries. Safe: begin() has cleaned the environment. */
		return 0;
	}
	return given->a_un.a_val;
}

static unsigned count_of(char *const *list)
{
	unsigned count = 0;

	while (list[count])
		count++;
	return count;
}

/* Start Python: its arguments are options, which begin with its name, and the given ones; its environment is variables
 * and the given one. */
static _Noreturn void begin(const struct start *start, char *const *given, char *const *options, char *const *variables)
{
	char *const *environment = given + count_of(given) + 1;
	const Elf64_auxv_t *vector = (const Elf64_auxv_t *)(environment + count_of(environment) + 1);
	struct image python = map_program(start->python), linker = map_program(start->linker);
	unsigned auxiliaries = 0;

	while (vector[auxiliaries++].a_type != AT_NULL)
		;
	/* Room for the count, our entries, the given ones and two NULLs. */
	uintptr_t stack[count_of(given) + count_of(options) + count_of(environment) + count_of(variables) + 3 +
			2 * auxiliaries] __attribute__((aligned(16)));
	uintptr_t *next = stack;

	*next++ = count_of(given) - 1 + count_of(options);
	for (; *options; options++)
		*next++ = (uintptr_t)*options;
	for (given++; *given; given++)
		*next++ = (uintptr_t)*given;
	*next++ = 0;
	for (; *variables; variables++)
		*next++ = (uintptr_t)*variables;
	/* Ignore the whole environment if the program has capabilities that its caller lacks. */
	for (; *environment && !getauxval(AT_SECURE); environment++)
		if (!is_refused(*environment))
			*next++ = (uintptr_t)*environment;
	*next++ = 0;
	for (unsigned i = 0; i < auxiliaries; i++) {
		*next++ = vector[i].a_type;
		*next++ = auxiliary(&vector[i], &python, &linker);
	}
	close(start->python);
	close(start->linker);
	jump(linker.entry, stack);
}

/* Without /proc: make a new proc file system, mounted nowhere, the root directory. Absolute paths then lead into it;
 * relative paths keep working, since the current directory stays. Returns the original root, to which start.py
 * returns. */
static int enter_own_proc(void)
{
	int root = above_standard(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
	int here = above_standard(open(".", O_PATH | O_DIRECTORY | O_CLOEXEC));
	int context = syscall(SYS_fsopen, "proc", FSOPEN_CLOEXEC), mount;

	if (root < 0 || here < 0 || context < 0 ||
	    syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) ||
	    (mount = syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)) < 0 ||
	    fchdir(mount) || chroot(".") || fchdir(here))
		fail("/proc is not mounted, and this user cannot mount one (%s)", strerror(errno));
	close(mount);
	close(context);
	close(here);
	return root;
}

int main(int argc, char **argv)
{
	static char home[64], path[64], preload[1024] = "LD_PRELOAD=", code[64], name[32];
	const char *proc = "/proc"; /* the path by which Python and the linker find it */
	int root = -1, file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct archive archive;
	struct start start;
	size_t size;

	if (argc < 1)
		fail("no arguments, not even a name");
	if (file < 0 && (errno == ENOENT || errno == ENOTDIR)) {
		root = enter_own_proc();
		proc = "";
		file = open("/self/exe", O_RDONLY | O_CLOEXEC);
	}
	file = above_standard(file);
	if (file < 0)
		fail("%s/self/exe: %s", proc, strerror(errno));
	archive = read_archive(file);
	start = unpack_start(&archive);
	munmap((void *)archive.bytes, archive.size);
	if (root < 0) {
		close(file);
		file = -1;
	}

	for (unsigned i = 0; i < start.count; i++) {
		size = strlen(preload);
		snprintf(preload + size, sizeof(preload) - size, "%s/self/fd/%d:", proc, start.libraries[i]);
	}
	snprintf(name, sizeof(name), "%s/self/exe", proc);
	snprintf(home, sizeof(home), "PYTHONHOME=%s", name);
	snprintf(path, sizeof(path), "PYTHONPATH=%s", name);
	snprintf(code, sizeof(code), "import start; start.main(%d, %d)", root, file);
	begin(&start, argv, (char *const[]){name, "-SPBc", code, NULL}, (char *const[]){home, path, preload, NULL});
}
