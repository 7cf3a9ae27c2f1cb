/* SPDX-License-Identifier: MIT */
/*
 * The program's mappings, as /proc tells them at the moment of asking.
 *
 * Registering a part of a mapping with userfaultfd splits it for the kernel
 * though not for the program: gpusvm_vma_covers() joins such pieces again.
 * A source that guards memory makes it inaccessible, which is nothing that the
 * program did: it is told with the protection that the program gave it.
 * Excluded memory (exclude.h) looks unmapped.
 */
#ifndef GPUSVM_MM_VMA_H
#define GPUSVM_MM_VMA_H

#include <gpusvm/kernel.h>

/**
 * struct vma - One mapping, or a part of one
 * @start: First address
 * @end: End, exclusive
 * @read: May be read
 * @write: May be written
 * @exec: May be executed
 * @anon: Private anonymous memory; all that can migrate
 * @shared: Shared mapping
 * @guarded: The source has made it inaccessible
 * @offset: For a file: byte at @start
 * @inode: For a file: its inode number, else 0.  It is 0 for a file, too: the
 *	inode number of System V shared memory is its identifier, and the first
 *	one's is 0
 * @dev: For a file: its device, else 0
 */
struct vma {
	unsigned long start;
	unsigned long end;
	bool read;
	bool write;
	bool exec;
	bool anon;
	bool shared;
	bool guarded;
	u64 offset;
	u64 inode;
	u64 dev;
};

static inline bool gpusvm_vma_has_file(const struct vma *vma)
{
	return vma->inode || vma->dev;
}

/* The mapping at @addr; -ENOENT. */
int gpusvm_vma_find(struct mm_struct *mm, unsigned long addr, struct vma *vma);

/*
 * Whether [start, end), which overlaps @vma, is all inside it, joining
 * neighbours that differ only in how they are registered.
 */
bool gpusvm_vma_covers(struct mm_struct *mm, struct vma *vma,
		       unsigned long start, unsigned long end);

/* The kernel's own piece at @addr, without joining or exclusion; -ENOENT. */
int gpusvm_vma_piece(struct mm_struct *mm, unsigned long addr, struct vma *vma);

/* The same, or the first piece above @addr if none is there. */
int gpusvm_vma_next(struct mm_struct *mm, unsigned long addr, struct vma *vma);

/*
 * Whether [start, end) is inside one mapping of the program's that the kernel
 * has in several pieces.
 */
bool gpusvm_vma_in_pieces(struct mm_struct *mm, unsigned long start,
			  unsigned long end);

/* Open and close what look-ups need; sets GPUSVM_FEATURE_PROCMAP_QUERY. */
int gpusvm_vma_open(struct mm_struct *mm);
void gpusvm_vma_close(struct mm_struct *mm);

#endif /* GPUSVM_MM_VMA_H */
