/* SPDX-License-Identifier: MIT */
/*
 * What gpusvm-info finds out.  Each probe_*() fills one structure and prints
 * nothing; advice.c judges what they found, and report_text.c and report_json.c
 * print the same facts in two forms.
 */
#ifndef GPUSVM_INFO_INFO_H
#define GPUSVM_INFO_INFO_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>

#include <gpusvm/gpusvm.h>

#define NAME_SIZE 64
#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

/* A probe's answer is 0 for "works here", a negative errno, or this. */
#define NOT_TRIED 1

/* The ways to a userfaultfd, in the order in which the library tries them. */
enum door {
	DOOR_SYSCALL,
	DOOR_DEVICE,
	DOOR_USER_MODE_ONLY,
	DOORS
};

struct door_names {
	const char *key;
	const char *title;
};

extern const struct door_names door_names[DOORS];

/* What the library does with a feature of userfaultfd. */
enum feature_use {
	USE_NEEDED, /* there is no service without it */
	USE_WANTED, /* the service is better with it */
	USE_NONE
};

/* Features of UFFDIO_API; the index is the bit. */
struct uffd_feature {
	const char *name;
	enum feature_use use;
};

extern const struct uffd_feature uffd_features[];
extern const size_t uffd_features_known;

/**
 * struct uffd_info - How this process gets at userfaultfd, and what it can do
 * @door: Answer of each door
 * @killed: A door ends the process: its seccomp filter does not return errors
 * @sysctl: vm.unprivileged_userfaultfd, or -1 if there is none
 * @api_err: 0 if @features is known
 * @features: What the kernel has, a bit for each feature
 * @event_fork: Whether this process may use EVENT_FORK
 */
struct uffd_info {
	int door[DOORS];
	bool killed;
	long sysctl;
	int api_err;
	uint64_t features;
	int event_fork;
};

/* A call of the kernel that the library, or a program with it, makes use of. */
struct interface_info {
	const char *key;
	const char *title;
	const char *since; /* version of Linux */
	int (*probe)(void);
	int err;
};

enum interface {
	IF_PROCMAP_QUERY,
	IF_PAGEMAP_SCAN,
	IF_POPULATE,
	IF_GUARD_INSTALL,
	IF_DONTUNMAP,
	IF_PROCESS_VM_READV,
	IF_MEMBARRIER,
	INTERFACES
};

/* The kernel and its settings; numbers are -1 and texts empty if unknown. */
struct system_info {
	char release[65];
	char machine[65];
	size_t page_size;
	char thp_enabled[NAME_SIZE];
	char thp_defrag[NAME_SIZE];
	long thp_bytes;
	long max_map_count;
	long overcommit_memory;
};

struct process_info {
	unsigned int uid;
	unsigned int euid;
	int cap_sys_ptrace;  /* as seccomp: -1 unknown */
	bool user_namespace; /* the kernel asks for capabilities outside */
	int seccomp;	     /* -1 unknown, 0 off, 1 strict, 2 filter */
	int no_new_privs;
	long mappings;
	int cpus_online;
	int cpus_allowed;
	struct rlimit as;
	struct rlimit memlock;
	struct rlimit nofile;
};

struct node {
	int id;
	long long total; /* bytes; -1 unknown */
	long long free;
	char *cpus;	 /* a list such as "0-3,8"; empty for none */
	char *distances; /* to each node online, blanks between; may be empty */
};

struct node_info {
	struct node *node;
	size_t count;
	size_t with_memory;
};

#define LOG_LINES 16

struct log_line {
	enum gpusvm_log_level level;
	char text[256];
};

/**
 * struct log - What the library has logged in a while
 * @line: Repetitions are left out by log_lines() only
 * @taken: How many lines were wanted; any thread may log, so a line is taken
 *	before it is written
 */
struct log {
	struct log_line line[LOG_LINES];
	atomic_uint taken;
};

#define SOURCE_VARIABLE "GPUSVM_SOURCE"
#define SOURCES 6

/**
 * struct source_names - A source of faults
 * @source: For gpusvm_mm_open()
 * @key: What the environment calls it
 * @title: What people do
 */
struct source_names {
	enum gpusvm_source source;
	const char *key;
	const char *title;
};

/* In the order of the library's choice; the last two are never its own. */
extern const struct source_names source_names[SOURCES];

/**
 * struct source_info - A source that was tried by itself
 * @err: Answer of gpusvm_mm_open() or of gpusvm_mm_close()
 * @features: gpusvm_mm_features()
 * @log: What the library said about it
 */
struct source_info {
	int err;
	unsigned long features;
	struct log log;
};

/**
 * struct library_info - What the library makes of all this
 * @open_err: Answer of gpusvm_mm_open()
 * @mm: The address space, while it is open
 * @source: The source that it has chosen; AUTO without an address space
 * @features: gpusvm_mm_features()
 * @log: What the library said
 * @pool_err: Answer of gpusvm_devmem_pool_create()
 * @pool: The device memory, while it is there
 * @node: Its node; -1 without a pool
 * @emulated: That is the only node
 * @check_err: Whether a page went to the device and came home
 * @close_err: Answer of gpusvm_mm_close()
 */
struct library_info {
	int open_err;
	struct mm_struct *mm;
	enum gpusvm_source source;
	unsigned long features;
	struct log log;
	int pool_err;
	struct gpusvm_devmem_pool *pool;
	int node;
	bool emulated;
	int check_err;
	int close_err;
};

/**
 * struct library_feature - A feature of gpusvm_mm_features()
 * @bit: GPUSVM_FEATURE_*
 * @key: For programs
 * @title: For people
 * @by_source: A program that needs it needs a source that has it
 */
struct library_feature {
	unsigned long bit;
	const char *key;
	const char *title;
	bool by_source;
};

#define LIBRARY_FEATURES 11
extern const struct library_feature library_features[LIBRARY_FEATURES];

#define RESULTS_MAX 10

struct result {
	const char *key;
	const char *title;
	size_t bytes;
	unsigned int rounds;
	uint64_t median_ns;
	uint64_t p10_ns;
	uint64_t p90_ns;
};

struct measurements {
	bool skipped;
	int err; /* of the first measurement that failed */
	size_t count;
	struct result result[RESULTS_MAX];
};

#define ADVICE_MAX 16

struct advice {
	const char *topic;
	char text[400];
};

struct verdict {
	bool usable;
	char reason[400]; /* why not */
	size_t count;
	struct advice advice[ADVICE_MAX];
};

struct info {
	struct uffd_info uffd;
	struct interface_info interface[INTERFACES];
	struct system_info system;
	struct process_info process;
	struct node_info nodes;
	struct source_info source[SOURCES];
	struct library_info library;
	struct measurements measurements;
	struct verdict verdict;
};

/* probe_uffd.c */

/* Before any other thread is started: it forks. */
void probe_uffd(struct uffd_info *uffd);

/* Open a userfaultfd through a door: a descriptor or a negative errno. */
int open_door(enum door door);

/* The first door that is open, or DOORS. */
enum door first_door(const struct uffd_info *uffd);

/* The door that the library takes for that source, or DOORS. */
enum door used_door(const struct uffd_info *uffd, enum gpusvm_source source);

/* probe_kernel.c */
void probe_interfaces(struct interface_info interface[INTERFACES]);

/* probe_system.c */
void probe_system(struct system_info *system);
void probe_process(struct process_info *process);

/* probe_nodes.c */
void probe_nodes(struct node_info *nodes);
void free_nodes(struct node_info *nodes);

/* probe_sources.c */

/* Open and close each, but for those that would end the process. */
void probe_sources(struct source_info info[SOURCES], bool killed);

/* What is missing for it, or NULL. */
const char *source_missing(const struct source_info *info);

const struct source_names *find_source(enum gpusvm_source source);
enum gpusvm_source source_of(unsigned long features);
/* Whether it does without userfaultfd. */
bool source_protects(enum gpusvm_source source);
/* The source that the environment asks for, or NULL. */
const struct source_names *wanted_source(void);
/* How pages are taken from the CPU. */
const char *technique_key(unsigned long features);

/* library.c */

/*
 * Open the address space as a program would, unless asking for userfaultfd
 * would end the process, and @pool_bytes of device memory, as far as it goes.
 */
void library_open(struct library_info *library, bool killed, size_t pool_bytes);
void library_close(struct library_info *library);

/* log.c */

/* What the library logs from now on goes there, or nowhere. */
void log_to(struct log *log);

/* The lines, repetitions left out; they are good until the next call. */
size_t log_lines(const struct log *log, const struct log_line **lines);
const char *log_level_name(enum gpusvm_log_level level);

/* check.c: fills check_err. */
void check_round_trip(struct library_info *library);

/* measure.c */
#define MEASURE_BYTES (2ul << 20) /* the largest size, and the pool's */
void measure(struct measurements *m, const struct info *info);

/* measure_bare.c: what the CPU and the kernel take, without the library. */
int measure_memcpy(struct measurements *m);
int measure_uffd(struct measurements *m);

/* series.c */

/* Durations: series_add() for each round, then series_finish(). */
struct series {
	uint64_t *ns;
	unsigned int rounds;
	uint64_t deadline;
};

int series_init(struct series *series);
bool series_wants_more(const struct series *series);
void series_add(struct series *series, uint64_t ns);
void series_finish(struct series *series, struct measurements *m,
		   const char *key, const char *title, size_t bytes);
uint64_t now_ns(void);

/* Private anonymous memory, aligned to its size, a power of two; or NULL. */
void *area_map(size_t size);
void area_unmap(void *area, size_t size);

/* advice.c */
void judge(struct info *info);

/* report_text.c, report_json.c */
void report_text(const struct info *info);
void report_json(const struct info *info);

#endif /* GPUSVM_INFO_INFO_H */
