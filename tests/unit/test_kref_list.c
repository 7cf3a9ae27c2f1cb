/* SPDX-License-Identifier: MIT */
/*
 * The inlines of linux_compat: lists, references and errors in pointers.
 */
#include "unit.h"

#include <linux/err.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <pthread.h>

/* ---- Lists ---- */

struct item {
	int value;
	struct list_head link;
};

/* That @head holds the @n values of @expected, both ways round. */
static void assert_list(struct list_head *head, const int *expected, size_t n)
{
	struct list_head *node = head;
	struct item *item;
	size_t i = 0;

	list_for_each_entry(item, head, link) {
		assert_in_range(i, 0, n - 1);
		assert_int_equal(item->value, expected[i++]);
	}
	assert_int_equal(i, n);
	while (i-- > 0) {
		node = node->prev;
		assert_int_equal(list_entry(node, struct item, link)->value,
				 expected[i]);
	}
	assert_ptr_equal(node->prev, head);
	assert_int_equal(list_empty(head), n == 0);
}

static void list_add_puts_first_and_add_tail_last(void **state)
{
	struct list_head head = LIST_HEAD_INIT(head);
	struct item a = { .value = 1 }, b = { .value = 2 }, c = { .value = 3 };

	(void)state;
	assert_true(list_empty(&head));
	assert_null(list_first_entry_or_null(&head, struct item, link));
	list_add(&a.link, &head);
	list_add(&b.link, &head);
	list_add_tail(&c.link, &head);
	assert_list(&head, (const int[]){ 2, 1, 3 }, 3);
	assert_ptr_equal(list_first_entry(&head, struct item, link), &b);
	assert_ptr_equal(list_first_entry_or_null(&head, struct item, link),
			 &b);
	assert_ptr_equal(list_next_entry(&b, link), &a);
	assert_true(list_is_last(&c.link, &head));
	assert_false(list_is_last(&a.link, &head));
}

static void list_del_takes_out_and_move_tail_moves(void **state)
{
	struct item items[4];
	struct list_head head;
	int i;

	(void)state;
	INIT_LIST_HEAD(&head);
	for (i = 0; i < 4; i++) {
		items[i].value = i;
		list_add_tail(&items[i].link, &head);
	}
	list_del(&items[1].link);
	assert_list(&head, (const int[]){ 0, 2, 3 }, 3);
	list_move_tail(&items[0].link, &head);
	assert_list(&head, (const int[]){ 2, 3, 0 }, 3);
	list_del_init(&items[3].link);
	assert_true(list_empty(&items[3].link));
	assert_list(&head, (const int[]){ 2, 0 }, 2);
	list_del(&items[2].link);
	list_del(&items[0].link);
	assert_list(&head, NULL, 0);
}

static void list_for_each_entry_safe_allows_removal(void **state)
{
	struct item items[6], *item, *next;
	struct list_head head, other;
	int i;

	(void)state;
	INIT_LIST_HEAD(&head);
	INIT_LIST_HEAD(&other);
	for (i = 0; i < 6; i++) {
		items[i].value = i;
		list_add_tail(&items[i].link, &head);
	}
	list_for_each_entry_safe(item, next, &head, link) {
		if (item->value % 2)
			list_move_tail(&item->link, &other);
	}
	assert_list(&head, (const int[]){ 0, 2, 4 }, 3);
	assert_list(&other, (const int[]){ 1, 3, 5 }, 3);
}

/* ---- References ---- */

struct object {
	struct kref kref;
	unsigned int value;
	unsigned int released;
};

static void release(struct kref *kref)
{
	struct object *object = container_of(kref, struct object, kref);

	/* Plain: the last put has seen what came before every other. */
	object->value++;
	object->released++;
}

static void kref_put_of_the_last_releases_once(void **state)
{
	struct object object = { 0 };

	(void)state;
	kref_init(&object.kref);
	assert_int_equal(kref_read(&object.kref), 1);
	kref_get(&object.kref);
	assert_true(kref_get_unless_zero(&object.kref));
	assert_int_equal(kref_read(&object.kref), 3);
	assert_int_equal(kref_put(&object.kref, release), 0);
	assert_int_equal(kref_put(&object.kref, release), 0);
	assert_int_equal(object.released, 0);
	assert_int_equal(kref_put(&object.kref, release), 1);
	assert_int_equal(object.released, 1);
	assert_false(kref_get_unless_zero(&object.kref));
	assert_int_equal(kref_read(&object.kref), 0);
}

#define NTHREADS 4

static struct object shared;
static pthread_mutex_t value_lock = PTHREAD_MUTEX_INITIALIZER;

/* Takes and drops references; the one it came with goes last. */
static void *get_and_put(void *arg)
{
	uintptr_t failed = 0;
	unsigned int i;

	(void)arg;
	for (i = 0; i < 10000; i++) {
		if (i % 2)
			kref_get(&shared.kref);
		else
			failed += !kref_get_unless_zero(&shared.kref);
		failed += (uintptr_t)kref_put(&shared.kref, release);
	}
	pthread_mutex_lock(&value_lock);
	shared.value++;
	pthread_mutex_unlock(&value_lock);
	kref_put(&shared.kref, release);
	return (void *)failed;
}

static void kref_from_many_threads_releases_once(void **state)
{
	pthread_t threads[NTHREADS];
	void *failed;
	int i;

	(void)state;
	kref_init(&shared.kref);
	for (i = 0; i < NTHREADS; i++) {
		kref_get(&shared.kref);
		assert_int_equal(pthread_create(&threads[i], NULL, get_and_put,
						NULL),
				 0);
	}
	kref_put(&shared.kref, release);
	for (i = 0; i < NTHREADS; i++) {
		pthread_join(threads[i], &failed);
		assert_null(failed);
	}
	assert_int_equal(shared.released, 1);
	assert_int_equal(shared.value, NTHREADS + 1);
}

/* ---- Errors in pointers ---- */

static void err_ptr_carries_every_errno(void **state)
{
	long error;

	(void)state;
	for (error = -4095; error < 0; error++) {
		assert_true(IS_ERR(ERR_PTR(error)));
		assert_int_equal(PTR_ERR(ERR_PTR(error)), error);
		assert_true(IS_ERR_OR_NULL(ERR_PTR(error)));
	}
	assert_ptr_equal(ERR_CAST(ERR_PTR(-ENOMEM)), ERR_PTR(-ENOMEM));
}

static void pointers_are_not_errors(void **state)
{
	int object;

	(void)state;
	assert_false(IS_ERR(NULL));
	assert_false(IS_ERR(&object));
	assert_false(IS_ERR(ERR_PTR(-4096)));
	assert_true(IS_ERR_OR_NULL(NULL));
	assert_false(IS_ERR_OR_NULL(&object));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(list_add_puts_first_and_add_tail_last),
		cmocka_unit_test(list_del_takes_out_and_move_tail_moves),
		cmocka_unit_test(list_for_each_entry_safe_allows_removal),
		cmocka_unit_test(kref_put_of_the_last_releases_once),
		cmocka_unit_test(kref_from_many_threads_releases_once),
		cmocka_unit_test(err_ptr_carries_every_errno),
		cmocka_unit_test(pointers_are_not_errors),
	};

	return cmocka_run_group_tests_name("kref_list", tests, NULL, NULL);
}
