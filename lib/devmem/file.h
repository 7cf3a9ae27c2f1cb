/* SPDX-License-Identifier: MIT */
/* Memory in a file. */
#ifndef GPUSVM_DEVMEM_FILE_H
#define GPUSVM_DEVMEM_FILE_H

#include <gpusvm/devmem.h>
#include <stdbool.h>
#include <stddef.h>

/**
 * struct file_memory - A piece of a file, and the addresses that stand for it
 * @file: The file, for the pagemap
 * @own_fd: It is ours to close
 * @direct: It is open with O_DIRECT
 * @addr: First address, aligned as a huge page
 * @size: Bytes
 * @reserved: The address space that was reserved for it
 * @reserved_size: How much that is
 */
struct file_memory {
	struct gpusvm_pagemap_file file;
	bool own_fd;
	bool direct;
	unsigned long addr;
	size_t size;
	unsigned long reserved;
	size_t reserved_size;
};

/*
 * Take @size bytes of the file that the options say.  Errors as
 * gpusvm_devmem_pool_create().
 */
int gpusvm_file_take(struct file_memory *memory, size_t size,
		     const struct gpusvm_devmem_pool_opts *opts);
void gpusvm_file_give_back(struct file_memory *memory);

#endif /* GPUSVM_DEVMEM_FILE_H */
