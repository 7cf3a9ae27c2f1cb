/* SPDX-License-Identifier: MIT */
/*
 * The fake device's reads and writes through the addresses that get_pages
 * made, and the fault handler around them.
 */
#include "fake_driver.h"
#include "fake_internal.h"

#include <limits.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAX_ROUNDS 100

unsigned long fake_entries(struct drm_gpusvm_range *range)
{
	unsigned long npages = drm_gpusvm_range_size(range) / PS;
	unsigned long pages = 0, entries = 0;

	while (pages < npages) {
		pages += 1ul << range->dma_addr[entries].order;
		entries++;
	}
	return pages == npages ? entries : 0;
}

/* Copy between @buf and system memory that may be gone. */
static int careful_copy(void *system, void *buf, size_t len, bool write)
{
	struct iovec local = { buf, len };
	struct iovec remote = { system, len };
	ssize_t done;

	if (write)
		done = process_vm_writev(getpid(), &local, 1, &remote, 1, 0);
	else
		done = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
	return done == (ssize_t)len ? 0 : -EFAULT;
}

static int copy_one(struct fake_driver *d, struct drm_gpusvm_range *range,
		    const struct drm_pagemap_device_addr *entry, size_t within,
		    void *buf, size_t len, bool write)
{
	unsigned char *mem;

	if (entry->proto == DRM_INTERCONNECT_SYSTEM) {
		dma_addr_t addr = entry->addr;

		if (addr >= FAKE_DMA_OFFSET)
			addr -= FAKE_DMA_OFFSET;
		mem = (unsigned char *)(uintptr_t)addr + within;
		if (d->careful)
			return careful_copy(mem, buf, len, write);
	} else if (entry->proto == FAKE_PROTO && range->dpagemap) {
		struct fake_driver *of = container_of(
			range->dpagemap, struct fake_driver, dpagemap);
		size_t offset = entry->addr - FAKE_DEVICE_BASE + within;

		if (of->pagemap.type == MEMORY_DEVICE_COHERENT)
			return careful_copy((void *)offset, buf, len, write);
		if (offset + len > of->devmem_bytes)
			return -EFAULT;
		mem = of->devmem + offset;
	} else {
		return -EFAULT;
	}
	if (write)
		memcpy(mem, buf, len);
	else
		memcpy(buf, mem, len);
	return 0;
}

/* Notifier lock held, pages valid. */
static int copy_locked(struct fake_driver *d, struct drm_gpusvm_range *range,
		       size_t offset, void *buf, size_t len, bool write)
{
	const struct drm_pagemap_device_addr *entry = range->dma_addr;
	size_t size = drm_gpusvm_range_size(range);
	char *p = buf;
	size_t at = 0;

	if (offset + len > size)
		return -EFAULT;
	while (len) {
		size_t bytes = PS << entry->order;

		if (at >= size)
			return -EFAULT;
		if (offset < at + bytes) {
			size_t part = at + bytes - offset;
			int err;

			part = part < len ? part : len;
			err = copy_one(d, range, entry, offset - at, p, part,
				       write);
			if (err)
				return err;
			p += part;
			offset += part;
			len -= part;
		}
		at += bytes;
		entry++;
	}
	return 0;
}

static int dev_copy(struct fake_driver *d, struct drm_gpusvm_range *range,
		    size_t offset, void *buf, size_t len, bool write)
{
	int err = -EAGAIN;

	drm_gpusvm_notifier_lock(&d->gpusvm);
	if (drm_gpusvm_range_pages_valid(&d->gpusvm, range))
		err = copy_locked(d, range, offset, buf, len, write);
	drm_gpusvm_notifier_unlock(&d->gpusvm);
	return err;
}

int fake_dev_read(struct fake_driver *d, struct drm_gpusvm_range *range,
		  size_t offset, void *buf, size_t len)
{
	return dev_copy(d, range, offset, buf, len, false);
}

int fake_dev_write(struct fake_driver *d, struct drm_gpusvm_range *range,
		   size_t offset, const void *buf, size_t len)
{
	return dev_copy(d, range, offset, (void *)(uintptr_t)buf, len, true);
}

int fake_dev_add(struct fake_driver *d, struct drm_gpusvm_range *range,
		 size_t offset, unsigned long value)
{
	unsigned long word;
	int err = -EAGAIN;

	drm_gpusvm_notifier_lock(&d->gpusvm);
	if (drm_gpusvm_range_pages_valid(&d->gpusvm, range) &&
	    range->flags.has_devmem_pages) {
		err = copy_locked(d, range, offset, &word, sizeof(word), false);
		word += value;
		if (!err)
			err = copy_locked(d, range, offset, &word, sizeof(word),
					  true);
	}
	drm_gpusvm_notifier_unlock(&d->gpusvm);
	return err;
}

/* Compare with a pattern, or with one value. */
static size_t dev_compare(struct fake_driver *d, struct drm_gpusvm_range *range,
			  bool pattern, unsigned int tag, unsigned char value)
{
	size_t size = drm_gpusvm_range_size(range);
	unsigned char buf[512];
	size_t at, i;

	for (at = 0; at < size; at += sizeof(buf)) {
		int err = fake_dev_read(d, range, at, buf, sizeof(buf));

		if (err) {
			print_error("device read at %zu: %d\n", at, err);
			return at;
		}
		for (i = 0; i < sizeof(buf); i++)
			if (buf[i] !=
			    (pattern ? test_pattern(at + i, tag) : value))
				return at + i;
	}
	return size;
}

size_t fake_dev_match(struct fake_driver *d, struct drm_gpusvm_range *range,
		      unsigned int tag)
{
	return dev_compare(d, range, true, tag, 0);
}

size_t fake_dev_match_byte(struct fake_driver *d,
			   struct drm_gpusvm_range *range, unsigned char value)
{
	return dev_compare(d, range, false, 0, value);
}

int fake_dev_fill(struct fake_driver *d, struct drm_gpusvm_range *range,
		  unsigned int tag)
{
	size_t size = drm_gpusvm_range_size(range);
	unsigned char buf[512];
	size_t at, i;
	int err;

	for (at = 0; at < size; at += sizeof(buf)) {
		for (i = 0; i < sizeof(buf); i++)
			buf[i] = test_pattern(at + i, tag);
		err = fake_dev_write(d, range, at, buf, sizeof(buf));
		if (err)
			return err;
	}
	return 0;
}

/* ---- The fault handler ---- */

/* Driver lock held.  What fits into the range at @addr is in *@part. */
static int access_once(struct fake_driver *d, unsigned long addr, void *buf,
		       size_t len, unsigned int flags, size_t *part)
{
	const struct drm_gpusvm_ctx ctx = {
		.read_only = !(flags & FAKE_ACCESS_WRITE),
		.devmem_possible = 1,
	};
	struct drm_gpusvm_range *range;
	int err;

	fake_collect(d);
	range = fake_fault_ctx(d, (void *)addr, 0, ULONG_MAX, &ctx);
	if (IS_ERR(range))
		return (int)PTR_ERR(range);
	*part = drm_gpusvm_range_end(range) - addr;
	*part = *part < len ? *part : len;

	if ((flags & FAKE_ACCESS_MIGRATE) && range->flags.migrate_devmem &&
	    !fake_valid(d, range))
		(void)!fake_migrate(d, range, NULL);
	err = fake_get_pages_ctx(d, range, &ctx);
	if (err == -EOPNOTSUPP) {
		drm_gpusvm_range_evict(&d->gpusvm, range);
		return -EAGAIN;
	}
	/* It may have been unmapped a moment ago: collected in the next round. */
	if (err == -EFAULT && range->flags.unmapped)
		return -EAGAIN;
	if (err)
		return err;
	return dev_copy(d, range, addr - drm_gpusvm_range_start(range), buf,
			*part, flags & FAKE_ACCESS_WRITE);
}

int fake_access(struct fake_driver *d, void *addr, void *buf, size_t len,
		unsigned int flags)
{
	unsigned long at = (unsigned long)addr;
	char *p = buf;
	int err = 0;

	while (len && !err) {
		unsigned int round;
		size_t part = 0;

		for (round = 0; round < MAX_ROUNDS; round++) {
			fake_driver_lock(d);
			err = access_once(d, at, p, len, flags, &part);
			fake_driver_unlock(d);
			if (err != -EAGAIN)
				break;
		}
		at += part;
		p += part;
		len -= part;
	}
	return err;
}
