/* SPDX-License-Identifier: MIT */
/*
 * Mappings by PROCMAP_QUERY (Linux 6.11), or by reading /proc/self/maps where
 * the kernel is older.
 */
#include "vma.h"

#include <errno.h>
#include <fcntl.h>
#include <gpusvm/gpusvm.h>
#include <sys/mman.h>

#include "compiler.h"
#include "exclude.h"
#include "mm.h"
#include "source.h"
#include "sys.h"

/* @next: the first mapping above @addr will do, if none is there. */
static int query_procmap(struct mm_struct *mm, unsigned long addr, bool next,
			 struct vma *vma)
{
	struct procmap_query query = {
		.size = sizeof(query),
		.query_flags = next ? PROCMAP_QUERY_COVERING_OR_NEXT_VMA : 0,
		.query_addr = addr,
	};
	int err;

	err = gpusvm_sys_procmap_query(mm->maps_fd, &query);
	if (err)
		return err;
	*vma = (struct vma){
		.start = query.vma_start,
		.end = query.vma_end,
		.read = query.vma_flags & PROCMAP_QUERY_VMA_READABLE,
		.write = query.vma_flags & PROCMAP_QUERY_VMA_WRITABLE,
		.exec = query.vma_flags & PROCMAP_QUERY_VMA_EXECUTABLE,
		.shared = query.vma_flags & PROCMAP_QUERY_VMA_SHARED,
		.offset = query.vma_offset,
		.inode = query.inode,
		.dev = ((u64)query.dev_major << 32) | query.dev_minor,
	};
	return 0;
}

static const char *parse_hex(const char *text, u64 *value)
{
	for (*value = 0;; text++) {
		if (*text >= '0' && *text <= '9')
			*value = *value << 4 | (u64)(*text - '0');
		else if (*text >= 'a' && *text <= 'f')
			*value = *value << 4 | (u64)(*text - 'a' + 10);
		else
			return text + 1; /* behind the separator */
	}
}

/* "start-end rwxp offset major:minor inode  name" */
static void parse_line(const char *line, struct vma *vma)
{
	u64 start, end, major, minor;

	line = parse_hex(line, &start);
	line = parse_hex(line, &end);
	*vma = (struct vma){
		.start = start,
		.end = end,
		.read = line[0] == 'r',
		.write = line[1] == 'w',
		.exec = line[2] == 'x',
		.shared = line[3] == 's',
	};
	line = parse_hex(line + 5, &vma->offset);
	line = parse_hex(line, &major);
	line = parse_hex(line, &minor);
	vma->dev = major << 32 | minor;
	for (; *line >= '0' && *line <= '9'; line++)
		vma->inode = vma->inode * 10 + (u64)(*line - '0');
}

/*
 * The kernel gives whole lines as long as they fit, so a buffer that holds the
 * longest line never sees half of one first.
 */
#define MAPS_BUFFER (4096 + 256)

static int query_maps(struct mm_struct *mm, unsigned long addr, bool next,
		      struct vma *vma)
{
	char buf[MAPS_BUFFER];
	char *line, *end;
	off_t offset = 0;
	ssize_t n;

	for (;;) {
		n = gpusvm_sys_pread(mm->maps_fd, buf, sizeof(buf) - 1, offset);
		if (n <= 0)
			return n < 0 ? (int)n : -ENOENT;
		buf[n] = '\0';
		for (line = buf;; line = end + 1) {
			for (end = line; *end && *end != '\n'; end++)
				;
			if (!*end)
				break;
			parse_line(line, vma);
			if (addr < vma->end)
				return addr < vma->start && !next ? -ENOENT : 0;
		}
		if (line == buf)
			return -ENOENT;
		offset += line - buf;
	}
}

static int query_once(struct mm_struct *mm, unsigned long addr, bool next,
		      struct vma *vma)
{
	int err;

	if (mm->features & GPUSVM_FEATURE_PROCMAP_QUERY)
		err = query_procmap(mm, addr, next, vma);
	else
		err = query_maps(mm, addr, next, vma);
	if (err)
		return -ENOENT;
	vma->anon = !vma->shared && !gpusvm_vma_has_file(vma);
	return 0;
}

/*
 * Whether the mapping may be other than it seems; then it is made what the
 * program knows, if it is.
 */
static bool uncover(struct mm_struct *mm, unsigned long addr, struct vma *vma)
{
	unsigned long start = vma->start;
	int prot;

	if (vma->read || vma->write || vma->exec || !mm->source ||
	    !mm->source->ops->guarded)
		return false;
	prot = mm->source->ops->guarded(mm->source, max(addr, start),
					&vma->start, &vma->end);
	vma->offset += vma->start - start;
	if (prot < 0)
		return true;
	vma->read = prot & PROT_READ;
	vma->write = prot & PROT_WRITE;
	vma->exec = prot & PROT_EXEC;
	vma->guarded = true;
	return false;
}

/* What came home between two looks is neither accessible nor guarded. */
#define LOOKS 3

static int query(struct mm_struct *mm, unsigned long addr, bool next,
		 struct vma *vma)
{
	unsigned int look = 0;
	int err;

	do
		err = query_once(mm, addr, next, vma);
	while (!err && uncover(mm, addr, vma) && ++look < LOOKS);
	return err;
}

int gpusvm_vma_piece(struct mm_struct *mm, unsigned long addr, struct vma *vma)
{
	return query(mm, addr, false, vma);
}

int gpusvm_vma_next(struct mm_struct *mm, unsigned long addr, struct vma *vma)
{
	return query(mm, addr, true, vma);
}

int gpusvm_vma_find(struct mm_struct *mm, unsigned long addr, struct vma *vma)
{
	unsigned long start;
	int err;

	err = gpusvm_vma_piece(mm, addr, vma);
	if (err)
		return err;
	start = vma->start;
	if (!gpusvm_exclude_clip(addr, &vma->start, &vma->end))
		return -ENOENT;
	vma->offset += vma->start - start;
	return 0;
}

/* Whether @b, which starts where @a ends, goes on as @a does. */
static bool continues(const struct vma *a, const struct vma *b)
{
	return a->end == b->start && a->read == b->read &&
	       a->write == b->write && a->exec == b->exec &&
	       a->shared == b->shared && a->anon == b->anon &&
	       a->inode == b->inode && a->dev == b->dev &&
	       (!gpusvm_vma_has_file(a) ||
		a->offset + (a->end - a->start) == b->offset);
}

bool gpusvm_vma_covers(struct mm_struct *mm, struct vma *vma,
		       unsigned long start, unsigned long end)
{
	struct vma next;

	while (vma->end < end) {
		if (gpusvm_vma_find(mm, vma->end, &next) ||
		    !continues(vma, &next))
			return false;
		vma->end = next.end;
	}
	while (vma->start > start) {
		if (gpusvm_vma_find(mm, vma->start - 1, &next) ||
		    !continues(&next, vma))
			return false;
		vma->start = next.start;
		vma->offset = next.offset;
	}
	return true;
}

bool gpusvm_vma_in_pieces(struct mm_struct *mm, unsigned long start,
			  unsigned long end)
{
	struct vma vma;

	return !gpusvm_vma_piece(mm, start, &vma) && vma.end < end &&
	       !gpusvm_vma_find(mm, start, &vma) &&
	       gpusvm_vma_covers(mm, &vma, start, end);
}

int gpusvm_vma_open(struct mm_struct *mm)
{
	struct vma vma;

	mm->maps_fd = gpusvm_sys_open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	if (mm->maps_fd < 0)
		return mm->maps_fd;
	if (!query_procmap(mm, (unsigned long)&gpusvm_vma_open, false, &vma))
		mm->features |= GPUSVM_FEATURE_PROCMAP_QUERY;
	return 0;
}

void gpusvm_vma_close(struct mm_struct *mm)
{
	gpusvm_sys_close(mm->maps_fd);
}
