/* SPDX-License-Identifier: MIT */
/*
 * Graph algorithms on a device that shares the program's memory.
 *
 * The graph and the results lie in plain malloc() memory.  Worker threads that
 * play a GPU run breadth-first search and PageRank on it and reach it only
 * through a page table of their own: what they touch moves to device memory,
 * and what the CPU touches between two steps comes home.  With too little
 * device memory blocks are evicted.  At the end everything is compared with
 * the same computation on the CPU alone.
 *
 *	main.c		options, and the order of events
 *	gpu.h		the device and its driver: start reading there
 *	algorithm.c	the algorithms
 *	graph.c, edge_list.c, dpkg.c	where the graph comes from
 *	memory.c	where memory comes from
 *	report.c	what is printed
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "report.h"

#define DPKG_STATUS "/var/lib/dpkg/status"

/* Without --scale the graph of packages is repeated up to this size. */
#define DEFAULT_BYTES (256ul << 20)

#define EXIT_DIFFERENT 1
#define EXIT_USAGE 2
#define EXIT_SKIPPED 77 /* this machine cannot do it */

struct settings {
	const char *file;    /* NULL: the packages of this machine */
	double memory_share; /* of the graph's size, if memory is 0 */
	uint32_t scale;	     /* 0: choose */
	unsigned int rounds;
	struct gpu_options gpu;
};

static const char usage[] =
	"usage: graph [OPTION]... [FILE]\n"
	"Run graph algorithms on a device that shares this program's memory.\n"
	"FILE has an edge per line, two unsigned numbers; without it the "
	"graph\n"
	"is that of the dependencies of this machine's Debian packages.\n"
	"\n"
	"  -d, --device-mem=SIZE   device memory, as 64M, 1G, or as 25% of "
	"the\n"
	"                          graph (default: 150%)\n"
	"  -w, --workers=N         device threads (default: 2)\n"
	"  -r, --rounds=N          rounds of PageRank, at most (default: 50)\n"
	"  -s, --scale=N           join N copies of the graph (default: 1 for\n"
	"                          FILE, else enough for 256 MiB)\n"
	"  -n, --no-migrate        leave memory where it is\n"
	"  -t, --technique=WHICH   take pages from the CPU by \"move\" or "
	"\"wp\"\n"
	"  -e, --engine=WHICH      copy by \"memcpy\", \"stream\", "
	"\"threads\" or\n"
	"                          \"uring\" (default: memcpy)\n"
	"  -h, --help              print this and exit\n"
	"\n"
	"Status: 0 results are right, 1 they are not or the device failed,\n"
	"2 wrong usage or input, 77 there is no userfaultfd here.\n";

static bool parse_count(const char *text, unsigned long max, uint32_t *count)
{
	unsigned long value;
	char *end;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || *text < '0' || *text > '9' || *end || !value ||
	    value > max)
		return false;
	*count = (uint32_t)value;
	return true;
}

/* "64M", or "25%". */
static bool parse_memory(const char *text, struct settings *s)
{
	double value;
	char *end;

	value = strtod(text, &end);
	if (end == text || !(value > 0) || value > 1e15)
		return false;
	if (!strcmp(end, "%")) {
		s->memory_share = value / 100;
		return s->memory_share <= 1000;
	}
	switch (*end) {
	case 'G':
		value *= 1024;
		/* fall through */
	case 'M':
		value *= 1024;
		/* fall through */
	case 'K':
		value *= 1024;
		end++;
	}
	s->gpu.memory = (size_t)value;
	return !*end && s->gpu.memory && value < 1e15;
}

static bool parse_technique(const char *text, struct settings *s)
{
	if (!strcmp(text, "move"))
		s->gpu.technique = GPUSVM_TECHNIQUE_MOVE;
	else if (!strcmp(text, "wp"))
		s->gpu.technique = GPUSVM_TECHNIQUE_WRITE_PROTECT;
	else
		return false;
	return true;
}

static bool parse_engine(const char *text, struct settings *s)
{
	static const char *const names[] = {
		[GPUSVM_COPY_MEMCPY] = "memcpy",
		[GPUSVM_COPY_STREAM] = "stream",
		[GPUSVM_COPY_THREADS] = "threads",
		[GPUSVM_COPY_URING] = "uring",
	};
	unsigned int i;

	for (i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (!strcmp(text, names[i])) {
			s->gpu.engine = (enum gpusvm_copy_engine_type)i;
			return true;
		}
	return false;
}

static bool parse_option(int option, struct settings *s)
{
	switch (option) {
	case 'd':
		return parse_memory(optarg, s);
	case 'w':
		return parse_count(optarg, 256, &s->gpu.workers);
	case 'r':
		return parse_count(optarg, 1000000, &s->rounds);
	case 's':
		return parse_count(optarg, UINT32_MAX, &s->scale);
	case 'n':
		s->gpu.migrate = false;
		return true;
	case 't':
		return parse_technique(optarg, s);
	case 'e':
		return parse_engine(optarg, s);
	default:
		return false;
	}
}

/* Exits on wrong usage. */
static void parse_options(int argc, char **argv, struct settings *s)
{
	static const struct option options[] = {
		{ "device-mem", required_argument, NULL, 'd' },
		{ "workers", required_argument, NULL, 'w' },
		{ "rounds", required_argument, NULL, 'r' },
		{ "scale", required_argument, NULL, 's' },
		{ "no-migrate", no_argument, NULL, 'n' },
		{ "technique", required_argument, NULL, 't' },
		{ "engine", required_argument, NULL, 'e' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "d:w:r:s:nt:e:h", options,
				     NULL)) != -1) {
		if (option == 'h') {
			fputs(usage, stdout);
			exit(0);
		}
		if (parse_option(option, s))
			continue;
		if (option != '?')
			fprintf(stderr, "graph: -%c: bad value \"%s\"\n",
				option, optarg);
		fputs("Try graph --help.\n", stderr);
		exit(EXIT_USAGE);
	}
	if (optind < argc)
		s->file = argv[optind++];
	if (optind < argc) {
		fprintf(stderr, "graph: one file at most\n");
		exit(EXIT_USAGE);
	}
}

/* The library's messages; maybe from its fault handler, so without stdio. */
static void log_line(enum gpusvm_log_level level, const char *message,
		     void *priv)
{
	(void)level;
	(void)priv;
	if (write(STDERR_FILENO, "gpusvm: ", 8) < 0 ||
	    write(STDERR_FILENO, message, strlen(message)) < 0 ||
	    write(STDERR_FILENO, "\n", 1) < 0)
		return;
}

/* Read the graph and repeat it; 0 or the status to exit with. */
static int read_graph(const struct settings *s, struct edge_list *list)
{
	uint32_t scale = s->scale;
	int err;

	if (s->file) {
		err = edge_list_read(list, s->file);
	} else {
		err = dpkg_read(list, DPKG_STATUS);
		if (err == -ENOENT) {
			fprintf(stderr, "graph: not Debian: name a file\n");
			return EXIT_SKIPPED;
		}
	}
	if (err)
		return EXIT_USAGE;
	printf("graph: %s: %" PRIu32 " %s, %zu edges\n",
	       s->file ? s->file : DPKG_STATUS, list->nodes,
	       list->names ? "packages" : "nodes", list->count);

	if (!scale && !s->file)
		scale = DEFAULT_BYTES / problem_bytes(list->nodes, list->count);
	if (scale <= 1)
		return 0;
	return edge_list_repeat(list, scale) ? EXIT_USAGE : 0;
}

static void describe_device(const struct gpu *gpu)
{
	struct gpusvm_devmem_pool_info info = { .size = sizeof(info) };

	printf("device: %u workers", gpu->options.workers);
	if (!gpu->options.migrate) {
		printf(", system memory only\n");
		return;
	}
	gpusvm_devmem_pool_info(gpu->pool, &info);
	printf(", %.1f MiB ", (double)info.bytes / (1 << 20));
	if (info.node < 0)
		printf("in a file\n");
	else
		printf("on node %d%s\n", info.node,
		       info.emulated ? " (emulated)" : "");
}

static int create_gpu(struct settings *s, size_t bytes, struct gpu **gpu)
{
	int err;

	if (!s->gpu.memory)
		s->gpu.memory = (size_t)((double)bytes * s->memory_share);
	if (s->gpu.memory < 16 * gpusvm_page_size())
		s->gpu.memory = 16 * gpusvm_page_size();

	gpusvm_set_log(log_line, NULL, GPUSVM_LOG_WARNING);
	err = gpu_create(gpu, &s->gpu);
	if (!err) {
		describe_device(*gpu);
		return 0;
	}
	fprintf(stderr, "graph: no device: %s\n", strerror(-err));
	if (err == -EPERM || err == -ENOSYS || err == -EOPNOTSUPP)
		return EXIT_SKIPPED;
	return EXIT_DIFFERENT;
}

/* On the device, and the same on the CPU with another copy of the graph. */
static int solve(struct problem *problem, uint32_t root)
{
	struct problem cpu;
	bool equal;
	int err;

	problem_copy(&cpu, problem);
	report_start(problem->gpu);
	err = breadth_first_search(problem, root);
	if (!err)
		err = pagerank(problem);
	report_table(problem->gpu);
	if (err) {
		fprintf(stderr, "graph: the device failed: %s\n",
			strerror(-err));
		return EXIT_DIFFERENT;
	}
	breadth_first_search(&cpu, root);
	pagerank(&cpu);
	equal = report_equal(problem, &cpu);
	problem_free(&cpu);
	return equal ? 0 : EXIT_DIFFERENT;
}

int main(int argc, char **argv)
{
	struct settings settings = {
		.memory_share = 1.5,
		.rounds = 50,
		.gpu = { .workers = 2, .migrate = true },
	};
	struct problem problem = { .progress = report_step };
	struct edge_list list;
	uint32_t root;
	size_t bytes;
	int status;

	parse_options(argc, argv, &settings);
	status = read_graph(&settings, &list);
	if (status)
		return status;
	root = edge_list_root(&list);
	graph_build(&problem.graph, &list);
	problem_init(&problem, settings.rounds);
	bytes = problem_bytes(list.nodes, list.count);
	printf("arrays: %" PRIu32 " nodes, %zu edges, %.1f MiB\n", list.nodes,
	       list.count, (double)bytes / (1 << 20));

	status = create_gpu(&settings, bytes, &problem.gpu);
	if (status)
		return status;
	status = solve(&problem, root);
	if (!status)
		report_names(&problem, &list);
	problem_free(&problem);
	edge_list_free(&list);
	if (gpu_destroy(problem.gpu)) {
		fprintf(stderr, "graph: device memory was lost\n");
		status = EXIT_DIFFERENT;
	}
	if (!status)
		printf("verified\n");
	return status;
}
