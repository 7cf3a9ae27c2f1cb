/* SPDX-License-Identifier: MIT */
/*
 * Device memory as the library sees it: page frames, one struct page each.
 *
 * A page frame number is an address divided by the page size.  For device
 * memory that is mapped into the process it is the address of the mapping; a
 * simulator whose memory is elsewhere may use any window of addresses that
 * no other pagemap has.
 */
#ifndef GPUSVM_PAGEMAP_H
#define GPUSVM_PAGEMAP_H

#include <gpusvm/kernel.h>

#include <gpusvm/names_begin.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * enum memory_type - What the CPU may do with device memory
 * @MEMORY_DEVICE_PRIVATE: Nothing; a CPU access brings the page home
 * @MEMORY_DEVICE_COHERENT: Access it in place, which brings nothing home
 *
 * Coherent memory is that of NUMA nodes.  A range that migrates there stays in
 * the program's mapping: the kernel moves the pages to the node with
 * move_pages(2) and holds up who stores meanwhile.  So the driver's copy
 * callbacks are not called, no CPU access is a fault, and a page's address
 * (gpusvm_page_address()) is the program's.
 */
enum memory_type {
	MEMORY_DEVICE_PRIVATE = 1,
	MEMORY_DEVICE_COHERENT,
};

struct dev_pagemap_ops;
struct gpusvm_copy_engine;

/**
 * struct gpusvm_pagemap_file - A file that device memory is in
 * @fd: The file, open for reading and writing; the pagemap's owner keeps it
 *	open
 * @mapped: The file is mapped, shared, where the pagemap's range is: it can be
 *	copied by address
 * @offset: Where in the file the range begins, in bytes; a multiple of the page
 *	size
 */
struct gpusvm_pagemap_file {
	int fd;
	bool mapped;
	u64 offset;
};

/**
 * struct dev_pagemap - A piece of device memory
 * @type: What the CPU may do with it
 * @ops: drm_gpusvm_pagemap_ops_get()
 * @owner: Token of the devices that can use it in place
 * @nr_range: 1, or 0 for the same; the kernel's arrays of ranges are not
 *	supported
 * @range: First and last byte, page-aligned and inclusive as in the kernel
 * @range.start: First byte
 * @range.end: Last byte
 * @engine: How gpusvm_copy_to_devmem() and gpusvm_copy_to_ram() copy; NULL for
 *	memcpy
 * @file: The file that it is in; NULL for memory at its range's addresses
 * @nodes: With MEMORY_DEVICE_COHERENT: a bit for each NUMA node that it is the
 *	memory of, of the first 64; several are taken by turns
 * @pages: Library-private
 * @next: Library-private
 *
 * The driver's object, in memory that never migrates.  The range of coherent
 * memory only numbers its pages: there is nothing at these addresses.
 */
struct dev_pagemap {
	enum memory_type type;
	const struct dev_pagemap_ops *ops;
	void *owner;
	int nr_range;
	struct {
		u64 start;
		u64 end;
	} range;
	struct gpusvm_copy_engine *engine;
	const struct gpusvm_pagemap_file *file;
	unsigned long nodes;
	struct page *pages;
	struct dev_pagemap *next;
};

/**
 * gpusvm_pagemap_add() - Make device memory known
 * @pgmap: Its description; must stay until gpusvm_pagemap_remove()
 *
 * Context: May sleep.
 * Return: 0; -EINVAL for a bad description, such as coherent memory without
 * nodes; -EOPNOTSUPP for a type that is not supported; -EEXIST if the addresses overlap another pagemap; -ENOMEM.
 */
GPUSVM_API int gpusvm_pagemap_add(struct dev_pagemap *pgmap) GPUSVM_MUST_CHECK;

/**
 * gpusvm_pagemap_remove() - Forget device memory
 * @pgmap: The pagemap
 *
 * Context: May sleep.
 * Return: 0; -EBUSY while pages are in use: evict them first; -ENOENT if it was
 * not added.
 */
GPUSVM_API int gpusvm_pagemap_remove(struct dev_pagemap *pgmap);

/**
 * gpusvm_pfn_to_page() - The device page with a number
 * @pfn: Page frame number
 *
 * Return: The page, or NULL if no pagemap has it.
 */
GPUSVM_API struct page *gpusvm_pfn_to_page(unsigned long pfn);

/**
 * gpusvm_page_to_pfn() - The number of a device page
 * @page: The page
 */
GPUSVM_API unsigned long gpusvm_page_to_pfn(const struct page *page);

/**
 * gpusvm_page_address() - The address of a device page
 * @page: The page
 *
 * Return: Its place in the window that the pagemap's range gave; of a coherent
 * page that is in use, where the program has it.
 */
GPUSVM_API void *gpusvm_page_address(const struct page *page);

/**
 * gpusvm_page_pagemap() - The pagemap of a device page
 * @page: The page
 */
GPUSVM_API struct dev_pagemap *gpusvm_page_pagemap(const struct page *page);

/**
 * gpusvm_page_get() - Hold a device page where it is
 * @page: A page that is in use
 *
 * A held page neither comes home nor becomes free; a CPU that touches it
 * waits, unless it is coherent.
 *
 * Context: Any; does not sleep.
 */
GPUSVM_API void gpusvm_page_get(struct page *page);

/**
 * gpusvm_page_put() - Undo gpusvm_page_get()
 * @page: The page; if it is no longer mapped it becomes free, which may call
 *	devmem_release
 *
 * Context: Any.
 */
GPUSVM_API void gpusvm_page_put(struct page *page);

#ifdef __cplusplus
}
#endif

#include <gpusvm/names_end.h>

#endif /* GPUSVM_PAGEMAP_H */
